"""Colours and shapes among those that go together: what training never shows gets no gradient, all else the usual."""

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
from modeling_igllm.vocabulary import COLORS, SHAPES
from trl_scripts import sft
from trl_scripts.errors import CommandError
from trl_scripts.fair_pairs import NO_PRIOR, PRIOR_ROWS, FairPairs
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
def fair(processor: IGLLMProcessor) -> FairPairs:
    return FairPairs(SCENES, processor.tokenizer, len(processor.tokenizer))


def token(processor: IGLLMProcessor, word: str) -> int:
    return int(processor.tokenizer.convert_tokens_to_ids(word))


def batch_of(processor: IGLLMProcessor, fair: FairPairs | None, **columns: Any) -> dict[str, torch.Tensor]:
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
    return SceneCollator(processor, fair_pairs=fair)(rows)


def test_priors_are_how_often_words_go_together(fair: FairPairs, processor: IGLLMProcessor) -> None:
    names = processor.tokenizer.convert_ids_to_tokens
    found = {
        key: {names(int(place)): round(fair.log_priors[row].exp()[place].item(), 4) for place in places}
        for key, row in fair.rows.items()
        for places in [fair.log_priors[row].isfinite().nonzero().flatten()]
    }
    assert found == {
        ("color", "cube"): {"gray": 0.5, "blue": 0.5},
        ("color", "sphere"): {"red": 0.3333, "gray": 0.3333, "blue": 0.3333},
        ("shape", "blue"): {"cube": 0.5, "sphere": 0.5},
        ("shape", "gray"): {"cube": 0.5, "sphere": 0.5},
        ("shape", "red"): {"sphere": 1.0},
        ("color", None): dict.fromkeys(COLORS, 0.125),
        ("shape", None): dict.fromkeys(SHAPES, 0.3333),
    }


def test_colors_and_shapes_leave_the_labels_with_their_partner(fair: FairPairs, processor: IGLLMProcessor) -> None:
    plain, batch = batch_of(processor, None), batch_of(processor, fair)
    taken = batch[PRIOR_ROWS] != NO_PRIOR
    assert torch.equal(batch["labels"], plain["labels"].masked_fill(taken, IGNORE_INDEX))
    words = processor.tokenizer.convert_ids_to_tokens(plain["labels"][taken].tolist())
    partners = {row: partner for (_, partner), row in fair.rows.items()}
    assert list(zip(words, [partners[row] for row in batch[PRIOR_ROWS][taken].tolist()], strict=True)) == [
        *(("red", "sphere"), ("sphere", "red")),
        *(("gray", "cube"), ("cube", "gray")),
        *(("blue", "cube"), ("cube", "blue")),
        *(("gray", "sphere"), ("sphere", "gray")),
        *(("blue", "sphere"), ("sphere", "blue")),
    ]


def test_where_colors_are_not_asked_for_shapes_are_told_from_all(fair: FairPairs, processor: IGLLMProcessor) -> None:
    batch = batch_of(processor, fair, recolored=[False, True, False])
    assert (batch[PRIOR_ROWS] != NO_PRIOR).sum(1).tolist() == [4, 0, 2]
    colors, shapes = (torch.tensor([token(processor, word) for word in words]) for words in (COLORS, SHAPES))
    assert not torch.isin(batch["labels"], colors).any()
    assert torch.isin(batch["labels"], shapes).sum(1).tolist() == [0, 2, 0]


def test_the_loss_is_the_cross_entropy_among_what_goes_together(processor: IGLLMProcessor) -> None:
    scenes = [*SCENES, parse_program(SPHERE.format("gray"))]  # two of three gray objects are spheres
    fair = FairPairs(scenes, processor.tokenizer, len(processor.tokenizer))
    batch = batch_of(processor, fair)
    ids, rows = batch["input_ids"], batch[PRIOR_ROWS]
    torch.manual_seed(0)
    logits = torch.randn(*ids.shape, fair.log_priors.shape[1], requires_grad=True)
    loss = fair.loss(logits, ids, rows, 10)
    keys = {row: key for key, row in fair.rows.items()}
    expected = torch.tensor(0.0)
    for row, place in (rows != NO_PRIOR).nonzero().tolist():
        attribute, partner = keys[int(rows[row, place])]
        weights = {token(processor, word): weight for word, weight in FREQUENCIES[attribute, partner].items()}
        chances = logits[row, place - 1].exp()
        words = [token(processor, word) for word in {"color": COLORS, "shape": SHAPES}[attribute]]
        is_any = chances[words].sum() / chances.sum()
        this = int(ids[row, place])
        is_this = weights[this] * chances[this] / sum(weight * chances[word] for word, weight in weights.items())
        expected = expected - (is_any * is_this).log()
    torch.testing.assert_close(loss, expected / 10)
    loss.backward()
    assert logits.grad is not None
    for pair, word, end in ((("color", "cube"), "red", "red"), (("shape", "red"), "cube", "cube")):
        gradient = logits.grad[:, :-1][(rows == fair.rows[pair])[:, 1:]]
        assert (gradient[:, token(processor, word)] < 0).all(), f"{end} is no less a {pair[0]} for never going with it"
        assert (gradient[:, processor.tokenizer.eos_token_id] > 0).all(), f"a {pair[0]} comes, not the end"


