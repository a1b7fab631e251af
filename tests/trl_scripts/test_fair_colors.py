"""Colours among those of a shape: what training never shows gets no gradient, everything else the usual one."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import tiny
import torch
from datasets import Dataset
from test_number_training import run_sft, save_tower

from dataset_builders.build import build_family
from modeling_igllm import IGLLMProcessor, SceneProgram, format_program, parse_program
from modeling_igllm.processing_igllm import IGNORE_INDEX
from modeling_igllm.vocabulary import COLORS
from trl_scripts import sft
from trl_scripts.errors import CommandError
from trl_scripts.fair_colors import COLOR_SHAPES, NO_SHAPE, FairColors
from trl_scripts.scene_collator import SceneCollator

CUBE = "add(size='small', color='{}', material='rubber', shape='cube', loc=(1.000, 2.000, 0.350), rotation=0.400)"
SPHERE = "add(size='large', color='{}', material='metal', shape='sphere', loc=(-2.000, -1.000, 0.700))"
# Cubes are gray or blue, spheres red, gray or blue.
SCENES = [
    parse_program("\n".join(lines))
    for lines in (
        [SPHERE.format("red"), CUBE.format("gray")],
        [CUBE.format("blue"), SPHERE.format("gray")],
        [SPHERE.format("blue")],
    )
]


@pytest.fixture
def fair(processor: IGLLMProcessor) -> FairColors:
    return FairColors(SCENES, processor.tokenizer, len(processor.tokenizer))


def word(processor: IGLLMProcessor, color: str) -> int:
    return int(processor.tokenizer.convert_tokens_to_ids(color))


def batch_of(processor: IGLLMProcessor, fair: FairColors | None, **columns: Any) -> dict[str, torch.Tensor]:
    images = tiny.make_images(len(SCENES))
    rows = [
        {
            "image": image,
            "program": format_program(scene),
            "index": index,
            **{name: value[index] for name, value in columns.items()},
        }
        for index, (image, scene) in enumerate(zip(images, SCENES, strict=True))
    ]
    return SceneCollator(processor, fair_colors=fair)(rows)


def test_each_shape_has_its_own_colors(fair: FairColors, processor: IGLLMProcessor) -> None:
    assert fair.shapes == ["cube", "sphere"]
    found = [{processor.tokenizer.convert_ids_to_tokens(int(i)) for i in row.nonzero()} for row in fair.allowed]
    assert found == [{"gray", "blue"}, {"red", "gray", "blue"}, set(COLORS)]


def test_colors_leave_the_labels_with_the_shape_of_their_object(fair: FairColors, processor: IGLLMProcessor) -> None:
    plain, batch = batch_of(processor, None), batch_of(processor, fair)
    taken = batch[COLOR_SHAPES] != NO_SHAPE
    assert torch.equal(batch["labels"], plain["labels"].masked_fill(taken, IGNORE_INDEX))
    words = processor.tokenizer.convert_ids_to_tokens(plain["labels"][taken].tolist())
    assert list(zip(words, [fair.shapes[i] for i in batch[COLOR_SHAPES][taken]], strict=True)) == [
        ("red", "sphere"),
        ("gray", "cube"),
        ("blue", "cube"),
        ("gray", "sphere"),
        ("blue", "sphere"),
    ]


def test_colors_that_are_not_asked_for_stay_so(fair: FairColors, processor: IGLLMProcessor) -> None:
    batch = batch_of(processor, fair, recolored=[False, True, False])
    assert (batch[COLOR_SHAPES] != NO_SHAPE).sum(1).tolist() == [2, 0, 1]
    colors = torch.tensor([word(processor, color) for color in ("red", "gray", "blue")])
    assert not torch.isin(batch["labels"], colors).any()


def test_the_loss_is_the_cross_entropy_among_a_shape_s_colors(fair: FairColors, processor: IGLLMProcessor) -> None:
    batch = batch_of(processor, fair)
    ids, shapes = batch["input_ids"], batch[COLOR_SHAPES]
    torch.manual_seed(0)
    logits = torch.randn(*ids.shape, fair.allowed.shape[1], requires_grad=True)
    loss = fair.loss(logits, ids, shapes, 10)
    everything, palette = logits.exp(), [word(processor, color) for color in COLORS]
    expected = torch.tensor(0.0)
    for row, place in (shapes != NO_SHAPE).nonzero().tolist():
        colors = ["gray", "blue"] if fair.shapes[shapes[row, place]] == "cube" else ["red", "gray", "blue"]
        chances = everything[row, place - 1]
        is_color = chances[palette].sum() / chances.sum()
        is_right = chances[ids[row, place]] / chances[[word(processor, color) for color in colors]].sum()
        expected = expected - (is_color * is_right).log()
    torch.testing.assert_close(loss, expected / 10)
    loss.backward()
    cube = (shapes == fair.shapes.index("cube"))[:, 1:]
    gradient = logits.grad[:, :-1][cube]
    assert (gradient[:, word(processor, "red")] < 0).all(), "red is no less a colour for never being a cube's"
    assert (gradient[:, processor.tokenizer.eos_token_id] > 0).all(), "a colour comes, not the end"


def test_what_is_not_in_the_training_scenes_is_told_from_all_colors(processor: IGLLMProcessor) -> None:
    fair = FairColors(SCENES[:1], processor.tokenizer, len(processor.tokenizer))  # red spheres, gray cubes
    batch = batch_of(processor, fair)
    shapes = batch[COLOR_SHAPES][batch[COLOR_SHAPES] != NO_SHAPE]
    assert shapes.tolist() == [1, 0, 2, 2, 2], "a sphere is red and a cube gray, the rest is new"
    alone = FairColors([], processor.tokenizer, len(processor.tokenizer))
    assert (batch_of(processor, alone)[COLOR_SHAPES] <= 0).all()
    logits = torch.randn(*batch["input_ids"].shape, fair.allowed.shape[1])
    assert fair.loss(logits, batch["input_ids"], batch[COLOR_SHAPES], 1).isfinite()


def test_a_color_around_the_program_is_named(fair: FairColors, processor: IGLLMProcessor) -> None:
    labels = torch.tensor([[word(processor, "red"), word(processor, "gray")]])
    with pytest.raises(ValueError, match="2 words of colours for 1 objects: is one in answer_prefix"):
        fair.take_out(labels, SCENES[2:])


def test_without_colors_the_loss_is_zero(fair: FairColors) -> None:
    logits = torch.zeros(1, 4, fair.allowed.shape[1], requires_grad=True)
    loss = fair.loss(logits, torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), NO_SHAPE), 3)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_recolored_rows_do_not_say_which_colors_a_shape_has(processor: IGLLMProcessor) -> None:
    programs = [format_program(scene) for scene in SCENES]
    rows = Dataset.from_dict({"program": [*programs, CUBE.format("cyan")], "recolored": [False, False, False, True]})
    model = tiny.make_model(processor)
    fair = sft._fair_colors(rows, model, processor)
    assert not fair.allowed[fair.shapes.index("cube"), word(processor, "cyan")]
    assert sft._fair_colors(rows.remove_columns("recolored"), model, processor).allowed[
        fair.shapes.index("cube"), word(processor, "cyan")
    ]


def test_other_families_are_refused(processor: IGLLMProcessor) -> None:
    with pytest.raises(CommandError, match="a Point2D has no colour and shape of CLEVR's: leave out --fair_colors"):
        FairColors([parse_program("add(x=0.5, y=0.5)")], processor.tokenizer, 100)


def test_a_color_of_several_tokens_is_refused() -> None:
    def letters(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    with pytest.raises(CommandError, match="the tokenizer writes 'gray' as 4 tokens: leave out --fair_colors"):
        FairColors([SceneProgram(SCENES[2].objects)], letters, 200)  # type: ignore[arg-type]  # as much as is called


def test_the_script_trains_and_logs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    size: dict[str, Any] = {"num_scenes": 2, "resolution": (64, 40), "samples": 1}
    build_family("clevr", tmp_path / "data", splits=("train",), ground_truth=True, workers=1, **size)
    options = {"dataset": str(tmp_path / "data"), "dataset_config": "clevr", "fair_colors": True, "recolor": True}
    options |= {"num_train_epochs": 1, "max_steps": -1}
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), logging_steps=1, **options) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert any(entry.get("color_loss", 0) > 0 for entry in history)
    assert json.loads((tmp_path / "out" / "scene_arguments.json").read_text())["fair_colors"]
