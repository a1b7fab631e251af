"""What is written beside a checkpoint: how it was trained and what it is worth, with a stand-in for the model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from datasets import Dataset
from PIL import Image

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.painters import Picture
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm import ScenePrediction, format_program
from trl_scripts import camera_space, make_checkpoint, measure_checkpoint, reading_speed
from trl_scripts.inference import Predictor
from trl_scripts.measured_files import MEASURED_BY
from trl_scripts.reading_speed import measure_in_own_process

SCENES = [sample_clevr_scene("clevr", "val_id", 1, index) for index in range(3)]
LABELS = {"a.png": [{"size": "small", "color": "red", "material": "metal", "shape": "sphere"}]}


class StandIn:
    """A predictor that answers every picture with the first scene."""

    use_grammar = True
    view_shift = 0

    def predict(self, images: Sequence[Image.Image], batch_size: int) -> Iterator[ScenePrediction]:
        return (ScenePrediction.from_text(format_program(SCENES[0].program)) for _ in images)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line whose dataset, model, timing and renderer are stand-ins."""
    black = Picture(np.zeros((120, 160, 3), np.uint8))
    rows = Dataset.from_list([scene_row(scene, black, "4.5.0") for scene in SCENES], features=FEATURES)
    monkeypatch.setattr(camera_space, "load_dataset", lambda *_, **__: rows)
    monkeypatch.setattr(measure_checkpoint, "load_scene_rows", lambda *_: rows.select_columns(["image", "program"]))
    monkeypatch.setattr(Predictor, "load", classmethod(lambda cls, *_: StandIn()))
    monkeypatch.setattr(measure_checkpoint, "measure_in_own_process", lambda _, paths: {"pictures": len(paths)})
    monkeypatch.setattr(measure_checkpoint, "side_by_side", lambda image, scene: image)
    checkpoint, real = tmp_path / "model", tmp_path / "real"
    checkpoint.mkdir()
    real.mkdir()
    (real / "labels.json").write_text(json.dumps(LABELS))
    Image.new("RGB", (16, 12)).save(real / "a.png")
    return [str(checkpoint), "--dataset", "fresh", "--real-images", str(real), "--picture", str(real / "a.png")]


def test_everything_that_the_card_needs_of_scenes_is_written(arguments: list[str]) -> None:
    assert measure_checkpoint.main(arguments) == 0
    folder = Path(arguments[0])
    (report,) = json.loads((folder / "evaluation" / "scenes.json").read_text())["splits"]
    assert report["scenes"] == 3 and report["seeds"] == [1] and report["resolution"] == [160, 120]
    scores = report["scores"]
    assert 0 < scores["strict/recall@0.5m"] < 1  # one of three pictures is right
    assert 0.03 < scores["camera/floor_l2"] < 0.3 and scores["camera/reprojection_px"] > 1
    assert json.loads((folder / "evaluation" / "reading.json").read_text()) == {"pictures": 3}
    assert json.loads((folder / "evaluation" / "real_images.json").read_text())["total"]["true"] == 1
    assert (folder / "example.png").is_file()
    assert {path.stem for path in (folder / "evaluation").iterdir()} <= set(MEASURED_BY)


