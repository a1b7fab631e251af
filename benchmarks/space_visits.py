"""What visitors of the Space send over HTTP: pictures as the page in a browser sends them, and requests for files."""

import contextlib
import http.client
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from PIL import Image, ImageChops

EXAMPLES = Path(__file__).parents[1] / "space" / "examples"


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    Attributes:
        outcome: "hung" if nothing had come when the visitor's patience was at its end.
        data: the outputs of an answer, the text of anything else.
        seconds: from the request to its end.
    """

    outcome: Literal["answered", "failed", "refused", "hung"]
    data: Any
    seconds: float


class Visitor:
    """One who has the page open: a session of its own.

    Args:
        address: the page's, ending in a slash.
        patience: seconds until a request that gets no answer counts as hung.
    """

    def __init__(self, address: str, patience: float) -> None:
        self.api = f"{address}gradio_api"
        self.patience = patience
        self.session = uuid.uuid4().hex

    def upload(self, content: bytes, name: str = "picture.png") -> dict[str, Any]:
        """Send a file; return it as requests name it.

        Raises:
            requests.HTTPError: if it is refused.
        """
        reply = requests.post(f"{self.api}/upload", files={"files": (name, content)}, timeout=self.patience)
        reply.raise_for_status()
        (path,) = reply.json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def ask(self, step: int, value: Any) -> Reply:
        """Wait in the queue for one step of the page (`steps_of`), and for its answer."""
        start = time.monotonic()
        body: dict[str, Any] = {"data": [value], "fn_index": step, "session_hash": self.session}
        try:
            joined = requests.post(f"{self.api}/queue/join", json=body, timeout=self.patience)
            if joined.status_code != 200:
                return Reply("refused", f"{joined.status_code}: {joined.text}", time.monotonic() - start)
            output = self._answer(joined.json()["event_id"], start + self.patience)
        except (requests.Timeout, TimeoutError) as error:
            return Reply("hung", str(error), time.monotonic() - start)
        if output["success"]:
            return Reply("answered", output["output"]["data"], time.monotonic() - start)
        return Reply("failed", str(output["output"].get("error")), time.monotonic() - start)

    def _answer(self, event: str, deadline: float) -> dict[str, Any]:
        parameters = {"session_hash": self.session}
        with requests.get(f"{self.api}/queue/data", parameters, stream=True, timeout=self.patience) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix(b"data: ")) if line else {}
                if message.get("msg") == "process_completed" and message["event_id"] == event:
                    return message
                if time.monotonic() > deadline:  # the server sends signs of life all the while
                    break
        raise TimeoutError(f"no answer within {self.patience:g} seconds")


def steps_of(address: str) -> dict[str, int]:
    """The page's steps by name, as its own script finds them."""
    found = requests.get(f"{address}config", timeout=60).json()["dependencies"]
    return {step["api_name"]: step["id"] for step in found if step["api_name"]}


def visit_at_once(visitors: Sequence[Visitor], step: int, pictures: Sequence[bytes]) -> list[Reply]:
    """Everybody uploads a picture at one moment, and asks for `step` at another; the replies in their order."""
    together = threading.Barrier(len(visitors))

    def visit(visitor: Visitor, picture: bytes) -> Reply:
        together.wait()
        uploaded = visitor.upload(picture)
        together.wait()
        return visitor.ask(step, uploaded)

    with ThreadPoolExecutor(len(visitors)) as pool:
        return list(pool.map(visit, visitors, pictures))


def different_pictures(count: int) -> Iterator[bytes]:
    """PNG files that mean different scenes: the Space's examples, shifted sideways around the edge."""
    examples = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.png"))]
    for number in range(count):
        turn, which = divmod(number, len(examples))
        file = io.BytesIO()
        ImageChops.offset(examples[which], 3 * turn, 0).save(file, "PNG", compress_level=1)
        yield file.getvalue()


def raw_get(address: str, path: str) -> tuple[int, bytes]:
    """Status and body of a path that is sent as it is; `requests` would tidy its dots and slashes."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("GET", path)
        connection.endheaders()
        reply = connection.getresponse()
        return reply.status, reply.read()


def paths_to(secret: Path, folder: Path) -> list[str]:
    """Requests for a file outside of `folder`, where the uploads lie, in the ways that servers have fallen for.

    Args:
        secret: in the folder above `folder`.
    """
    name, above = secret.name, f"{folder}/../{secret.name}"
    named = [str(secret), f"/{secret}", name, f"~/{name}", f"file://{secret}", f"{secret}%00.png"]
    named += [above, f"{folder}/x/../../{name}", f"{'../' * 12}{secret}", f"{folder}/{'../' * 12}{secret}"]
    named += [above.replace("..", "%2e%2e"), above.replace("../", "..%2f"), f"{folder}/..%5C{name}"]
    named += [str(secret).replace("/", "%2F"), str(secret).replace("/", "%252F"), f"{folder}/%2e%2e%00/{name}"]
    routes = ["gradio_api/file=", "gradio_api/file/", "file=", "static/", "assets/", "svelte/", "gradio_api/proxy="]
    routes += ["gradio_api/stream/", "gradio_api/custom_component/1/client/component/"]
    return [f"/{route}{path}" for route in routes for path in named]


@contextlib.contextmanager
def longest_queue(address: str) -> Iterator[list[int]]:
    """How many were waiting, as the server says, read all the while.

    Raises:
        requests.RequestException: at the end, if the server has once not said it: the longest queue is unknown then.
    """
    lengths, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            status = requests.get(f"{address}gradio_api/queue/status", timeout=600)
            status.raise_for_status()
            lengths.append(status.json()["queue_size"])

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield lengths
        finally:
            over.set()
        watching.result()
