"""What makes training faster leaves its result alone."""

from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from test_scene_trainer import make_rows, make_trainer

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor
from trl_scripts.feature_cache import cache_features
from trl_scripts.scene_collator import SceneCollator, answer_lengths
from trl_scripts.scene_trainer import SceneSFTTrainer, positions_with_labels


def rows_with_lengths(processor: IGLLMProcessor) -> Dataset:
    """Eight rows with the column that grouping by length needs."""
    rows = make_rows()
    return rows.add_column("length", answer_lengths(rows, processor))


def trained_weights(trainer: SceneSFTTrainer) -> dict[str, torch.Tensor]:
    trainer.train()
    return {name: value.detach() for name, value in trainer.model.named_parameters()}


def test_answer_lengths_are_the_tokens_to_learn(processor: IGLLMProcessor) -> None:
    labels = tiny.make_batch(processor)["labels"]
    assert answer_lengths(make_rows(), processor)[:2] == (labels != -100).sum(dim=1).tolist()


def test_micro_batches_by_length_take_the_step_of_one_random_batch(processor: IGLLMProcessor, tmp_path: Path) -> None:
    whole = make_trainer(processor, tmp_path, per_device_train_batch_size=8)
    grouped = make_trainer(
        processor,
        tmp_path,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        train_sampling_strategy="group_by_length",
    )
    grouped.train_dataset = rows_with_lengths(processor)
    expected = trained_weights(whole)
    for name, value in trained_weights(grouped).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-7, msg=name)


def test_micro_batches_hold_scenes_of_one_length(processor: IGLLMProcessor, tmp_path: Path) -> None:
    trainer = make_trainer(
        processor,
        tmp_path,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        train_sampling_strategy="group_by_length",
    )
    trainer.train_dataset = rows_with_lengths(processor)
    batches = list(trainer.get_train_dataloader())
    assert [batch["attention_mask"].all().item() for batch in batches] == [True, True]
    assert batches[0]["input_ids"].shape[1] > batches[1]["input_ids"].shape[1]


@pytest.mark.parametrize("fields", [{}, {"feed_numbers_back": True}, {"number_head": "none"}])
def test_logits_at_the_labels_alone_give_the_same_losses(
    processor: IGLLMProcessor, tmp_path: Path, fields: dict[str, object]
) -> None:
    digits = fields.get("number_head") == "none"
    processor = tiny.make_processor(numbers="char") if digits else processor
    trainer = make_trainer(processor, tmp_path, model_fields=fields)
    batch = dict(tiny.make_batch(processor))
    with torch.no_grad():
        whole = trainer.model.eval()(**batch)
        loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    assert outputs.logits.shape[1] == positions_with_labels(batch["labels"]) < whole.logits.shape[1]
    torch.testing.assert_close(loss, whole.loss)
    torch.testing.assert_close(outputs.ce_loss, whole.ce_loss)
    assert digits or torch.allclose(outputs.number_loss, whole.number_loss)


def test_labels_at_the_very_start_and_none_at_all_keep_every_position() -> None:
    assert positions_with_labels(torch.tensor([[5, -100], [-100, -100]])) == 2
    assert positions_with_labels(torch.full((2, 3), -100)) == 3
    assert positions_with_labels(torch.tensor([[-100, -100, -100, 7]])) == 2


def test_cached_features_and_images_give_the_same_loss(
    processor: IGLLMProcessor, model: IGLLMForSceneProgram, tmp_path: Path
) -> None:
    rows = make_rows().add_column("index", list(range(8)))
    features = cache_features(rows, model, processor, tmp_path)
    with torch.no_grad():
        from_images = model(**SceneCollator(processor)(list(rows)))
        from_features = model(**SceneCollator(processor, features)(list(rows.remove_columns("image"))))
    torch.testing.assert_close(from_features.loss, from_images.loss, rtol=1e-3, atol=1e-3)
