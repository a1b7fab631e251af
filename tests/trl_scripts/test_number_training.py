"""Every number head trains in the trainer, and batches carry each rotation in the representation that is asked for."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset, load_dataset
from scipy.spatial.transform import Rotation as RotationOracle
from test_scene_trainer import make_trainer
from test_sft_push import SWITCHES, save_scenes

from modeling_igllm import (
    REPRESENTATION_SIZES,
    IGLLMConfig,
    IGLLMForSceneProgram,
    IGLLMProcessor,
    PosedObject,
    Rotation,
    SceneProgram,
    SceneTowerModel,
    format_program,
    parse_program,
)
from modeling_igllm.numeric_head import NUMBER_HEADS
from trl_scripts import sft
from trl_scripts.fit_number_ranges import fit_number_ranges
from trl_scripts.scene_collator import SceneCollator, answer_lengths
from trl_scripts.scene_trainer import check_number_head_learns
from trl_scripts.tiny_model import build_tiny_model

every_head = pytest.mark.parametrize("number_head", NUMBER_HEADS[1:])
MATRICES = RotationOracle.random(3, random_state=0).as_matrix()
POSED_SCENE = SceneProgram(
    tuple(PosedObject("red", "car_1a2", (0.5, -1.25, 0.25), Rotation.from_matrix(matrix, "6d")) for matrix in MATRICES)
)


def number_settings(number_head: str) -> dict[str, object]:
    return {
        "number_head": number_head,
        "number_bins": 16,
        "number_components": 3,
        "number_ranges": tiny.NUMBER_RANGES,
        "feed_numbers_back": True,
    }


@pytest.mark.parametrize("number_head", ["binned", "mixture"])
def test_gradient_accumulation_does_not_change_the_step(processor, tmp_path: Path, number_head: str) -> None:
    # The rows hold different numbers of tokens and numbers: a mean of means would differ.
    trained = []
    for batch_size, steps in ((8, 1), (2, 4)):
        splitting = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": steps}
        trainer = make_trainer(processor, tmp_path, model_fields=number_settings(number_head), **splitting)
        before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
        trainer.train()
        trained.append(dict(trainer.model.named_parameters()))
    for name, value in trained[0].items():
        torch.testing.assert_close(value, trained[1][name], rtol=1e-4, atol=1e-6, msg=name)
        if name.startswith(("numeric_head", "number_embedding")):
            assert not torch.equal(value, before[name]), name


@every_head
def test_the_check_passes_every_fresh_head(processor: IGLLMProcessor, number_head: str) -> None:
    model = tiny.make_model(processor, **number_settings(number_head))
    check_number_head_learns(model, dict(tiny.make_batch(processor)))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_head_whose_likelihood_is_above_one_still_learns(processor: IGLLMProcessor) -> None:
    settings = number_settings("gaussian") | {"number_ranges": {name: [-1e4, 1e4] for name in tiny.NUMBER_RANGES}}
    model = tiny.make_model(processor, **settings)
    with torch.no_grad():
        model.numeric_head.layers[-1].weight.mul_(1e-3)
        model.numeric_head.layers[-1].bias.copy_(torch.tensor([0.0, -5.0]))
    batch = dict(tiny.make_batch(processor))
    assert model(**batch).number_loss < 0
    check_number_head_learns(model, batch)


def test_a_frozen_embedding_of_numbers_is_refused(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor, feed_numbers_back=True)
    model.number_embedding.requires_grad_(False)
    with pytest.raises(RuntimeError, match="would not learn"):
        check_number_head_learns(model, dict(tiny.make_batch(processor)))


@pytest.mark.parametrize(("rotation", "size"), REPRESENTATION_SIZES.items())
def test_batches_carry_rotations_in_the_representation_of_the_processor(rotation: str, size: int) -> None:
    processor = tiny.make_processor(rotation=rotation)
    rows = [{"program": format_program(POSED_SCENE), "image": image} for image in tiny.make_images(2)]
    batch = SceneCollator(processor)(rows)
    is_number = batch["labels"] == processor.num_token_id
    assert is_number.sum(-1).tolist() == [3 * (3 + size)] * 2
    assert batch["number_quantities"][is_number].tolist() == 6 * ([0, 1, 2] + size * [3])
    assert (batch["number_quantities"] >= 0).equal(is_number)
    values = batch["number_labels"][0][is_number[0]].reshape(3, 3 + size)
    for row, matrix in zip(values.tolist(), MATRICES, strict=True):
        assert row[:3] == [0.5, -1.25, 0.25]
        # The column has three decimals.
        np.testing.assert_allclose(Rotation(tuple(row[3:]), rotation).matrix, matrix, atol=2e-3)
    (prediction, _) = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    assert prediction.scene.objects[0].rotation.representation == rotation
    programs = Dataset.from_dict({"program": [row["program"] for row in rows]})
    assert answer_lengths(programs, processor) == (batch["labels"] != -100).sum(-1).tolist()


def test_ranges_are_the_extremes_of_the_training_scenes() -> None:
    assert fit_number_ranges([tiny.SHORT_SCENE, tiny.LONG_SCENE]) == {
        "x": [-2.0, 1.25],
        "y": [-0.5, 0.125],
        "z": [0.375, 0.75],
        "rotation": [-0.5, 1.5],  # always 0.5
    }
    points = parse_program("add(x=0.125, y=0.250)\nadd(x=0.500, y=0.750)\n")
    assert fit_number_ranges([points]) == {"x": [0.125, 0.5], "y": [0.25, 0.75]}
    low, high = fit_number_ranges([POSED_SCENE], rotation="aa")["rotation"]
    angles = [value for item in POSED_SCENE.with_rotation("aa") for value in item.rotation.values]
    assert (low, high) == (min(angles), max(angles))


def save_tower(folder: Path) -> Path:
    """An untrained tower of the size of the tiny models."""
    SceneTowerModel(tiny.tower_config()).save_pretrained(folder)
    tiny.make_processor().image_processor.save_pretrained(folder)
    return folder


def run_sft(folder: Path, **switches: object) -> int:
    """One step of `sft.py` on four scenes, with a new model in `folder / "out"`."""
    places = {"output_dir": str(folder / "out"), "dataset": str(save_scenes(folder / "scenes"))}
    arguments = {**SWITCHES, **places, "max_steps": 1}
    (folder / "recipe.yaml").write_text(json.dumps({**arguments, **switches}))  # JSON is YAML
    return sft.main(["--config", str(folder / "recipe.yaml")])


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets takes folders of one name for the same."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("own_cache")
def test_the_script_makes_the_head_that_is_asked_for(tmp_path: Path) -> None:
    numbers = {"number_head": "binned", "scale_numbers": True, "feed_numbers_back": True, "rotation": "quat"}
    weights = {"float_w": 0.5, "rotation_w": 4.0}
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), **numbers, **weights) == 0
    config = IGLLMConfig.from_pretrained(tmp_path / "out")
    assert config.number_head == "binned" and config.feed_numbers_back
    assert (config.float_w, config.rotation_w) == (0.5, 4.0)
    rows = load_dataset(str(tmp_path / "scenes"), "clevr", split="train")
    assert config.number_ranges == fit_number_ranges(parse_program(program) for program in rows["program"])
    assert IGLLMProcessor.from_pretrained(tmp_path / "out").rotation == "quat"
    model = IGLLMForSceneProgram.from_pretrained(tmp_path / "out")
    assert model.number_embedding is not None and model.numeric_head.layers[-1].out_features == 512


@pytest.mark.usefixtures("own_cache")
def test_the_script_trains_digit_text_with_the_number_token_loss(tmp_path: Path) -> None:
    switches = {"number_head": "none", "number_token_loss_weight": 0.5}
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), **switches) == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert any(entry.get("number_token_loss", 0) > 0 for entry in state["log_history"])


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", ["float_w", "rotation_w"])
def test_weights_of_a_head_that_is_not_there_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), number_head="none", **{name: 2.0}) == 2
    message = f"sft.py: --{name} 2.0 is for a numeric head, but the model writes digits: leave it out"
    assert capsys.readouterr().err.strip().splitlines()[-1] == message


def test_a_new_language_model_begins_at_unit_gain(tmp_path: Path) -> None:
    model, _ = build_tiny_model(save_tower(tmp_path / "tower"), hidden_size=96)
    weights = model.model.language_model.layers[0].self_attn.q_proj.weight
    assert weights.std().item() == pytest.approx(96**-0.5, rel=0.05)


@pytest.mark.usefixtures("own_cache")
def test_the_script_trains_on_mirror_images_too(tmp_path: Path) -> None:
    switches = {"mirror": True, "feature_cache": str(tmp_path / "features"), "num_train_epochs": 1, "max_steps": -1}
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), **switches) == 0
    used = json.loads((tmp_path / "out" / "scene_arguments.json").read_text())
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert used["train_scenes"] == 4 and used["mirror"]
    assert state["global_step"] * state["train_batch_size"] == 2 * used["train_scenes"]


@pytest.mark.usefixtures("own_cache")
def test_a_fine_tune_cannot_change_what_its_numbers_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sft(tmp_path, model_name_or_path="any", scale_numbers=True) == 2
    assert "leave out --scale_numbers" in capsys.readouterr().err.splitlines()[-1]


def test_scenes_without_numbers_have_no_ranges() -> None:
    with pytest.raises(ValueError, match="none"):
        fit_number_ranges([SceneProgram(())])
