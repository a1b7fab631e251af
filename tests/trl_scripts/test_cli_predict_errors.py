"""`igllm predict` with a stand-in for the model: bad inputs cost one line each, the others are still done."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.torch import load_file, save_file

from dataset_builders import render_program
from modeling_igllm import ScenePrediction, parse_program
from modeling_igllm.image_files import read_image
from trl_scripts import prediction
from trl_scripts.cli import main
from trl_scripts.errors import CommandError
from trl_scripts.inference import Predictor

LINE = "add(size='large', color='red', material='metal', shape='sphere', loc=(0.500, -1.000, 0.700))\n"
POINT = "add(x=0.500, y=0.250)\n"
# What the stand-in "reads" in a picture is given by the colour of its first pixel.
ANSWERS = {255: LINE, 0: "I see a sphere.", 128: POINT}


class StandIn:
    """A predictor that knows three pictures: a red sphere (white), no program (black), and a 2D scene (grey)."""

    def predict(self, images: Sequence[Image.Image], batch_size: int) -> Iterator[ScenePrediction]:
        for image in images:
            yield ScenePrediction.from_text(ANSWERS[image.convert("L").getpixel((0, 0))])


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "load", classmethod(lambda cls, *_: StandIn()))


def picture(path: Path, shade: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (shade,) * 3).save(path)
    return path


def predict(*images: Path, out: Path, flags: Sequence[str] = ()) -> int:
    return main(["predict", *map(str, images), "--model", "none", "--out", str(out), *flags])


def results(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_results_hold_program_and_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    assert predict(image, out=tmp_path / "new" / "out") == 0
    assert results(tmp_path / "new" / "out") == ["a.json", "a.txt"]
    assert (tmp_path / "new" / "out" / "a.txt").read_text() == LINE
    data = json.loads((tmp_path / "new" / "out" / "a.json").read_text())
    assert data["program"] == LINE
    assert data["objects"] == parse_program(LINE).to_json()["objects"]
    captured = capsys.readouterr()
    assert captured.out == f"# {image}\n{LINE}\n"
    assert captured.err == ""


def test_bad_images_cost_one_line_each_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, last = picture(tmp_path / "good.png"), picture(tmp_path / "last.jpg")
    text, cut, ranged = tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "range.tiff"
    text.write_text("not a picture")
    Image.effect_noise((64, 64), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(ranged)
    missing, folder = tmp_path / "missing.png", tmp_path / "folder"
    folder.mkdir()
    assert predict(missing, good, text, cut, folder, ranged, last, out=tmp_path / "out") == 2
    assert results(tmp_path / "out") == ["good.json", "good.txt", "last.json", "last.txt"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == f"igllm predict: {missing}: no such file; check its name"
    for path, line in zip((text, folder, ranged, cut), lines[1:], strict=True):  # `cut` has a good header
        assert line.startswith(f"igllm predict: {path}: not a readable image (")
        assert line.endswith("give a PNG or JPEG file of 8 bits per channel")


def test_only_bad_images_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Predictor, "load", load)
    (tmp_path / "text.png").write_text("not a picture")
    assert predict(tmp_path / "missing.png", tmp_path / "text.png", out=tmp_path / "out") == 2


def test_a_batch_is_read_when_the_one_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(tmp_path / f"{name}.png") for name in "abcde"]
    written: list[int] = []

    def read(path: Path) -> Image.Image:
        written.append(len(list((tmp_path / "out").glob("*.json"))))
        return read_image(path)

    monkeypatch.setattr(prediction, "read_image", read)
    assert predict(*images, out=tmp_path / "out", flags=["--batch-size", "2"]) == 0
    assert written == [0, 0, 2, 2, 4]
    assert len(list((tmp_path / "out").glob("*.json"))) == 5


def test_an_answer_that_is_no_program_is_kept_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, good = picture(tmp_path / "wrong.png", 0), picture(tmp_path / "good.png")
    assert predict(wrong, good, out=tmp_path / "out", flags=["--batch-size", "1"]) == 1
    data = json.loads((tmp_path / "out" / "wrong.json").read_text())
    assert data["objects"] is None
    assert "line 1, column 1" in data["error"]
    assert (tmp_path / "out" / "wrong.txt").read_text() == "I see a sphere."
    assert (tmp_path / "out" / "good.txt").read_text() == LINE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"igllm predict: {wrong}: the output is no program: line 1, column 1")


def test_a_bad_image_outweighs_a_bad_answer(tmp_path: Path) -> None:
    assert predict(tmp_path / "missing.png", picture(tmp_path / "wrong.png", 0), out=tmp_path / "out") == 2


@pytest.mark.parametrize("other", ["a.jpg", "sub/a.png", "a.png"])
def test_two_inputs_with_one_stem_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    images = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png"), picture(tmp_path / other)]
    assert predict(*images, out=tmp_path / "out") == 2
    assert "'a'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_stems_that_differ_after_a_dot_are_two_results(tmp_path: Path) -> None:
    images = [picture(tmp_path / "scene.0001.png"), picture(tmp_path / "scene.0002.png")]
    assert predict(*images, out=tmp_path / "out") == 0
    expected = ["scene.0001.json", "scene.0001.txt", "scene.0002.json", "scene.0002.txt"]
    assert results(tmp_path / "out") == expected


def test_an_input_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    before = image.read_bytes()
    assert predict(image, out=tmp_path, flags=["--render"]) == 2
    assert f"{image} would overwrite an input: choose another --out folder" in capsys.readouterr().err
    assert image.read_bytes() == before
    assert results(tmp_path) == ["a.png"]


def test_a_picture_called_like_a_result_is_never_overwritten(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png").rename(tmp_path / "a.txt")
    before = image.read_bytes()
    assert predict(image, out=tmp_path) == 2
    assert image.read_bytes() == before


def test_results_may_lie_beside_a_picture_that_they_leave_alone(tmp_path: Path) -> None:
    assert predict(picture(tmp_path / "a.png"), out=tmp_path) == 0
    assert results(tmp_path) == ["a.json", "a.png", "a.txt"]


def test_an_unwritable_folder_is_named_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    for out in (image, image / "out"):  # a file, and below a file
        assert predict(image, out=out) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"igllm predict: cannot write to {out}: ")
        assert "choose another --out folder" in line


def test_a_result_that_cannot_be_written_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")]
    (tmp_path / "out" / "a.json").mkdir(parents=True)
    assert predict(*images, out=tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"igllm predict: {images[0]}: cannot write its results to {tmp_path / 'out'}: ")
    assert (tmp_path / "out" / "b.txt").read_text() == LINE


def test_render_puts_the_picture_beside_its_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_program, "render_program", lambda scene, size: np.zeros((*size[::-1], 3), np.uint8))
    image = picture(tmp_path / "a.png")
    assert predict(image, out=tmp_path / "out", flags=["--render"]) == 0
    with Image.open(tmp_path / "out" / "a.png") as both:
        assert both.size == (640, 240)
        assert both.getpixel((10, 120)) == (255, 255, 255)
        assert both.getpixel((630, 120)) == (0, 0, 0)


def test_a_scene_that_cannot_be_rendered_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat, wrong = picture(tmp_path / "flat.png", 128), picture(tmp_path / "wrong.png", 0)
    assert predict(flat, wrong, out=tmp_path / "out", flags=["--render"]) == 2
    assert results(tmp_path / "out") == ["flat.json", "flat.txt", "wrong.json", "wrong.txt"]
    lines = capsys.readouterr().err.splitlines()
    assert str(flat) in lines[0]
    assert "Point2D" in lines[0]
    assert str(wrong) in lines[1]


def test_a_fault_of_blender_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Error: no space for the picture")

    monkeypatch.setattr(render_program, "render_program", fail)
    images = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")]
    assert predict(*images, out=tmp_path / "out", flags=["--render"]) == 2
    assert results(tmp_path / "out") == ["a.json", "a.txt", "b.json", "b.txt"]
    assert all("no space for the picture" in line for line in capsys.readouterr().err.splitlines())


def test_a_model_that_cannot_be_loaded_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise CommandError("cannot load the model 'none'")

    monkeypatch.setattr(Predictor, "load", load)
    assert predict(picture(tmp_path / "a.png"), out=tmp_path / "out") == 2
    assert capsys.readouterr().err == "igllm predict: cannot load the model 'none'\n"


@pytest.mark.parametrize("flags", [["--batch-size", "0"], ["--dtype", "float8"]])
def test_unreadable_flags_are_refused(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        predict(picture(tmp_path / "a.png"), out=tmp_path / "out", flags=flags)
    assert raised.value.code == 2


# The real `load`, which the fixture above replaces.
_LOAD = Predictor.load.__func__  # type: ignore[attr-defined]


def test_an_impossible_device_is_named() -> None:
    with pytest.raises(CommandError, match="cannot use --device 'gpu'"):
        _LOAD(Predictor, "none", None, "gpu", "float32")


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=f"{tmp_path} .*config.json"):
        _LOAD(Predictor, str(tmp_path), None, "cpu", "float32")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CommandError, match=f"cannot load the model '{tmp_path}'"):
        _LOAD(Predictor, str(tmp_path), None, "cpu", "float32")


def test_a_checkpoint_that_lacks_a_weight_is_refused(tmp_path: Path) -> None:
    processor = tiny.make_processor()
    tiny.make_model(processor).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["numeric_head.layers.1.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        CommandError, match=r"cannot load the model .* lacks 1 weights, among them numeric_head\.layers\.1\.weight"
    ):
        _LOAD(Predictor, str(tmp_path), None, "cpu", "float32")
