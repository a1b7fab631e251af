"""The page over HTTP, with a reader and a renderer that take no time: answers, messages, limits, closed doors."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

gradio = pytest.importorskip("gradio")

import requests  # noqa: E402
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from igllm_space import page as page_module  # noqa: E402
from igllm_space import serving  # noqa: E402
from igllm_space.blender import MAX_OBJECTS, RenderError  # noqa: E402
from igllm_space.pictures import MAX_UPLOAD_BYTES  # noqa: E402
from PIL import Image  # noqa: E402
from stand_ins import CUBE, PixelReader, sphere  # noqa: E402


def render_quickly(program: str) -> Image.Image:
    """Grey pictures; a cube cannot be rendered."""
    if "cube" in program:
        raise RenderError("Blender could not render this scene: it is a cube")
    return Image.new("RGB", (32, 24), (90, 90, 90))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where gradio puts uploads and results."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[str]:
    """The address of a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(files))
        page = page_module.build_page(PixelReader(truncated=True), render_quickly)
        patch.setattr(gradio.processing_utils, "async_ssrf_protected_download", None)  # is put back afterwards
        yield serving.launch(page, wait=False)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False, download_files=False)


def upload(server: str, path: Path) -> dict[str, object]:
    """The file as it is named in requests."""
    with path.open("rb") as file:
        (where,) = requests.post(f"{server}gradio_api/upload", files={"files": file}, timeout=30).json()
    return {"path": where, "meta": {"_type": "gradio.FileData"}}


def answer(server: str, name: str, value: object) -> str:
    """The event stream of a bare request, as one who is no client of gradio's sends it."""
    asked = requests.post(f"{server}gradio_api/call/{name}", json={"data": [value]}, timeout=30).json()
    return requests.get(f"{server}gradio_api/call/{name}/{asked['event_id']}", timeout=30).text


def refusal(client: Client, *arguments: object, api_name: str) -> str:
    """The message with which the page refuses."""
    with pytest.raises(AppError) as refused:
        client.predict(*arguments, api_name=api_name)
    return str(refused.value)


def test_picture_gives_program_table_and_3d_view(client, server, picture):
    program, table, view = client.predict(handle_file(picture(150)), api_name="/read")
    assert program == sphere(1.5)
    assert table["data"][0][:3] == ["1", "100.0 %", "small 99.9 %"]
    served = requests.get(view["url"] if isinstance(view, dict) else f"{server}gradio_api/file={view}", timeout=30)
    assert served.content.startswith(b"glTF")


def test_program_is_built_and_rendered_again(client):
    table, view = client.predict(CUBE + sphere(1.0), api_name="/build")
    assert [row[1] for row in table["data"]] == ["large", "small"] and view
    assert client.predict(sphere(1.0), api_name="/render")
    assert client.predict("", api_name="/render") is None


def test_errors_are_messages(client, tmp_path):
    assert "no scene program" in refusal(client, "import os", api_name="/render")
    assert "no scene program" in refusal(client, "import os", api_name="/build")
    assert f"at most {MAX_OBJECTS} objects" in refusal(client, sphere(1.0) * (MAX_OBJECTS + 1), api_name="/build")
    assert "could not render this scene: it is a cube" in refusal(client, CUBE, api_name="/render")
    (tmp_path / "text.png").write_text("no picture")
    message = refusal(client, handle_file(tmp_path / "text.png"), api_name="/read")
    assert "This is no picture" in message and str(tmp_path) not in message


def test_visitors_get_their_own_answers(server, picture):
    """As many at once as may wait."""
    reds = range(100, 140)
    paths = {red: picture(red, f"{red}.png") for red in reds}
    clients = [Client(server, verbose=False, download_files=False) for _ in range(8)]

    def ask(red: int) -> str:
        return clients[red % 8].predict(handle_file(paths[red]), api_name="/read")[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, reds)) == [sphere(red / 100) for red in reds]


