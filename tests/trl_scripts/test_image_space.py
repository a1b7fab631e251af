"""Scores of pictures: against plain loops, on drawn and on rendered scenes, and through the command."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from datasets import Dataset
from PIL import Image

from modeling_igllm import ClevrObject, Point2D, PosedObject, Rotation, ScenePrediction, SceneProgram, format_program
from trl_scripts import evaluation, image_space
from trl_scripts.cli import main
from trl_scripts.errors import CommandError
from trl_scripts.image_space import compare_pictures, gmsd, image_space_scores

PERFECT = {"image/psnr": math.inf, "image/ssim": 1.0, "image/ms_ssim": math.nan, "image/gmsd": 0.0}
POINT = SceneProgram((Point2D(0.3, 0.4),))


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Soft random blobs."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def slow_gmsd(first: np.ndarray, second: np.ndarray) -> float:
    """The formula of Xue et al. (2014), pixel by pixel; nothing lies outside the picture."""

    def gradients(pixels: np.ndarray) -> dict[tuple[int, int], float]:
        grey = {}
        for y in range(pixels.shape[0] // 2):
            for x in range(pixels.shape[1] // 2):
                block = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(4, 3).astype(float)
                grey[y, x] = sum(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in block) / 4
        steps = (-1, 0, 1)
        return {
            (y, x): math.hypot(
                sum(grey.get((y + dy, x + dx), 0) * dx for dy in steps for dx in steps) / 3,
                sum(grey.get((y + dy, x + dx), 0) * dy for dy in steps for dx in steps) / 3,
            )
            for y, x in grey
        }

    magnitudes = gradients(first), gradients(second)
    alike = [
        (2 * a * b + 170) / (a * a + b * b + 170)
        for a, b in zip(magnitudes[0].values(), magnitudes[1].values(), strict=True)
    ]
    return math.sqrt(sum((value - sum(alike) / len(alike)) ** 2 for value in alike) / len(alike))


def test_gmsd_is_its_formula() -> None:
    first, second = picture(0, 25, 31), picture(1, 25, 31)  # an odd row and column are left out
    assert gmsd(first, second) == pytest.approx(slow_gmsd(first, second))
    assert gmsd(first, second) > 0.01


def test_equal_pictures_have_every_perfect_score() -> None:
    large = picture(0, 176, 176)
    assert compare_pictures(large, large) == pytest.approx({"mse": 0, "ssim": 1, "ms_ssim": 1, "gmsd": 0})


def test_the_more_noise_the_worse_every_score() -> None:
    true = picture(0, 176, 176)
    noise = np.random.default_rng(1).normal(size=true.shape)
    little, much = (
        compare_pictures(np.clip(true + sigma * noise, 0, 255).astype(np.uint8), true) for sigma in (5, 50)
    )
    assert little["mse"] < much["mse"]
    assert little["gmsd"] < much["gmsd"]
    assert 1 > little["ssim"] > much["ssim"]
    assert 1 > little["ms_ssim"] > much["ms_ssim"]


def test_ms_ssim_is_undefined_for_small_pictures() -> None:
    assert math.isnan(compare_pictures(picture(0, 175, 180), picture(1, 175, 180))["ms_ssim"])


@pytest.mark.parametrize("other", [picture(0, 28, 32), picture(0)[..., 0], picture(0)[..., :2]])
def test_pictures_of_other_shapes_are_refused(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pictures of one size"):
        compare_pictures(other, picture(0) if other.shape[:2] != (24, 32) else other)


def test_scores_are_pooled_over_points_that_are_drawn() -> None:
    """One exact point and one missing: half of the squared error, not an infinite mean."""
    size, far = (64, 64), SceneProgram((Point2D(0.9, 0.9),))
    exact, missing = (image_space_scores([scene], [POINT], size) for scene in (POINT, None))
    assert exact == pytest.approx(PERFECT, nan_ok=True)  # too small for ms_ssim
    both = image_space_scores([POINT, None], [POINT, POINT], size)
    assert both["image/psnr"] == pytest.approx(missing["image/psnr"] + 10 * math.log10(2))
    assert both["image/ssim"] == pytest.approx((1 + missing["image/ssim"]) / 2)
    assert image_space_scores([far], [POINT], size)["image/psnr"] < missing["image/psnr"]


def test_a_scene_of_another_kind_is_an_empty_one() -> None:
    other = SceneProgram((ClevrObject("small", "red", "metal", "sphere", (0.0, 0.0, 0.35)),))
    first, second = (image_space_scores([scene], [POINT], (64, 64)) for scene in (other, None))
    np.testing.assert_equal(first, second)


def test_rendered_scenes_are_compared() -> None:
    worse, better = SceneProgram(()), SceneProgram(tiny.LONG_SCENE.objects[:2])
    scores = [image_space_scores([scene], [tiny.LONG_SCENE], (40, 30)) for scene in (worse, better)]
    assert scores[0]["image/psnr"] < scores[1]["image/psnr"]
    assert scores[0]["image/ssim"] < scores[1]["image/ssim"]


def test_a_scene_that_cannot_be_rendered_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("there is no shape 'ufo'")

    monkeypatch.setattr("dataset_builders.render_program.render_program", fail)
    with pytest.raises(CommandError, match="cannot render scene 0: there is no shape 'ufo'"):
        image_space_scores([None], [tiny.SHORT_SCENE], (40, 30))


def test_the_command_reports_scores_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Dataset.from_dict({"image": [Image.new("RGB", (64, 48))] * 2, "program": 2 * [format_program(POINT)]})
    answers = [ScenePrediction.from_text(text) for text in (format_program(POINT), "no program")]
    monkeypatch.setattr(evaluation, "load_scene_rows", lambda *_: rows)
    monkeypatch.setattr(evaluation, "predict_rows", lambda *_: answers)
    monkeypatch.setattr(evaluation.Predictor, "load", lambda *_: SimpleNamespace(use_grammar=False, view_shift=0))
    out = tmp_path / "scores.json"
    assert main(["evaluate", "--model", "any", "--dataset", "any", "--image-space", "--out", str(out)]) == 0
    scores = json.loads(out.read_text())["scores"]
    expected = image_space_scores([POINT, None], [POINT, POINT], (64, 48))
    assert {key: scores[key] for key in PERFECT} == evaluation.json_scores(expected)
    assert main(["evaluate", "--model", "any", "--dataset", "any", "--out", str(out)]) == 0
    assert not PERFECT.keys() & json.loads(out.read_text())["scores"].keys()


def test_a_picture_that_fails_takes_no_other_scores_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no space for the picture")

    rows = Dataset.from_dict({"image": [Image.new("RGB", (64, 48))], "program": [format_program(POINT)]})
    monkeypatch.setattr(evaluation, "load_scene_rows", lambda *_: rows)
    monkeypatch.setattr(evaluation, "predict_rows", lambda *_: [ScenePrediction.from_text(format_program(POINT))])
    monkeypatch.setattr(evaluation.Predictor, "load", lambda *_: SimpleNamespace(use_grammar=False, view_shift=0))
    monkeypatch.setattr(image_space, "_render_pair", fail)
    out = tmp_path / "scores.json"
    assert main(["evaluate", "--model", "any", "--dataset", "any", "--image-space", "--out", str(out)]) == 2
    assert json.loads(out.read_text())["scores"]["strict/mse"] == 0
    captured = capsys.readouterr()
    assert "strict/mse" in captured.out
    assert captured.err.splitlines()[-1] == "igllm evaluate: cannot render scene 0: no space for the picture"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "there is no shape 'mug_1' among the project's own"),
        (["--meshes", "FOLDER/none"], "FOLDER/none is not a folder"),
        (["--meshes", "FOLDER/meshes"], "FOLDER/meshes has no mesh called 'mug_1'"),
    ],
)
def test_a_shape_that_is_not_there_is_said_before_the_model_is_loaded(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "meshes" / "cup" / "1").mkdir(parents=True)
    (tmp_path / "meshes" / "cup" / "1" / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    mug = PosedObject("red", "mug_1", (0.0, 0.0, 0.5), Rotation.from_matrix(np.eye(3), "6d"))
    program = format_program(SceneProgram((mug,)))
    rows = Dataset.from_dict({"image": [Image.new("RGB", (64, 48))], "program": [program]})
    monkeypatch.setattr(evaluation, "load_scene_rows", lambda *_: rows)
    monkeypatch.setattr(evaluation.Predictor, "load", lambda *_: pytest.fail("the model was loaded"))
    monkeypatch.setattr(image_space, "check_blender", lambda *_: None)
    flags = [flag.replace("FOLDER", str(tmp_path)) for flag in flags]
    assert main(["evaluate", "--model", "any", "--dataset", "any", "--image-space", *flags]) == 2
    assert message.replace("FOLDER", str(tmp_path)) in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("", ["--image-space"], "scene 0 has no objects"),
        (format_program(POINT), ["--camera-space"], "camera space is that of CLEVR's families"),
        (format_program(POINT), ["--out", "FOLDER/none/scores.json"], "cannot write FOLDER/none/scores.json"),
        (format_program(POINT), ["--out", "FOLDER"], "cannot write FOLDER"),
        (format_program(tiny.SHORT_SCENE), ["--image-space"], "rendering needs Blender: pip install"),
    ],
)
def test_what_cannot_be_scored_is_said_before_the_model_is_loaded(
    program: str,
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = Dataset.from_dict({"image": [Image.new("RGB", (64, 48))], "program": [program]})
    monkeypatch.setattr(evaluation, "load_scene_rows", lambda *_: rows)
    monkeypatch.setattr(evaluation.Predictor, "load", lambda *_: pytest.fail("the model was loaded"))
    monkeypatch.setitem(sys.modules, "dataset_builders.rendering", None)
    flags = [flag.replace("FOLDER", str(tmp_path)) for flag in flags]
    assert main(["evaluate", "--model", "any", "--dataset", "any", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message.replace("FOLDER", str(tmp_path)) in line


def test_scores_without_bound_are_null_in_json() -> None:
    written = json.dumps(evaluation.json_scores({"a": math.inf, "b": math.nan, "c": 0.5}), allow_nan=False)
    assert json.loads(written) == {"a": None, "b": None, "c": 0.5}
