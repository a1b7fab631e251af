"""The Space's parts, without a page: checkpoint, pictures, table, 3D view, rendering in a child process."""

import asyncio
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from igllm_space import blender, leftovers
from igllm_space.body_limit import BodyLimit
from igllm_space.checkpoint import BUNDLED, CheckpointSource, load_reader
from igllm_space.leftovers import clean_up, remove_leftovers
from igllm_space.object_table import object_table
from igllm_space.pictures import MAX_SIDE, MAX_UPLOAD_BYTES, PictureError, open_picture, uploaded_file
from igllm_space.view_3d import MAX_DISTANCE, make_glb
from PIL import Image
from stand_ins import CERTAIN, CUBE, sphere
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from modeling_igllm import ScenePrediction, parse_program

COMMIT = "0123456789abcdef0123456789abcdef01234567"
POSED = "add(color='red', shape='airplane', loc=(0.0, 0.0, 0.0), rotation=(1, 0, 0, 0, 1, 0))\n"


def test_checkpoint_is_the_bundled_one_or_what_the_variable_names(tmp_path):
    (tmp_path / "config.json").touch()
    named = {
        None: CheckpointSource(str(BUNDLED)),
        f"user/ig-llm@{COMMIT}": CheckpointSource("user/ig-llm", COMMIT),
        str(tmp_path): CheckpointSource(str(tmp_path)),
    }
    for value, expected in named.items():
        assert CheckpointSource.from_environment({} if value is None else {"IGLLM_MODEL": value}) == expected


@pytest.mark.parametrize("value", ["", "user/ig-llm", "user/ig-llm@main", f"ig-llm@{COMMIT}", "/nowhere"])
def test_model_that_is_not_pinned_is_refused(value):
    with pytest.raises(ValueError, match=r"neither a checkpoint folder nor USER/NAME@COMMIT"):
        CheckpointSource.from_environment({"IGLLM_MODEL": value})


def test_bundled_checkpoint_reads_an_example():
    reader = load_reader(CheckpointSource.from_environment({}))
    prediction = reader(open_picture(BUNDLED.parents[1] / "space" / "examples" / "scene_3.png"))
    assert isinstance(prediction, ScenePrediction) and len(prediction.confidences) == len(prediction.scene.objects)
    table = object_table(prediction.scene, prediction.confidences)
    assert {len(row) for row in table["data"]} == {len(table["headers"])}


def test_only_uploads_are_opened(tmp_path):
    uploads, secret = tmp_path / "uploads", tmp_path / "secret.png"
    uploads.mkdir()
    (uploads / "a.png").touch()
    secret.touch()
    (uploads / "link.png").symlink_to(secret)
    assert uploaded_file({"path": str(uploads / "a.png")}, uploads) == uploads / "a.png"
    for path in (secret, uploads / ".." / "secret.png", uploads / "link.png", uploads, uploads / "gone.png"):
        with pytest.raises(PictureError, match="upload the picture again"):
            uploaded_file({"path": str(path), "url": "http://127.0.0.1/a.png"}, uploads)
    for payload in ({}, {"path": None}, {"path": "\0"}, {"path": 3}):
        with pytest.raises(PictureError):
            uploaded_file(payload, uploads)