def test_no_file_outside_of_the_folder_is_read(server, files, picture):
    secret = picture(1, "secret.png")
    app = Path(page_module.__file__).parents[1] / "app.py"
    for path in (secret, app, "/etc/passwd", "app.py", files / ".." / "secret.png", f"{files}/%2e%2e/secret.png"):
        assert requests.get(f"{server}gradio_api/file={path}", timeout=30).status_code in (403, 404), path
        for named in ({"path": str(path), "meta": {"_type": "gradio.FileData"}}, {"path": str(path)}):
            assert answer(server, "read", named).startswith("event: error"), path
    with secret.open("rb") as file:
        content = {"files": ("../../escaped.png", file)}
        (where,) = requests.post(f"{server}gradio_api/upload", files=content, timeout=30).json()
    assert Path(where).is_relative_to(files)


def test_addresses_are_not_fetched(server, picture):
    with serve_picture(picture(1)) as (address, fetched):
        for name in ("read", "build"):
            stream = answer(server, name, {"path": address, "meta": {"_type": "gradio.FileData"}})
            assert stream.startswith("event: error") and "addresses are not fetched" in stream
        for named in ({"path": address}, {"path": "a.png", "url": address, "meta": {"_type": "gradio.FileData"}}):
            assert answer(server, "read", named).startswith("event: error")
        assert fetched == []


@contextmanager
def serve_picture(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a picture, and the requests for it."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(path.read_bytes())

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/picture.png", fetched
        server.shutdown()


def test_large_requests_are_refused(server):
    large = {"files": ("large.png", b"\0" * (MAX_UPLOAD_BYTES + 1))}
    assert requests.post(f"{server}gradio_api/upload", files=large, timeout=30).status_code == 413
    text = "x" * (MAX_UPLOAD_BYTES + 2**17)
    whole = requests.post(f"{server}gradio_api/call/build", json={"data": [text]}, timeout=30)
    assert whole.status_code == 413
    pieces = (text[start : start + 2**16].encode() for start in range(0, len(text), 2**16))
    chunked = requests.post(f"{server}gradio_api/call/build", data=pieces, timeout=30)
    assert chunked.status_code in (400, 413)


def test_full_queue_says_so(monkeypatch, tmp_path, picture):
    """One request is being read and two wait: the fourth is told, and the others are answered."""
    monkeypatch.setattr(serving, "MAX_QUEUE", 2)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    has_begun, may_end = threading.Event(), threading.Event()

    def read_slowly(image: Image.Image):
        has_begun.set()
        assert may_end.wait(30)
        return PixelReader()(image)

    page = page_module.build_page(read_slowly, None)
    server = serving.launch(page, wait=False)
    file = upload(server, picture(100))

    def ask() -> int:
        return requests.post(f"{server}gradio_api/call/read", json={"data": [file]}, timeout=30).status_code

    try:
        assert ask() == 200 and has_begun.wait(30)
        assert [ask(), ask(), ask()] == [200, 200, 503]
    finally:
        may_end.set()
        page.close(verbose=False)


def test_old_files_are_deleted(monkeypatch, tmp_path, picture):
    for module in (page_module, serving):
        monkeypatch.setattr(module, "FILES_LIVE_SECONDS", 1)
        monkeypatch.setattr(module, "CLEAN_UP_SECONDS", 1)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    page = page_module.build_page(PixelReader(), None)
    server = serving.launch(page, wait=False)
    try:
        client = Client(server, verbose=False, download_files=False)
        examples = files_below(tmp_path / "files")
        assert {path.name for path in examples} >= {"scene_1.png"}
        client.predict(handle_file(picture(100)), api_name="/read")
        refused = {"files": ("large.png", b"\0" * (MAX_UPLOAD_BYTES + 1))}
        assert requests.post(f"{server}gradio_api/upload", files=refused, timeout=30).status_code == 413
        assert files_below(tmp_path / "files") > examples
        for _ in range(100):
            threading.Event().wait(0.1)
            if files_below(tmp_path / "files") == examples:
                break
        assert files_below(tmp_path / "files") == examples
    finally:
        page.close(verbose=False)
        shutil.rmtree(tmp_path / "files", ignore_errors=True)


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_page_without_blender_says_so():
    said = [
        str(component["props"].get("value"))
        for component in page_module.build_page(PixelReader(), None).get_config_file()["components"]
    ]
    assert any("There is no Blender on this machine" in text for text in said)