def test_nothing_is_measured_without_the_real_images(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (Path(arguments[4]) / "labels.json").unlink()
    assert measure_checkpoint.main(arguments) == 2
    assert "labels.json: name a folder of labelled images" in capsys.readouterr().err
    assert not (Path(arguments[0]) / "evaluation").exists()


def test_a_damaged_real_image_is_named_before_anything_is_measured(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(arguments[4]) / "a.png").write_bytes(b"no picture")
    assert measure_checkpoint.main(arguments) == 2
    assert f"{Path(arguments[4]) / 'a.png'}: not a readable image" in capsys.readouterr().err
    assert not (Path(arguments[0]) / "evaluation").exists()


def test_pictures_are_read_one_by_one_and_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read: list[int] = []

    def predict(images: list[Image.Image], batch_size: int) -> Iterator[None]:
        read.append(len(images))
        return iter([None] * len(images))

    monkeypatch.setattr(Predictor, "load", classmethod(lambda cls, *_: SimpleNamespace(predict=predict)))
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path in paths:
        Image.new("RGB", (16, 12)).save(path)
    measured = reading_speed.measure(tmp_path, paths)
    assert read == [1, 1, 1, 1, 3]  # the first to warm up
    assert measured["pictures"] == 3 and 0 < measured["median_seconds"] <= measured["slowest_seconds"]
    assert 0 <= measured["median_cpu_seconds"] <= measured["slowest_seconds"] + 0.1
    assert measured["peak_memory_mb"] > 50 and measured["threads"] >= 1 and measured["load_average"] >= 0


def test_a_timing_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stderr="Traceback\nCommandError: no such model", stdout="")
    monkeypatch.setattr(reading_speed.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(reading_speed.CommandError, match=r"cannot time .*: CommandError: no such model"):
        measure_in_own_process(tmp_path, [])


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """A command line for runs that have ended: the tower's was resumed, and its clock noted."""
    ended = {"train_runtime": 600.0}
    logs = {
        "tower": [{"elapsed_seconds": 1200.0, "peak_memory_mb": 900.0}, {**ended, "elapsed_seconds": 1800.0}],
        "model": [ended],
    }
    for name, log in logs.items():
        (tmp_path / name).mkdir()
        state = {"log_history": log, "epoch": 2.0, "global_step": 40}
        (tmp_path / name / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "model" / "scene_arguments.json").write_text('{"train_scenes": 5000}')
    (tmp_path / "train.txt").write_text("igllm build clevr --out data\n")
    folders = {"--model": "model", "--tower": "tower", "--commands": "train.txt", "--out": "out"}
    words = [word for option, name in folders.items() for word in (option, str(tmp_path / name))]
    return [*words, "--summary", "It reads.", "--machine", "2 cores"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model that is loaded: it has a grammar and saves nothing but its place."""
    config = SimpleNamespace(grammar={}, view_shift=1)
    stand_in = SimpleNamespace(config=config, save_pretrained=lambda to: to.mkdir(exist_ok=True))
    monkeypatch.setattr(make_checkpoint, "load_checkpoint", lambda *_: (stand_in, tiny.make_processor()))
    return stand_in


def test_the_time_of_a_resumed_run_is_that_of_all_its_parts(runs: list[str], trained: Any, tmp_path: Path) -> None:
    assert make_checkpoint.main(runs) == 0
    record = json.loads((tmp_path / "out" / "evaluation" / "training.json").read_text())
    assert [run["what"] for run in record["runs"]] == ["tower", "language model and head"]
    assert [run["minutes"] for run in record["runs"]] == [30.0, 10.0]
    assert [run["peak_memory_mb"] for run in record["runs"]] == [900.0, None]
    assert record["scenes"] == 5000 and record["commands"] == "igllm build clevr --out data"
    assert trained.config.view_shift == 1, "what the model had is lost"


def test_a_model_that_goes_on_has_the_runs_of_its_base_before_its_own(
    runs: list[str], trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_checkpoint.main(runs) == 0
    (tmp_path / "out").rename(tmp_path / "base")
    place = runs.index("--tower")
    going_on = [*runs[:place], "--base", str(tmp_path / "base"), *runs[place + 2 :], "--view-shift", "3"]
    (tmp_path / "train.txt").write_text("python trl_scripts/sft.py\n")
    assert make_checkpoint.main(going_on) == 0
    record = json.loads((tmp_path / "out" / "evaluation" / "training.json").read_text())
    assert [run["what"] for run in record["runs"]] == ["tower"] + 2 * ["language model and head"]
    assert record["scenes"] == 10000
    assert record["commands"] == "igllm build clevr --out data\npython trl_scripts/sft.py"
    assert trained.config.view_shift == 3
    onto_itself = [str(tmp_path / "base") if word == str(tmp_path / "out") else word for word in going_on]
    assert make_checkpoint.main(onto_itself) == 2
    assert "is --base" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        make_checkpoint.main([*going_on[:-1], "-3"])
    (tmp_path / "base" / "evaluation" / "training.json").unlink()
    assert make_checkpoint.main(going_on) == 2
    assert f"there is no {tmp_path / 'base' / 'evaluation' / 'training.json'}" in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_refused(
    runs: list[str], trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tower" / "trainer_state.json").write_text('{"log_history": [{"loss": 1.0}], "epoch": 1.0}')
    assert make_checkpoint.main(runs) == 2
    assert f"the training in {tmp_path / 'tower'} has not ended" in capsys.readouterr().err
    (tmp_path / "tower" / "trainer_state.json").unlink()
    assert make_checkpoint.main(runs) == 2
    assert "trainer_state.json: name the output folder of a training that has ended" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_commands_that_cannot_be_read_are_named(
    runs: list[str], trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").unlink()
    assert make_checkpoint.main(runs) == 2
    assert f"cannot read {tmp_path / 'train.txt'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_is_named(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert make_checkpoint.main(runs) == 2
    assert "is no checkpoint folder" in capsys.readouterr().err


def test_a_model_without_a_grammar_is_refused(
    runs: list[str], trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.config.grammar = None
    assert make_checkpoint.main(runs) == 2
    assert "has no grammar" in capsys.readouterr().err
