"""What is written down of the queue's length was read: a watcher that fails is an error, not an empty queue."""

import threading
from typing import Any

import pytest
import requests

from benchmarks.space_visits import longest_queue


class Status:
    """What a server answers, `queue_size` being its length; it says when it has been asked."""

    def __init__(self, code: int, queue_size: int) -> None:
        self.code, self.queue_size = code, queue_size
        self.asked = threading.Event()

    def get(self, address: str, timeout: float) -> requests.Response:
        self.asked.set()
        response = requests.Response()
        response.status_code = self.code
        response._content = f'{{"queue_size": {self.queue_size}}}'.encode()
        return response


def test_the_longest_queue_is_what_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    status = Status(200, 7)
    monkeypatch.setattr(requests, "get", status.get)
    with longest_queue("http://page/") as lengths:
        assert status.asked.wait(30)
    assert max(lengths) == 7


@pytest.mark.parametrize("failure", ["status", "connection"])
def test_a_server_that_does_not_say_how_long_its_queue_is_is_an_error(
    failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Status(500, 0)

    def refuse(*arguments: Any, **options: Any) -> requests.Response:
        status.asked.set()
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(requests, "get", status.get if failure == "status" else refuse)
    with pytest.raises(requests.RequestException, match=r"500|refused"), longest_queue("http://page/"):
        assert status.asked.wait(30)


def test_what_fails_meanwhile_is_not_hidden_by_the_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "get", Status(500, 0).get)
    with pytest.raises(KeyError, match="visit"), longest_queue("http://page/"):
        raise KeyError("visit")
