"""The trainer trains the numeric head, and gradient accumulation changes nothing."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from trl import SFTConfig

from modeling_igllm import IGLLMProcessor, format_program
from trl_scripts.errors import CommandError
from trl_scripts.fair_pairs import FairPairs
from trl_scripts.scene_collator import SceneCollator
from trl_scripts.scene_trainer import LOSS_PARTS, SceneSFTTrainer, check_number_head_learns


def make_rows() -> Dataset:
    """Eight images with programs of one and of three objects in turn."""
    programs = [format_program(scene) for scene in (tiny.SHORT_SCENE, tiny.LONG_SCENE)]
    columns = {"image": [Image.fromarray(image) for image in tiny.make_images(8)], "program": programs * 4}
    return Dataset.from_dict(columns, features=Features({"image": ImageFeature(), "program": Value("string")}))


def make_trainer(
    processor: IGLLMProcessor,
    folder: Path,
    number_head: str = "tanh_mlp_gelu",
    model_fields: dict[str, Any] | None = None,
    number_token_loss_weight: float = 0.0,
    fair_pairs: FairPairs | None = None,
    **overrides: Any,
) -> SceneSFTTrainer:
    """A trainer of a random tiny model that takes plain gradient steps."""
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "remove_unused_columns": False,
        "activation_checkpointing": False,
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "seed": 0,
    }
    model = tiny.make_model(processor, **{"number_head": number_head, **(model_fields or {})})
    model.model.vision_tower.requires_grad_(False)
    return SceneSFTTrainer(
        model=model,
        args=SFTConfig(**arguments | overrides),
        train_dataset=make_rows(),
        processing_class=processor,
        data_collator=SceneCollator(processor, fair_pairs=fair_pairs),
        number_token_loss_weight=number_token_loss_weight,
        fair_pairs=fair_pairs,
    )


def make_fair_pairs(processor: IGLLMProcessor) -> FairPairs:
    """Of the scenes of `make_rows`."""
    return FairPairs((tiny.SHORT_SCENE, tiny.LONG_SCENE), processor.tokenizer, len(processor.tokenizer))


def test_scenes_without_objects_are_trained_on(processor: IGLLMProcessor, tmp_path: Path) -> None:
    programs = ["", "", "", format_program(tiny.SHORT_SCENE)]
    rows = make_rows().select(range(4)).remove_columns("program")
    for order in (programs, programs[::-1]):  # whichever the sampler begins with
        trainer = make_trainer(processor, tmp_path, per_device_train_batch_size=1)
        trainer.train_dataset = rows.add_column("program", order)
        trainer.train()
        assert trainer.state.global_step == 1
    trainer.train_dataset = rows.add_column("program", [""] * 4)
    with pytest.raises(CommandError, match="no batch of training scenes with a number"):
        trainer.train()


@pytest.mark.parametrize("is_fair", [False, True])
def test_gradient_accumulation_does_not_change_the_step(
    processor: IGLLMProcessor, tmp_path: Path, is_fair: bool
) -> None:
    # The rows hold different numbers of tokens and numbers: a mean of means would differ.
    fair = make_fair_pairs(processor) if is_fair else None
    whole = make_trainer(processor, tmp_path, fair_pairs=fair, per_device_train_batch_size=8)
    parts = make_trainer(
        processor, tmp_path, fair_pairs=fair, per_device_train_batch_size=2, gradient_accumulation_steps=4
    )
    before = {name: value.detach().clone() for name, value in whole.model.named_parameters()}
    whole.train()
    parts.train()
    moved = 0
    for (name, one), other in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7, msg=name)
        moved += not torch.equal(one, before[name])
    assert moved > 10


def test_the_numeric_head_is_trained_and_the_tower_is_not(processor: IGLLMProcessor, tmp_path: Path) -> None:
    trainer = make_trainer(processor, tmp_path)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("numeric_head") for name in changed)
    assert not any("vision_tower" in name for name in changed)


def test_both_parts_of_the_loss_are_logged(processor: IGLLMProcessor, tmp_path: Path) -> None:
    trainer = make_trainer(processor, tmp_path)
    trainer.train()
    logs = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert logs["loss"] == pytest.approx(logs["ce_loss"] + logs["number_loss"], rel=1e-3)
    assert logs["number_loss"] > 0


def test_the_loss_of_pairs_is_a_part_in_training_and_evaluation(processor: IGLLMProcessor, tmp_path: Path) -> None:
    trainer = make_trainer(processor, tmp_path, fair_pairs=make_fair_pairs(processor))
    trainer.train()
    logs = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert logs["pair_loss"] > 0 and {name for name in logs if name.endswith("_loss")} <= set(LOSS_PARTS)
    assert logs["loss"] == pytest.approx(logs["ce_loss"] + logs["number_loss"] + logs["pair_loss"], rel=1e-3)
    red = format_program(tiny.SHORT_SCENE).replace("color='blue'", "color='red'")
    assert "color='red'" in red
    unseen = make_rows().select([0]).remove_columns("program").add_column("program", [red])
    assert 0 < trainer.evaluate(unseen)["eval_pair_loss"] < math.inf


def test_logged_parts_do_not_depend_on_accumulation(processor: IGLLMProcessor, tmp_path: Path) -> None:
    whole = make_trainer(processor, tmp_path, per_device_train_batch_size=8)
    parts = make_trainer(processor, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    logs = []
    for trainer in (whole, parts):
        trainer.train()
        logs.append(next(entry for entry in trainer.state.log_history if "loss" in entry))
    for name in ("ce_loss", "number_loss"):
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-4)


def test_a_frozen_head_is_refused_before_training(processor: IGLLMProcessor, tmp_path: Path) -> None:
    trainer = make_trainer(processor, tmp_path)
    trainer.model.numeric_head.requires_grad_(False)
    with pytest.raises(RuntimeError, match="numeric head would not learn"):
        trainer.train()


def test_labels_without_numbers_are_refused_before_training(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor)
    batch = dict(tiny.make_batch(processor))
    batch["labels"] = batch["labels"].masked_fill(batch["labels"] == processor.num_token_id, -100)
    with pytest.raises(RuntimeError, match="number loss"):
        check_number_head_learns(model, batch)


def test_the_check_leaves_no_gradient_behind(processor: IGLLMProcessor) -> None:
    model = tiny.make_model(processor)
    check_number_head_learns(model, dict(tiny.make_batch(processor)))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_digit_text_model_trains_without_a_head(tmp_path: Path) -> None:
    processor = tiny.make_processor(numbers="char")
    trainer = make_trainer(processor, tmp_path, number_head="none")
    trainer.train()
    logs = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert "number_loss" not in logs