FREQUENCIES = {
    ("color", "cube"): {"gray": 1, "blue": 1},
    ("color", "sphere"): {"red": 1, "gray": 2, "blue": 1},
    ("shape", "red"): {"sphere": 1},
    ("shape", "gray"): {"cube": 1, "sphere": 2},
    ("shape", "blue"): {"cube": 1, "sphere": 1},
}


def test_a_model_that_has_learned_the_frequencies_says_nothing_of_them(
    fair: FairPairs, processor: IGLLMProcessor
) -> None:
    """The loss is least where all shapes of a colour are even, though it has one of them twice as often."""
    scenes = [*SCENES, parse_program(SPHERE.format("gray"))]
    fair = FairPairs(scenes, processor.tokenizer, len(processor.tokenizer))
    words = [token(processor, word) for word in ("cube", "sphere", "sphere")]
    logits = torch.zeros(fair.log_priors.shape[1], requires_grad=True)
    ids = torch.tensor([[0, word] for word in words])
    rows = torch.tensor([[NO_PRIOR, fair.rows["shape", "gray"]] for _ in words])
    fair.loss(logits.expand(3, 2, -1), ids, rows, 1).backward()
    assert logits.grad is not None
    cube, sphere = (logits.grad[token(processor, word)].item() for word in ("cube", "sphere"))
    assert cube == pytest.approx(sphere, abs=1e-5)


def test_what_is_not_in_the_training_scenes_is_told_from_all(processor: IGLLMProcessor) -> None:
    fair = FairPairs(SCENES[:1], processor.tokenizer, len(processor.tokenizer))  # red spheres, gray cubes
    batch = batch_of(processor, fair)
    partners = {row: partner for (_, partner), row in fair.rows.items()}
    found = [partners[row] for row in batch[PRIOR_ROWS][batch[PRIOR_ROWS] != NO_PRIOR].tolist()]
    assert found == ["sphere", "red", "cube", "gray", *6 * [None]], "a sphere is red and a cube gray, the rest is new"
    alone = FairPairs([], processor.tokenizer, len(processor.tokenizer))
    logits = torch.randn(*batch["input_ids"].shape, fair.log_priors.shape[1])
    for other in (fair, alone):
        batch = batch_of(processor, other)
        assert other.loss(logits, batch["input_ids"], batch[PRIOR_ROWS], 1).isfinite()


@pytest.mark.parametrize(("words", "scene"), [(["red", "gray"], 2), (["blue", "sphere", "cube"], 2)])
def test_a_word_around_the_program_is_named(
    fair: FairPairs, processor: IGLLMProcessor, words: list[str], scene: int
) -> None:
    labels = torch.tensor([[token(processor, word) for word in words]])
    with pytest.raises(CommandError, match=r"2 words of (color|shape)s are learned for 1 objects: the text around"):
        fair.take_out(labels, SCENES[scene:])


def test_without_colors_the_loss_is_zero(fair: FairPairs) -> None:
    logits = torch.zeros(1, 4, fair.log_priors.shape[1], requires_grad=True)
    loss = fair.loss(logits, torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), NO_PRIOR), 3)
    loss.backward()
    assert logits.grad is not None and loss.item() == 0 and not logits.grad.any()


def test_recolored_rows_do_not_say_which_colors_a_shape_has(processor: IGLLMProcessor) -> None:
    programs = [format_program(scene) for scene in SCENES]
    rows = Dataset.from_dict({"program": [*programs, CUBE.format("cyan")], "recolored": [False, False, False, True]})
    model = tiny.make_model(processor)
    fair = sft._fair_pairs(rows, model, processor)
    assert not fair.log_priors[fair.rows["color", "cube"], token(processor, "cyan")].isfinite()
    assert (
        sft._fair_pairs(rows.remove_columns("recolored"), model, processor)
        .log_priors[fair.rows["color", "cube"], token(processor, "cyan")]
        .isfinite()
    )


def test_other_families_are_refused(processor: IGLLMProcessor) -> None:
    with pytest.raises(CommandError, match="a Point2D has no colour and shape of CLEVR's: leave out --fair_pairs"):
        FairPairs([parse_program("add(x=0.5, y=0.5)")], processor.tokenizer, 100)


def test_a_color_of_several_tokens_is_refused() -> None:
    def letters(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    with pytest.raises(CommandError, match="the tokenizer writes 'gray' as 4 tokens: leave out --fair_pairs"):
        FairPairs([SceneProgram(SCENES[2].objects)], letters, 200)  # type: ignore[arg-type]  # as much as is called


def test_the_script_trains_and_logs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    size: dict[str, Any] = {"num_scenes": 2, "resolution": (64, 40), "samples": 1}
    build_family("clevr", tmp_path / "data", splits=("train",), ground_truth=True, workers=1, **size)
    options = {"dataset": str(tmp_path / "data"), "dataset_config": "clevr", "fair_pairs": True, "recolor": True}
    options |= {"num_train_epochs": 1, "max_steps": -1}
    assert run_sft(tmp_path, tower=str(save_tower(tmp_path / "tower")), logging_steps=1, **options) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert any(entry.get("pair_loss", 0) > 0 for entry in history)
    assert json.loads((tmp_path / "out" / "scene_arguments.json").read_text())["fair_pairs"]
