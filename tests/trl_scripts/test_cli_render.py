"""`igllm render`: pictures and 3D files from program files, and one clear line for everything else."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_builders import render_program
from modeling_igllm import parse_program
from trl_scripts.cli import main

LINE = "add(size='large', color='red', material='metal', shape='sphere', loc=(0.500, -1.000, 0.700))\n"
TINY = ["--resolution", "32x24", "--samples", "1"]


def write(folder: Path, text: str, name: str = "scene.txt") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def fail(capsys: pytest.CaptureFixture[str], program: Path, out: Path, *flags: str) -> str:
    """The one line on standard error of a call that must end with exit code 2 and no output."""
    assert main(["render", str(program), "-o", str(out), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not out.exists()
    (line,) = captured.err.splitlines()
    assert line.startswith("igllm render: ")
    return line


def test_text_and_json_of_one_scene_give_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = write(tmp_path, LINE)
    data = write(tmp_path, json.dumps({**parse_program(LINE).to_json(), "program": LINE}), "scene.json")
    pictures = []
    for source in (text, data):
        out = tmp_path / f"{source.suffix[1:]}.png"
        assert main(["render", str(source), "-o", str(out), *TINY]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        with Image.open(out) as image:
            assert image.size == (32, 24)
            pictures.append(np.asarray(image))
    assert (pictures[0] == pictures[1]).all()


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, tmp_path / "none.txt", tmp_path / "out.png")
    assert f"cannot read {tmp_path / 'none.txt'}: No such file or directory" in line


def test_a_folder_is_no_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"cannot read {tmp_path}: Is a directory" in fail(capsys, tmp_path, tmp_path / "out.png")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red sphere on the left.", "line 1, column 1"),
        (LINE + LINE.replace(")\n", "\n"), "line 2"),
        (LINE + LINE.replace("material", "texture"), "line 2"),
        (LINE + "import os\n", "line 2, column 1"),
        (LINE.replace("red", "mauve"), "'mauve'"),
        (LINE.replace("0.700", "[NUM]"), "line 1"),
    ],
)
def test_a_text_that_is_no_program_is_located(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    source = write(tmp_path, text)
    line = fail(capsys, source, tmp_path / "out.png")
    assert f"{source}: line" in line
    assert expected in line


def test_an_unknown_attribute_is_quoted_with_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, LINE.replace("material", "texture"))
    line = fail(capsys, source, tmp_path / "out.png")
    assert "texture" in line
    assert "material" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON"),
        (LINE, "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (f'{{"objects": [{"9" * 5000}]}}', "is not JSON"),
        ("[]", "expected"),
        ('{"objects": null, "error": "line 1, column 1: expected add"}', "expected a list"),
        ('{"objects": [{"size": "large"}]}', "objects[0]"),
    ],
)
def test_json_that_is_no_scene_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    source = write(tmp_path, text, "scene.json")
    line = fail(capsys, source, tmp_path / "out.png")
    assert str(source) in line
    assert expected in line


def test_bytes_that_are_no_text_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scene.txt").write_bytes(b"\x89PNG\r\n\xff\xfe")
    assert f"{tmp_path / 'scene.txt'} is not UTF-8" in fail(capsys, tmp_path / "scene.txt", tmp_path / "out.png")


def test_a_wrong_suffix_lists_the_right_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, write(tmp_path, LINE), tmp_path / "out.jpg")
    assert str(tmp_path / "out.jpg") in line
    assert ".png, .blend, .glb, .usd" in line


@pytest.mark.parametrize("suffix", render_program.SUFFIXES)
def test_an_unwritable_place_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    source = write(tmp_path, LINE)
    out = source / f"out{suffix}"  # below a file
    line = fail(capsys, source, out, *TINY)
    assert f"cannot write {out}: Not a directory" in line
    assert "choose another --out" in line


def test_a_scene_of_another_family_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, "add(x=0.500, y=0.250)\n")
    line = fail(capsys, source, tmp_path / "out.png")
    assert str(source) in line
    assert "Point2D" in line


def test_a_size_that_blender_cannot_render_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, write(tmp_path, LINE), tmp_path / "out.png", "--resolution", "2x2")
    assert "got 2x2" in line


@pytest.mark.parametrize("size", ["0x24", "32", "32x", "-32x24", "32x24x3", "axb", "²x2"])
def test_unreadable_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["render", str(write(tmp_path, LINE)), "-o", str(tmp_path / "out.png"), f"--resolution={size}"])
    assert raised.value.code == 2
    assert f"{size!r} is not WIDTHxHEIGHT" in capsys.readouterr().err


def test_without_blender_the_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_blender(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'bpy'", name="bpy")

    monkeypatch.setattr(render_program, "_session", no_blender)
    for suffix in (".png", ".blend"):
        line = fail(capsys, write(tmp_path, LINE), tmp_path / f"out{suffix}")
        assert "No module named 'bpy'; rendering needs Blender: pip install \"ig-llm[render]\"" in line
