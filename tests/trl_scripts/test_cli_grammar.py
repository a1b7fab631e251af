"""`igllm predict` and `igllm evaluate` decode by the checkpoint's grammar, and say so where they cannot."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from PIL import Image

from modeling_igllm import PosedObject, Rotation, ScenePrediction, SceneProgram, format_program, parse_program
from trl_scripts import evaluation
from trl_scripts.cli import main
from trl_scripts.errors import CommandError
from trl_scripts.inference import Predictor

IMAGES = [Image.fromarray(image) for image in tiny.make_images(2)]


def save_model(folder: Path, max_objects: int | None = 4, max_new_tokens: int = 200) -> Path:
    """A random model, with a grammar unless `max_objects` is None."""
    processor = tiny.make_processor()
    model = tiny.make_model(processor)
    if max_objects is not None:
        model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=max_objects))
    model.generation_config.max_new_tokens = max_new_tokens
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        grammatical=save_model(folder / "grammatical"),
        free=save_model(folder / "free", max_objects=None),
        brief=save_model(folder / "brief", max_new_tokens=40),
    )


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in ("a", "b")]
    for path, image in zip(paths, IMAGES, strict=True):
        image.save(path)
    return paths


def predict(images: list[Path], model: Path, *flags: str) -> tuple[int, list[dict[str, object]]]:
    """Exit code and the JSON files."""
    out = images[0].parent / "out"
    code = main(["predict", *map(str, images), "--model", str(model), "--out", str(out), *flags])
    return code, [json.loads((out / f"{path.stem}.json").read_text()) for path in images]


def own_lines(text: str) -> list[str]:
    """What the command says on standard error, without transformers' progress bars."""
    return [line for line in text.splitlines() if line.startswith("igllm predict: ")]


def test_a_random_model_predicts_programs(
    models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = predict(images, models.grammatical)
    assert code == 0
    for path, result in zip(images, results, strict=True):
        text = (path.parent / "out" / f"{path.stem}.txt").read_text()
        assert text == result["program"]
        assert parse_program(text) == SceneProgram.from_json(result).rounded(3)
        assert len(result["confidences"]) == len(result["objects"])  # type: ignore[arg-type]
    truncated = [path for path, result in zip(images, results, strict=True) if result["truncated"]]
    expected = [f"igllm predict: {path}: truncated: a limit ended the output" for path in truncated]
    lines = own_lines(capsys.readouterr().err)
    assert [line.partition(", the model")[0] for line in lines] == expected


def test_a_limit_closes_the_program_and_is_reported_for_each_image(
    models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = predict(images, models.brief)
    assert code == 0
    assert all(result["truncated"] and result["program"] for result in results)
    lines = own_lines(capsys.readouterr().err)
    assert [line.split(": ")[1] for line in lines] == list(map(str, images))
    assert all("truncated" in line for line in lines)


def test_no_grammar_decodes_freely(
    models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = predict(images, models.grammatical, "--no-grammar")
    assert code == 1  # random weights write no programs by themselves
    assert all(result["objects"] is None for result in results)
    assert "config.grammar" not in capsys.readouterr().err


def test_a_checkpoint_without_a_grammar_is_decoded_freely_and_says_what_to_do(
    models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = predict(images, models.free)
    assert code == 1
    assert all(result["objects"] is None for result in results)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "config.grammar" in line)
    assert line.startswith(f"{models.free} has no grammar")
    assert "model.set_grammar(processor.make_grammar(training_scenes))" in line


def test_views_change_what_is_seen(models: SimpleNamespace, images: list[Path]) -> None:
    plain, once, shifted = (
        predict(images, models.grammatical, *flags)[1] for flags in ((), ("--view-shift", "0"), ("--view-shift", "3"))
    )
    assert plain == once != shifted


def test_views_need_a_grammar(models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", str(images[0]), "--model", str(models.free), "--out", str(images[0].parent / "out")]
    assert main([*command, "--view-shift", "3"]) == 2
    assert (
        f"{models.free} is not decoded by a grammar, and --view-shift 3 needs one"
        in capsys.readouterr().err.splitlines()[-1]
    )
    for flags, message in (
        (["--view-shift", "-1"], "not a whole number"),
        (["--view-shift", "1", "--no-grammar"], "not allowed"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *flags])
        assert message in capsys.readouterr().err


def test_weights_that_are_not_finite_are_one_line(
    models: SimpleNamespace, images: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(str(models.grammatical), None, "cpu", "float32")
    torch.nn.init.constant_(predictor.model.lm_head.weight, torch.nan)
    monkeypatch.setattr(Predictor, "load", classmethod(lambda cls, *_: predictor))
    with pytest.raises(CommandError, match=r"the model cannot answer: .*not finite"):
        list(predictor.predict(IMAGES, 2))
    assert main(["predict", str(images[0]), "--model", "any", "--out", str(images[0].parent / "out")]) == 2
    assert own_lines(capsys.readouterr().err)[-1].startswith("igllm predict: the model cannot answer: ")


@pytest.mark.parametrize(
    ("flags", "used", "shift"), [([], True, 0), (["--no-grammar"], False, 0), (["--view-shift", "2"], True, 2)]
)
def test_evaluate_reports_how_it_decoded(
    models: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], used: bool, shift: int
) -> None:
    rows = Dataset.from_dict({"image": IMAGES, "program": 2 * [format_program(tiny.LONG_SCENE)]})
    monkeypatch.setattr(evaluation, "load_scene_rows", lambda *_: rows)
    out = tmp_path / "scores.json"
    assert main(["evaluate", "--model", str(models.brief), "--dataset", "any", "--out", str(out), *flags]) == 0
    report = json.loads(out.read_text())
    assert report["grammar"] is used and report["view_shift"] == shift
    assert report["truncated"] == 2
    assert report["scores"]["strict/invalid_rate"] == (0.0 if used else 1.0)


def test_the_metric_reads_rotations_of_every_model() -> None:
    scene = SceneProgram((PosedObject("red", "car", (0.1, 0.2, 0.3), Rotation((0.6, 0.0, 0.0, 0.8), "quat")),))
    prediction = ScenePrediction.from_text(format_program(scene), rotation="quat")
    (item,) = parse_program(evaluation.metric_text(prediction))
    assert isinstance(item, PosedObject)
    np.testing.assert_allclose(item.rotation.matrix, scene.objects[0].rotation.matrix, atol=2e-3)  # type: ignore[union-attr]
    assert evaluation.metric_text(ScenePrediction.from_text("no program")) == "no program"
