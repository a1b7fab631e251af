"""Scenes that no sampler would draw are rendered rightly, and no script in a .blend file is ever run."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

import dataset_builders
from dataset_builders.camera import Camera
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.render_program import render_program, save_program
from dataset_builders.rendering import export
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from modeling_igllm import ClevrObject, SceneObject, SceneProgram
from trl_scripts.cli import main

BIG = ClevrObject("large", "red", "metal", "cube", (0.0, 0.0, 0.7), 0.3)
INSIDE = ClevrObject("small", "blue", "rubber", "sphere", (0.0, 0.0, 0.7))
FARTHEST = 1e6  # the largest number of the language
SCRIPT = "import pathlib; pathlib.Path({path!r}).touch()\n"


def render(*objects: SceneObject) -> np.ndarray:
    """CLEVR's stage with these objects, small and noisy, but always with the same noise."""
    return render_program(SceneProgram(objects), (32, 24), samples=1, family="clevr")


@pytest.fixture(scope="module")
def empty() -> np.ndarray:
    """The ground alone."""
    return render()


def at(x: float, y: float, z: float, rotation: float = 0.3) -> ClevrObject:
    return ClevrObject("large", "red", "metal", "cube", (x, y, z), rotation)


def test_no_object_and_one(empty: np.ndarray) -> None:
    picture = render(BIG)
    assert empty.shape == picture.shape == (24, 32, 3)
    assert empty.min() > 0
    assert 10 < np.any(picture != empty, axis=2).sum() < 24 * 32


def test_five_hundred_objects_stand_where_the_camera_sees_them() -> None:
    camera, session = Camera(), RenderSession(RenderQuality(64, 48, 1, threads=1))
    objects = [
        ClevrObject("small", "green", "rubber", "sphere", (column / 4 - 3, row / 4 - 2.5, 0.35))
        for row in range(20)
        for column in range(25)
    ]
    picture = session.render(objects, camera, CLEVR_LIGHTS).astype(int)
    assert len(session._placed) == 500
    middle = picture[22:28, 28:36].reshape(-1, 3)
    assert (middle[:, 1] > middle[:, 0] + 20).all()  # green, without a gap


def test_an_object_inside_another_is_not_seen() -> None:
    assert np.array_equal(render(BIG, INSIDE), render(BIG))


@pytest.mark.parametrize("place", [(30.0, -30.0, 0.7), (30.0, -30.0, 30.0)])  # on the ground, and in the air
def test_an_object_behind_the_camera_is_not_seen(empty: np.ndarray, place: tuple[float, float, float]) -> None:
    assert abs(render(at(*place)).astype(int) - empty).mean() < 1  # a metal may be mirrored, a shadow may fall


def test_the_camera_inside_an_object_sees_its_inner_side(empty: np.ndarray) -> None:
    assert render(at(*Camera().location)).mean() < empty.mean() / 2


@pytest.mark.parametrize(
    "far", [(FARTHEST, 0.0, 0.7), (-FARTHEST, FARTHEST, FARTHEST), (0.0, 0.0, -FARTHEST), (1e-300, -1e-300, -FARTHEST)]
)
def test_objects_at_the_end_of_the_world_change_nothing(empty: np.ndarray, far: tuple[float, float, float]) -> None:
    assert np.array_equal(render(at(*far)), empty)
    assert np.array_equal(render(BIG, at(*far)), render(BIG))


def test_a_turn_of_a_million_radians_is_a_turn() -> None:
    turn = math.fmod(FARTHEST, 2 * math.pi)
    far, near = (render(at(0.0, 0.0, 0.7, rotation)).astype(int) for rotation in (FARTHEST, turn))
    assert abs(far - near).mean() < 2  # single precision


@pytest.mark.parametrize("number", ["1000001", "1e308", "-1e39", "nan", "inf", "9" * 400])
def test_larger_numbers_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str) -> None:
    program = tmp_path / "scene.txt"
    line = f"add(size='large', color='red', material='metal', shape='sphere', loc=({number}, 0.000, 0.700))\n"
    program.write_text(line)
    assert main(["render", str(program), "-o", str(tmp_path / "out.png")]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"igllm render: {program}: line 1")
    assert not (tmp_path / "out.png").exists()


def test_an_empty_scene_becomes_files(tmp_path: Path) -> None:
    for suffix in (".blend", ".usd"):
        save_program(SceneProgram(()), tmp_path / f"empty{suffix}")
        assert (tmp_path / f"empty{suffix}").stat().st_size > 0


def test_a_session_does_not_run_scripts_whatever_the_users_preferences_say() -> None:
    bpy.context.preferences.filepaths.use_scripts_auto_execute = True
    RenderSession(RenderQuality(32, 24, 1))
    assert not bpy.context.preferences.filepaths.use_scripts_auto_execute


def test_the_only_blend_file_that_is_opened_is_opened_without_its_scripts(tmp_path: Path) -> None:
    RenderSession(RenderQuality(32, 24, 1))
    for name in ("safe", "unsafe"):
        text = bpy.data.texts.new(f"{name}.py")
        text.write(SCRIPT.format(path=str(tmp_path / name)))
        text.use_module = True  # run when the file is opened
        export.export_blend(tmp_path / f"{name}.blend")
        bpy.data.texts.remove(text)
    unsafe = export._WRITE_GLB.replace("use_scripts=False", "use_scripts=True")
    for name, code in (("safe", export._WRITE_GLB), ("unsafe", unsafe)):
        command = [sys.executable, "-P", "-c", code, str(tmp_path / f"{name}.blend"), str(tmp_path / f"{name}.glb")]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert (tmp_path / "unsafe").exists()  # this is how it would be noticed
    assert not (tmp_path / "safe").exists()


def test_nothing_else_opens_blend_files() -> None:
    """Names of Blender's API that read a .blend file, in attributes and in the source of child processes."""
    openers = ("open_mainfile", "libraries", "append", "link", "revert_mainfile", "recover_last_session")
    found = []
    for path in sorted(Path(dataset_builders.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in openers:
                chain = ast.unparse(node)
                found += [f"{path.name}: {chain}"] * chain.startswith(("bpy.ops.wm", "bpy.data.libraries"))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "open_mainfile(" in node.value:
                assert node.value.count("open_mainfile(") == node.value.count("use_scripts=False") == 1
                found.append(f"{path.name}: source")
    assert found == ["export.py: source"]
