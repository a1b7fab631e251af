"""What the bundled checkpoints promise: small, safe files, current code, honest cards, and that they work."""

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from modeling_igllm import ClevrObject, SceneProgram, parse_program
from trl_scripts.checkpoint_card import PLACEHOLDER, RESULTS, STRICT, make_card, read_results, result_entries
from trl_scripts.cli import main
from trl_scripts.measured_files import read_measured
from trl_scripts.real_images import left_to_right

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "checkpoints" / "ig-llm-tiny-clevr"
every_checkpoint = pytest.mark.parametrize(
    "checkpoint",
    [
        pytest.param(path, id=path.name)
        for path in sorted(place.parent for place in CHECKPOINT.parent.glob("*/config.json"))
    ],
)
EXAMPLE = ROOT / "docs" / "examples" / "clevr_scene.png"


@every_checkpoint
def test_checkpoint_is_small_and_holds_no_pickles(checkpoint: Path) -> None:
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".py", ".md", ".png", ".yaml"}


@every_checkpoint
def test_checkpoint_carries_the_current_code(checkpoint: Path) -> None:
    for path in checkpoint.glob("*.py"):
        current = ROOT / "modeling_igllm" / path.name
        assert path.read_text() == current.read_text(), (
            f"{current} has changed: python -m trl_scripts.refresh_checkpoint {checkpoint}"
        )


@every_checkpoint
def test_card_and_results_are_what_was_measured(checkpoint: Path) -> None:
    measured = read_measured(checkpoint)
    outdated = f"python -m trl_scripts.checkpoint_card {checkpoint} writes it anew"
    assert str(make_card(checkpoint, measured, PLACEHOLDER)) == (checkpoint / "README.md").read_text(), outdated
    assert read_results(checkpoint / RESULTS) == result_entries(measured, PLACEHOLDER), outdated
    assert len(ModelCard.load(checkpoint / "README.md").data.eval_results) == len(STRICT) * len(measured.splits)


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The file that `igllm predict` writes for the committed example; a text file is given beside it."""
    folder = tmp_path_factory.mktemp("predicted")
    out, broken = folder / "out", folder / "broken.png"
    broken.write_text("this is no picture")
    assert main(["predict", str(broken), str(EXAMPLE), "--model", str(CHECKPOINT), "--out", str(out)]) == 2
    assert (out / "clevr_scene.txt").read_text() == json.loads((out / "clevr_scene.json").read_text())["program"]
    return dict(json.loads((out / "clevr_scene.json").read_text()))


def test_predict_reads_the_example(prediction: dict[str, object]) -> None:
    truth = parse_program(EXAMPLE.with_suffix(".txt").read_text())
    predicted = SceneProgram.from_json(prediction)
    assert left_to_right(predicted) == left_to_right(truth)


def test_places_of_the_example_are_near_the_truth(prediction: dict[str, object]) -> None:
    truth, predicted = (
        np.array(sorted((item.color, item.shape, *item.loc) for item in scene if isinstance(item, ClevrObject)))
        for scene in (
            parse_program(EXAMPLE.with_suffix(".txt").read_text()),
            SceneProgram.from_json(prediction),
        )
    )
    distances = np.linalg.norm(truth[:, 2:].astype(float) - predicted[:, 2:].astype(float), axis=1)
    assert distances.mean() < 0.4


def test_the_prediction_file_holds_program_objects_and_model(prediction: dict[str, object]) -> None:
    assert prediction["model"] == str(CHECKPOINT)
    assert parse_program(str(prediction["program"])) == SceneProgram.from_json(prediction).rounded(3)
