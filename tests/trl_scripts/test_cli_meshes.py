"""`igllm build` and `igllm render` with `--meshes`: users' meshes, and one clear line for everything else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from dataset_builders import build
from dataset_builders.shards import SplitPlan
from trl_scripts.cli import main

CORNER = "v 0 0 0\nv 2 0 0\nv 0 1 0\nv 0 0 4\nf 1 2 3\nf 1 2 4\nf 1 3 4\n"
TINY = ["--resolution", "32x24", "--samples", "1"]
LINE = "add(color='red', shape='{}', loc=(0.000, 0.000, 0.500), rotation=(1.000, 0.000, 0.000, 0.000, 1.000, 0.000))\n"


def put(folder: Path, place: str, contents: str = CORNER) -> Path:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(contents)
    return folder / place


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Two categories of two meshes each, and a broken one."""
    folder = tmp_path / "meshes"
    for place in ("dog/rex", "dog/spot", "02691156/a1/models", "02691156/a2/models"):
        put(folder, f"{place}/model_normalized.obj")
    put(folder, "dog/bad/a.glb", "no mesh")
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return put(tmp_path, "scene.txt", LINE.format("dog_rex"))


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a call that must end with exit code 2."""
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"igllm {arguments[0]}: ")
    return line


def test_a_prediction_is_rendered_with_the_users_mesh(meshes: Path, program: Path, tmp_path: Path) -> None:
    pictures = []
    for name, text in {"large": CORNER.replace("2 0 0", "4 0 0").replace("0 1 0", "0 4 0"), "small": CORNER}.items():
        put(meshes, "dog/rex/model_normalized.obj", text)
        out = tmp_path / f"{name}.png"
        size = ["--resolution", "64x48", "--samples", "4"]
        assert main(["render", str(program), "-o", str(out), "--meshes", str(meshes), *size]) == 0
        with Image.open(out) as image:
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    large, small = ((pixels[..., 0] > pixels[..., 1] + 25).sum() for pixels in pictures)  # red
    assert large > small > 5


def test_a_blender_file_is_made_of_the_users_mesh(meshes: Path, program: Path, tmp_path: Path) -> None:
    import bpy

    assert main(["render", str(program), "-o", str(tmp_path / "a.blend"), "--meshes", str(meshes)]) == 0
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert len(bpy.data.objects["dog_rex"].data.polygons) == 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("dog_rexx", "meshes has no mesh called 'dog_rexx': of its 5 meshes the nearest are dog_rex, "),
        ("mug_07", "meshes has no mesh called 'mug_07': of its 5 meshes the nearest are "),
        ("dog_bad", "meshes/dog/bad/a.glb cannot be used: trimesh cannot read it"),
    ],
)
def test_a_shape_that_the_folder_does_not_have_is_named(
    meshes: Path, program: Path, capsys: pytest.CaptureFixture[str], shape: str, expected: str
) -> None:
    program.write_text(LINE.format(shape))
    out = program.with_suffix(".png")
    line = fail(capsys, "render", str(program), "-o", str(out), "--meshes", str(meshes), *TINY)
    assert str(program) in line
    assert expected in line
    assert not out.exists()


def test_a_folder_that_is_none_is_named(program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["render", str(program), "-o", str(tmp_path / "a.png"), "--meshes"]
    assert f"{tmp_path / 'none'} is not a folder" in fail(capsys, *command, str(tmp_path / "none"))
    assert f"{tmp_path} holds no <category>/<id>/" in fail(capsys, *command, str(tmp_path))


def test_without_the_folder_the_line_says_how_to_give_it(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, "render", str(program), "-o", str(tmp_path / "a.png"), *TINY)
    assert "there is no shape 'dog_rex' among the project's own" in line
    assert "`igllm render --meshes`" in line


def test_a_build_names_what_it_leaves_out_and_plans_every_split(
    meshes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plans: list[SplitPlan] = []
    monkeypatch.setattr(build, "render_shards", lambda plan, *_, **__: plans.append(plan))
    monkeypatch.setattr(build, "write_dataset_card", lambda out: None)
    assert main(["build", "shapenet", "--meshes", str(meshes), "--num-scenes", "2", "--out", str(tmp_path / "o")]) == 0
    assert [plan.split for plan in plans] == ["train", "val_id", "val_ood_texture", "val_ood_shape"]
    assert {plan.meshes for plan in plans} == {meshes}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"left out {meshes / 'dog/bad/a.glb'}: trimesh cannot read it: ")


@pytest.mark.parametrize(
    ("family", "folder", "expected"),
    [
        ("clevr", "meshes", "family 'clevr' has shapes of its own, a folder of meshes is for shapenet"),
        ("shapenet", "none", "none is not a folder: give one that holds <category>/<id>/ with a mesh in each"),
        ("shapenet", "meshes/dog", "meshes/dog holds no <category>/<id>/…/ with one .obj, .glb, .ply file"),
    ],
)
def test_a_build_without_meshes_says_what_is_wrong(
    meshes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str, folder: str, expected: str
) -> None:
    line = fail(capsys, "build", family, "--meshes", str(tmp_path / folder), "--out", str(tmp_path / "out"))
    assert expected in line
    assert not list(tmp_path.glob("out/**/*.*"))


@pytest.mark.slow
def test_a_built_dataset_has_the_users_shapes(meshes: Path, tmp_path: Path) -> None:
    command = ["build", "shapenet", "--meshes", str(meshes), "--num-scenes", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "trl_scripts.cli", *command, *TINY], capture_output=True, text=True, check=True
    )
    assert f"left out {meshes / 'dog/bad/a.glb'}: trimesh cannot read it" in done.stderr
    words = {"dog_rex", "dog_spot", "airplane_a1", "airplane_a2"}
    seen = {}
    for split in ("train", "val_ood_shape"):
        rows = load_dataset(str(tmp_path / "out"), "shapenet", split=split, cache_dir=str(tmp_path / "cache"))
        assert rows[0]["image"].size == (32, 24)
        seen[split] = {item["shape"] for row in rows for item in row["scene"]["objects"]}
    assert seen["train"] | seen["val_ood_shape"] <= words
    assert not seen["train"] & seen["val_ood_shape"]
