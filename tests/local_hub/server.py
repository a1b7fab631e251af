"""The HTTP side of a local Hub: a threaded server of the standard library around `routes`."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from .routes import Request, Response, find_route
from .store import HubError, Repository, Store

USER = "user"
TOKEN = "hf_local_token"


class LocalHub(ThreadingHTTPServer):
    """A Hub in memory on a free port of this machine; `serve_hub` runs it.

    Attributes:
        store: all repositories.
        uploads_to_drop: how many of the next uploads of large files lose their connection half-way.
        uploads: SHA-256 of every large file that arrived, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = Store(tokens={TOKEN: USER, "hf_token_of_another": "another"})
        self.lock = threading.Lock()
        self.uploads_to_drop = 0
        self.uploads: list[str] = []

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` must be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def repository(self, kind: str, repo_id: str) -> Repository:
        """A repository of the user; `kind` is models, datasets or spaces."""
        return self.store.repositories[kind, repo_id]


@contextmanager
def serve_hub() -> Iterator[LocalHub]:
    """A running, empty Hub."""
    with LocalHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait 40 ms for the acknowledgement of its headers
    server: LocalHub

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of tests clean."""

    def _handle(self) -> None:
        if self.command == "PUT" and self._drops_this_upload():
            return
        body = self._read_body()
        with self.server.lock:
            try:
                response = self._answer(body)
            except HubError as error:
                headers = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
                response = Response({"error": str(error)}, error.status, headers)
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815 - the names that http.server looks for

    def _answer(self, body: bytes) -> Response:
        address = urlsplit(self.path)
        route, parts = find_route(self.command, address.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        query = {name: value.lower() for name, value in parse_qsl(address.query)}
        user = self.server.store.tokens.get(token)
        response = route(Request(self.server.store, self.server.url, headers, query, body, user, parts))
        if self.command == "PUT":
            self.server.uploads.append(parts["oid"])
        return response

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _drops_this_upload(self) -> bool:
        with self.server.lock:
            if not self.server.uploads_to_drop:
                return False
            self.server.uploads_to_drop -= 1
        self.rfile.read(1)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def _send(self, response: Response) -> None:
        body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        self.send_response(response.status)
        for name, value in ({"Content-Type": "application/json"} | dict(response.headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
