"""Does the Space keep its promises under load? 200 visitors at once, on this machine, with the project's checkpoint.

```bash
python -m benchmarks.space_load --out benchmarks/results/space_load.json
```

All pictures are asked for at one moment: what is beyond the queue must be refused at once and say so, the rest must
get the answers that they get alone afterwards. Then bodies as large as they may be, and larger, from many at once; and
files outside of the folder of uploads, in every spelling that servers have fallen for, links and addresses included.
At last the server is ended while it is busy and must leave no upload behind. Its resident memory is read ten times a
second; Blender, a process of its own, is not part of this. The exit code is 1 if a promise is broken; each is named in
`broken`.
"""

import argparse
import contextlib
import datetime
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import requests
from tqdm import tqdm

from benchmarks.reports import write_report
from benchmarks.space_process import MemoryWatch, running_space
from benchmarks.space_visits import (
    Reply,
    Visitor,
    different_pictures,
    longest_queue,
    paths_to,
    raw_get,
    steps_of,
    visit_at_once,
)

MAX_QUEUE = 100
"""Waiting requests, as space/README.md says."""
MAX_UPLOAD_BYTES = 5 * 2**20
MAX_REQUEST_BYTES = 2**14
MAX_GROWTH_MB = 300
"""Resident memory under load beyond that after one picture was read."""
MAX_REFUSAL_SECONDS = 30.0
PATIENCE = 1200.0
BUSY_VISITORS = 10
OUTCOMES = ("answered", "refused", "failed", "hung")
FOREIGN_ADDRESS = "http://93.184.215.14/"
"""Of somebody else: were it fetched, the reply would be another, on a machine without a network too."""


def read_alone(address: str, pictures: list[bytes]) -> list[Reply]:
    """One picture after another, by one visitor."""
    visitor, step = Visitor(address, PATIENCE), steps_of(address)["read"]
    bar = tqdm(pictures, unit="picture", mininterval=10, disable=len(pictures) == 1)
    return [visitor.ask(step, visitor.upload(picture)) for picture in bar]


def read_at_once(address: str, pictures: list[bytes]) -> dict[str, Any]:
    """Ask for all pictures at one moment; then once more, alone, for those that were read.

    Returns:
        Counts and times; "mixed up" counts answers that are not those given alone.
    """
    start, step = time.monotonic(), steps_of(address)["read"]
    with longest_queue(address) as queue:
        replies = visit_at_once([Visitor(address, PATIENCE) for _ in pictures], step, pictures)
    seconds = time.monotonic() - start
    answered = [place for place, reply in enumerate(replies) if reply.outcome == "answered"]
    alone = [reply.data for reply in read_alone(address, [pictures[place] for place in answered])]
    refused = [reply for reply in replies if reply.outcome == "refused"]
    return {
        **dict.fromkeys(OUTCOMES, 0),
        **Counter(reply.outcome for reply in replies),
        "messages": sorted({reply.data for reply in replies if reply.outcome != "answered"}),
        "mixed up": sum(replies[place].data != answer for place, answer in zip(answered, alone, strict=True)),
        "different answers": len({json.dumps(answer) for answer in alone}),
        "longest queue": max(queue),
        "seconds": seconds,
        "slowest refusal, seconds": max((reply.seconds for reply in refused), default=0.0),
    }


def send_at_once(url: str, body: bytes, content_type: str, times: int) -> dict[str, int]:
    """The same body from so many at once: status -> count."""

    def send(_: int) -> str:
        try:
            return str(requests.post(url, body, headers={"Content-Type": content_type}, timeout=PATIENCE).status_code)
        except requests.ConnectionError:  # the server has answered and does not read on
            return "connection closed"

    with ThreadPoolExecutor(times) as pool:
        return dict(Counter(pool.map(send, range(times))))


def multipart(size: int, disposition: str) -> tuple[bytes, str]:
    """A body with one part of so many bytes, and its content type."""
    head = f"--part\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + b"x" * size + b"\r\n--part--\r\n", "multipart/form-data; boundary=part"


def send_large_bodies(address: str, visitors: int) -> dict[str, dict[str, int]]:
    """From many at once: uploads, texts in uploads, and JSON that grows most when it is read."""
    upload, build = f"{address}gradio_api/upload", f"{address}gradio_api/call/build"
    nested = b'{"data": [[' + b"[]," * ((MAX_REQUEST_BYTES - 20) // 3) + b"[]]]}"
    fewer = max(1, visitors // 5)  # of those that are a gigabyte in all
    return {
        "upload of a byte too many": send_at_once(
            upload, *multipart(MAX_UPLOAD_BYTES + 1, 'name="files"; filename="a.png"'), fewer
        ),
        "text for an upload": send_at_once(upload, *multipart(2**20 - 1, 'name="a"'), fewer),
        "JSON of the largest size": send_at_once(build, nested, "application/json", visitors),
        "JSON as large as an upload": send_at_once(build, b" " * MAX_UPLOAD_BYTES, "application/json", fewer),
    }


def ask_for_files(address: str) -> dict[str, Any]:
    """Ask for a secret beside the folder of uploads by path and by links in the folder, and for a foreign address."""
    picture = next(different_pictures(1))
    visitor, step = Visitor(address, PATIENCE), steps_of(address)["read"]
    own = Path(visitor.upload(picture)["path"])
    folder = own.parents[1]
    with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".png") as file:
        secret = Path(file.name)
        secret.write_bytes(picture)
        with _links(own.with_name("link.png"), secret, folder / "linked", folder.parent) as links:
            linked = [str(links[0]), str(links[1] / secret.name)]
            paths = [*paths_to(secret, folder), *(f"/gradio_api/file={path}" for path in linked)]
            got = {path: raw_get(address, path) for path in paths}
            payloads = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in (str(secret), *linked)]
            outcomes = [visitor.ask(step, payload).outcome for payload in payloads]
    return {
        "asked for": len(paths),
        "read": [path for path, (_, body) in got.items() if picture in body],
        "status": dict(Counter(str(status) for status, _ in got.values())),
        "pictures read": outcomes.count("answered"),
        "own file": raw_get(address, f"/gradio_api/file={own}") == (200, picture),
        "foreign address": raw_get(address, f"/gradio_api/file={FOREIGN_ADDRESS}")[0],
    }