def test_pictures_that_cannot_be_read_say_why(tmp_path, picture):
    assert open_picture(picture(7)).size == (32, 24)
    whole = picture(7, "whole.jpg", (64, 64)).read_bytes()
    broken = {
        "This is no picture": b"%PDF-1.4",
        "This picture cannot be read": whole[: len(whole) // 2],
        f"at most {MAX_SIDE} to a side": long_picture(),
        "larger than 5 MB": b"\0" * (MAX_UPLOAD_BYTES + 1),
    }
    for message, content in broken.items():
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(PictureError, match=message) as refused:
            open_picture(tmp_path / "broken.png")
        assert str(tmp_path) not in str(refused.value)


def long_picture() -> bytes:
    """As a PNG of a few hundred bytes."""
    file = io.BytesIO()
    Image.new("1", (MAX_SIDE + 1, 1)).save(file, "PNG")
    return file.getvalue()


def test_table_has_a_row_for_each_object_and_never_rounds_up_to_certainty():
    scene = parse_program(CUBE + sphere(1.0))
    table = object_table(scene, [CERTAIN, {**CERTAIN, "object": 0.5}])
    assert table["headers"] == ["#", "object", "size", "color", "material", "shape", "x, y, z (m)", "yaw"]
    cube, ball = table["data"]
    assert cube[1:6] == ["100.0 %", "large 99.9 %", "blue 75.0 %", "rubber 50.0 %", "cube 99.6 %"]
    assert cube[6:] == ["-1.00, 0.50, 0.70", "17°"] and ball[1] == "50.0 %" and ball[-1] == ""
    written = object_table(scene, None)
    assert written["data"][0][:3] == ["1", "large", "blue"] and "object" not in written["headers"]
    assert object_table(parse_program(""), None)["data"] == []
    assert object_table(parse_program(POSED), None)["headers"][-1] == "rotation"  # six numbers, no yaw


def test_3d_view_has_every_object_in_its_place_with_y_up():
    scene = parse_program(CUBE + sphere(1.0) + sphere(-2.0))
    view = trimesh.load(io.BytesIO(make_glb(scene)), file_type="glb")
    boxes = {name: view.geometry[view.graph[name][1]] for name in view.graph.nodes_geometry}
    assert set(boxes) == {"ground", "1_blue_cube", "2_red_sphere", "3_red_sphere"}
    points = trimesh.transform_points(boxes["1_blue_cube"].vertices, view.graph["1_blue_cube"][0])
    np.testing.assert_allclose((points.min(0) + points.max(0)) / 2, (-1.0, 0.7, -0.5), atol=1e-4)
    half_side = (np.cos(0.3) + np.sin(0.3)) * 0.7  # of the turned cube's box
    np.testing.assert_allclose(points.max(0) - points.min(0), (2 * half_side, 1.4, 2 * half_side), atol=1e-4)
    paint = boxes["2_red_sphere"].visual.material
    assert paint.metallicFactor == 1.0 and list(paint.baseColorFactor) == [173, 35, 35, 255]


def test_3d_view_of_what_it_cannot_show_is_refused():
    with pytest.raises(ValueError, match="CLEVR's shapes alone"):
        make_glb(parse_program(POSED))
    with pytest.raises(ValueError, match="the 3D view ends 50 m"):
        make_glb(parse_program(sphere(MAX_DISTANCE + 1)))
    assert make_glb(parse_program("")).startswith(b"glTF")


def test_child_that_takes_too_long_is_killed_with_its_own_children(tmp_path):
    child = f"(sleep 60 & echo $! > {tmp_path}/pid; wait)"
    start = time.monotonic()
    with pytest.raises(blender.RenderError, match=r"more than 0.5 seconds and was stopped"):
        blender._run(["sh", "-c", child], "", seconds=0.5)
    assert time.monotonic() - start < 10
    assert is_gone(int(Path(tmp_path / "pid").read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or is a zombie that nobody has waited for yet."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.1)
    return False


def test_reason_of_a_child_that_failed_is_its_last_line(capfd):
    with pytest.raises(blender.RenderError, match=r"could not render this scene: no such shape$"):
        blender._run(["sh", "-c", "echo noise >&2; echo no such shape >&2; exit 1"], "", seconds=10)
    with pytest.raises(blender.RenderError, match="exit code -9"):
        blender._run(["sh", "-c", "kill -9 $$"], "", seconds=10)
    assert "noise" in capfd.readouterr().err


@pytest.mark.slow
def test_blender_renders_in_a_child_process():
    pytest.importorskip("bpy")
    assert np.asarray(blender.render(CUBE)).std() > 5
    with pytest.raises(blender.RenderError, match="there is no shape 'teapot'"):
        blender.render(POSED.replace("airplane", "teapot"))


def test_leftovers_of_uploads_are_removed_when_they_are_old(tmp_path):
    for path in ("tmpabc", "0a/picture.png", "0b/", "new"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).mkdir() if path.endswith("/") else (tmp_path / path).touch()
    for path in ("tmpabc", "0a", "0a/picture.png", "0b"):
        os.utime(tmp_path / path, (0, 0))
    remove_leftovers(tmp_path, age=60)
    assert {path.name for path in tmp_path.rglob("*")} == {"0a", "picture.png", "new"}


def test_cleaning_goes_on_when_gradio_moves_a_file_meanwhile(tmp_path, monkeypatch):
    for name in ("a_moved", "b_filled", "c_old"):
        (tmp_path / name).mkdir() if name == "b_filled" else (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    listed, rmdir = sorted(tmp_path.iterdir()), Path.rmdir
    (tmp_path / "a_moved").unlink()

    def fill_and_remove(path: Path) -> None:
        (path / "picture.png").touch()
        rmdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda folder: iter(listed if folder == tmp_path else ()))
        patch.setattr(Path, "rmdir", fill_and_remove)
        remove_leftovers(tmp_path, age=60)
    assert {path.name for path in tmp_path.rglob("*")} == {"b_filled", "picture.png"}


def test_what_cannot_be_deleted_is_logged_and_keeps_no_other(tmp_path, monkeypatch, caplog):
    for name in ("a_stuck", "b_old"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    unlink = Path.unlink

    def refuse(path: Path) -> None:
        if path.name == "a_stuck":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda folder: iter([tmp_path / "a_stuck", tmp_path / "b_old"]))
        patch.setattr(Path, "unlink", refuse)
        remove_leftovers(tmp_path, age=60)
    assert [path.name for path in tmp_path.iterdir()] == ["a_stuck"]
    (message,) = caplog.messages
    assert str(tmp_path / "a_stuck") in message and "Operation not permitted" in message


def test_cleaning_goes_on_after_an_error_that_nobody_expects_and_the_log_has_it(tmp_path, monkeypatch, caplog):
    rounds = []

    def fail_once(folder: Path, age: float) -> None:
        rounds.append(age)
        if len(rounds) == 1:
            raise RuntimeError("out of the blue")

    async def serve_until_the_second_round() -> None:
        async with clean_up(tmp_path, every=0.01, age=60)(Starlette()):
            while len(rounds) < 2:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(leftovers, "remove_leftovers", fail_once)
    asyncio.run(asyncio.wait_for(serve_until_the_second_round(), timeout=5))
    (record,) = caplog.records
    assert str(tmp_path) in record.getMessage() and "out of the blue" in (record.exc_text or str(record.exc_info))


@pytest.mark.parametrize(
    ("length", "status"), [("10", 200), ("11", 413), ("9" * 18, 413), ("9" * 5000, 413), ("ten", 413), ("-1", 413)]
)
def test_a_request_that_says_it_is_too_large_is_refused(length, status):
    started = []

    async def app(scope, receive, send):
        await PlainTextResponse("")(scope, receive, send)

    async def send(message):
        started.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", length.encode())]}
    asyncio.run(BodyLimit(app, max_bytes=10, max_upload_bytes=20)(scope, None, send))
    assert started[0]["status"] == status
