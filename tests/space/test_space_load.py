"""Many visitors at once get their own answers or a clear refusal, and nobody gets a file, a large body or a fetch."""

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

gradio = pytest.importorskip("gradio")
pytest.importorskip("psutil")

import requests  # noqa: E402
from igllm_space import page as page_module  # noqa: E402
from igllm_space import serving  # noqa: E402
from PIL import Image  # noqa: E402
from stand_ins import PixelReader, sphere  # noqa: E402

from benchmarks import space_load  # noqa: E402
from benchmarks.space_load import ask_for_files, broken_promises, measure, multipart, read_alone, read_at_once  # noqa: E402
from benchmarks.space_visits import Reply, Visitor, different_pictures  # noqa: E402
from modeling_igllm import ScenePrediction  # noqa: E402

QUEUE = 3
LIMITS = (serving.MAX_QUEUE, serving.MAX_UPLOAD_BYTES, serving.MAX_REQUEST_BYTES)


def read_slowly(picture: Image.Image) -> ScenePrediction:
    """As long as it takes others to come."""
    time.sleep(0.05)
    return PixelReader()(picture)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with a short queue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("load") / "files"))
        patch.setattr(serving, "MAX_QUEUE", QUEUE)
        patch.setattr(gradio.processing_utils, "async_ssrf_protected_download", None)  # is put back afterwards
        page = page_module.build_page(read_slowly, None)
        yield serving.launch(page, wait=False)
        page.close(verbose=False)


def test_at_once_everybody_gets_their_own_answer_or_is_told_that_the_queue_is_full(server, picture):
    reds = range(100, 108)
    pictures = [picture(red).read_bytes() for red in reds]
    report = read_at_once(server, pictures)
    assert report["answered"] >= QUEUE and report["answered"] + report["refused"] == len(reds)
    assert report["mixed up"] == report["failed"] == report["hung"] == 0
    assert report["different answers"] == report["answered"] and report["longest queue"] <= QUEUE
    assert all(f"Queue is full. Max size is {QUEUE}" in text for text in report["messages"])


def test_answers_that_are_mixed_up_are_counted(server, picture, monkeypatch):
    replies = [Reply("answered", [sphere(red / 100)], 1.0) for red in (101, 100)]
    monkeypatch.setattr(space_load, "visit_at_once", lambda *_: replies)
    report = read_at_once(server, [picture(red).read_bytes() for red in (100, 101)])
    assert report["mixed up"] == report["answered"] == 2


def test_an_answer_is_that_of_the_picture(server, picture):
    replies = read_alone(server, [picture(red).read_bytes() for red in (100, 101)])
    assert [reply.data[0] for reply in replies] == [sphere(1.0), sphere(1.01)]


def test_no_way_leads_past_the_queue(server, picture):
    uploaded = Visitor(server, 30).upload(picture(100).read_bytes())
    for route in ("run/read", "api/read", "run/build", "api/render"):
        reply = requests.post(f"{server}gradio_api/{route}", json={"data": [uploaded]}, timeout=30)
        assert reply.status_code == 404 and "join the queue" in reply.text, route


def test_files_are_not_found_in_any_spelling_nor_behind_links_nor_elsewhere(server):
    report = ask_for_files(server)
    assert report["asked for"] > 100 and report["own file"]
    assert report["read"] == [] and report["pictures read"] == 0
    assert report["foreign address"] == 403


def test_only_uploads_may_be_large(server):
    largest = b'{"data": ["' + b"x" * (serving.MAX_REQUEST_BYTES - 14) + b'"]}'
    assert len(largest) == serving.MAX_REQUEST_BYTES
    for body, status in ((largest, 200), (largest + b" ", 413)):
        headers = {"Content-Type": "application/json"}
        assert requests.post(f"{server}gradio_api/call/build", body, headers=headers, timeout=30).status_code == status
    upload, content_type = multipart(serving.MAX_REQUEST_BYTES + 1, 'name="files"; filename="a.png"')
    for route, status in (("upload", 200), ("component_server", 413), ("process_recording", 413)):
        headers = {"Content-Type": content_type}
        assert requests.post(f"{server}gradio_api/{route}", upload, headers=headers, timeout=30).status_code == status


def test_limits_are_those_of_the_space():
    assert LIMITS == (space_load.MAX_QUEUE, space_load.MAX_UPLOAD_BYTES, space_load.MAX_REQUEST_BYTES)


def test_pictures_are_different():
    assert len(set(different_pictures(12))) == 12


KEPT: dict[str, Any] = {
    "visitors": 200,
    "at once": {
        "answered": 101,
        "refused": 99,
        "failed": 0,
        "hung": 0,
        "messages": ['503: {"detail":"Queue is full. Max size is 100 and size is 100."}'],
        "mixed up": 0,
        "different answers": 101,
        "longest queue": 100,
        "slowest refusal, seconds": 1.0,
    },
    "memory, MB": {"one picture read": 600, "peak, all at once": 650, "peak, large bodies": 700},
    "large bodies": {"upload of a byte too many": {"413": 40}, "JSON as large as an upload": {"413": 40}},
    "files": {"read": [], "pictures read": 0, "own file": True, "foreign address": 403},
    "answers as before": True,
    "runs": True,
    "ended": {"exit code": 0, "files left": 0},
}


def test_kept_promises_are_no_faults():
    assert broken_promises(KEPT) == []


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        ("at once/different answers", 50, "some answers cannot be told apart"),
        ("at once/hung", 1, "a request hung"),
        ("at once/failed", 1, "a request failed"),
        ("at once/mixed up", 1, "an answer was another's"),
        ("at once/refused", 0, "nothing was refused"),
        ("at once/messages", ["500: error"], "a refusal was no clear one"),
        ("at once/slowest refusal, seconds", 100.0, "a refusal was slow"),
        ("at once/longest queue", 101, "the queue was longer"),
        ("memory, MB/peak, large bodies", 5000, "memory grew"),
        ("large bodies/upload of a byte too many", {"200": 200}, "a large body was read"),
        ("large bodies/JSON as large as an upload", {"413": 199, "200": 1}, "a large body was read"),
        ("files/read", ["/gradio_api/file=x"], "a foreign file was read"),
        ("files/pictures read", 1, "a foreign file was read"),
        ("files/own file", False, "an own file was not read"),
        ("files/foreign address", 502, "an address was fetched"),
        ("answers as before", False, "the server is not what it was"),
        ("ended/exit code", 1, "it did not end well"),
        ("ended/files left", 3, "it did not end well"),
    ],
)
def test_a_broken_promise_is_named(place: str, value: Any, fault: str):
    report = copy.deepcopy(KEPT)
    *above, last = place.split("/")
    part = report
    for name in above:
        part = part[name]
    part[last] = value
    assert broken_promises(report) == [fault]


@pytest.mark.slow
def test_the_real_space_keeps_every_promise_with_a_few_visitors(tmp_path):
    assert broken_promises(measure(8, tmp_path)) == []