@contextlib.contextmanager
def _links(*pairs: Path) -> Iterator[list[Path]]:
    """Links, each before what it leads to, for as long as they are asked for."""
    links = list(pairs[::2])
    for link, target in zip(links, pairs[1::2], strict=True):
        link.symlink_to(target)
    try:
        yield links
    finally:
        for link in links:
            link.unlink()


def measure(visitors: int, folder: Path) -> dict[str, Any]:
    """Start the Space with `folder` for its files, put it under load, end it while it is busy."""
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "visitors": visitors}
    pictures = list(different_pictures(visitors))
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    with running_space(folder / "log.txt", environment) as (address, process):
        watch = MemoryWatch(psutil.Process(process.pid))
        report |= put_under_load(address, pictures, watch)
        report["runs"] = process.poll() is None
        watch.stop()
        stay_until_the_end(address, pictures[:BUSY_VISITORS])
    report["ended"] = {"exit code": process.returncode, "files left": len(list(folder.glob("igllm-space-*")))}
    return report


def put_under_load(address: str, pictures: list[bytes], watch: MemoryWatch) -> dict[str, Any]:
    """All that is asked of the server, and its memory meanwhile."""
    memory = {"started": watch.now()}
    (first,) = read_alone(address, pictures[:1])
    memory["one picture read"] = watch.now()
    watch.restart()
    report: dict[str, Any] = {"at once": read_at_once(address, pictures)}
    memory["peak, all at once"] = watch.peak
    print(json.dumps(report), file=sys.stderr, flush=True)
    watch.restart()
    report["large bodies"] = send_large_bodies(address, len(pictures))
    memory["peak, large bodies"] = watch.peak
    report["files"] = ask_for_files(address)
    report["answers as before"] = read_alone(address, pictures[:1])[0].data == first.data
    memory["after"] = watch.now()
    return {**report, "memory, MB": {name: round(value) for name, value in memory.items()}}


def stay_until_the_end(address: str, pictures: list[bytes]) -> None:
    """Visitors who upload their pictures, and have them read, until the server is gone."""

    def visit(picture: bytes) -> None:
        visitor, step = Visitor(address, PATIENCE), steps_of(address)["read"]
        with contextlib.suppress(requests.RequestException):
            while True:
                visitor.ask(step, visitor.upload(picture))

    for picture in pictures:
        threading.Thread(target=visit, args=[picture], daemon=True).start()
    time.sleep(2)


def broken_promises(report: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words; empty if all is well."""
    once, files, memory, large = (report[name] for name in ("at once", "files", "memory, MB", "large bodies"))
    peak = max(memory["peak, all at once"], memory["peak, large bodies"])
    upload, as_upload = large["upload of a byte too many"], large["JSON as large as an upload"]
    promises = {
        "a request hung": once["hung"] == 0,
        "a request failed": once["failed"] == 0,
        "an answer was another's": once["mixed up"] == 0,
        "some answers cannot be told apart": once["different answers"] == once["answered"] > 0,
        "nothing was refused": once["refused"] > 0 or report["visitors"] < 2 * MAX_QUEUE,
        "a refusal was no clear one": all("Queue is full" in text for text in once["messages"]),
        "a refusal was slow": once["slowest refusal, seconds"] < MAX_REFUSAL_SECONDS,
        "the queue was longer": once["longest queue"] <= MAX_QUEUE,
        "memory grew": peak - memory["one picture read"] < MAX_GROWTH_MB,
        "a large body was read": "200" not in upload and "200" not in as_upload,
        "a foreign file was read": not files["read"] and not files["pictures read"],
        "an own file was not read": files["own file"],
        "an address was fetched": files["foreign address"] == 403,
        "the server is not what it was": report["runs"] and report["answers as before"],
        "it did not end well": report["ended"] == {"exit code": 0, "files left": 0},
    }
    return [fault for fault, is_kept in promises.items() if not is_kept]


def main() -> int:
    """Load, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="space-load-") as folder:
        report = measure(parsed.visitors, Path(folder))
    report["broken"] = broken_promises(report)
    print(json.dumps(report, indent=2))
    write_report(report, parsed.out)
    return 1 if report["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
