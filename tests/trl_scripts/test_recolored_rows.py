"""Scenes in other colours: the picture is that of other paint, and no label names a colour that has no name."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from PIL import Image
from test_number_training import run_sft, save_tower

from dataset_builders.build import build_family
from dataset_builders.clevr_rgb import HELD_OUT_RADIUS, draw_color, held_out_colors
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.painters import PaintRequest, make_clevr_painter
from dataset_builders.palette import COLOR_VALUES, named_color, srgb_to_linear
from modeling_igllm import IGLLMProcessor, SceneProgram, format_program, parse_program
from modeling_igllm.processing_igllm import IGNORE_INDEX
from modeling_igllm.terminals import Terminal, encode_terminal
from modeling_igllm.vocabulary import SPELLINGS
from trl_scripts import recolored_rows
from trl_scripts.errors import CommandError
from trl_scripts.recolored_rows import recolor_pixels, recolor_row, with_recolored
from trl_scripts.scene_collator import SceneCollator

CLEVR = "\n".join(
    [
        "add(size='large', color='red', material='metal', shape='sphere', loc=(-2.000, -1.000, 0.700))",
        "add(size='small', color='gray', material='rubber', shape='cube', loc=(1.000, 2.000, 0.350), rotation=0.400)",
    ]
)


def flat_row(**changes: Any) -> dict[str, Any]:
    """Two objects as two flat patches, on black."""
    picture, mask = np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9), np.uint8)
    for number, color in ((1, "red"), (2, "gray")):
        mask[1:5, 4 * number - 3 : 4 * number] = number
        picture[mask == number] = COLOR_VALUES[color]
    row = {"image": Image.fromarray(picture), "program": CLEVR, "instance_mask": Image.fromarray(mask)}
    return row | changes


def colors_of(program: str) -> list[str]:
    return [str(item.attributes()["color"]) for item in parse_program(program)]


@pytest.mark.parametrize("name", ["red", "yellow", "cyan"])
def test_the_paint_changes_and_highlights_stay_white(name: str) -> None:
    old, new = named_color(name), (0.1, 0.3, 0.5)
    light, highlight = np.array([[0.2], [0.5], [1.0]]), np.array([[0.0], [0.3], [0.0]])
    recolored = recolor_pixels(light * old + highlight, old, new)
    np.testing.assert_allclose(recolored, light * new + highlight, atol=1e-9)


def test_all_light_of_a_gray_object_is_taken_for_that_of_its_paint() -> None:
    light = np.array([[0.2], [1.0], [1.5]])
    recolored = recolor_pixels(light * named_color("gray"), named_color("gray"), (0.4, 0.1, 0.0))
    np.testing.assert_allclose(recolored, light * (0.4, 0.1, 0.0), atol=1e-9)


def test_no_pixel_leaves_the_range_of_a_picture() -> None:
    pixels = np.random.default_rng(0).random((200, 3))
    recolored = recolor_pixels(pixels, named_color("blue"), (1.0, 1.0, 0.0))
    assert recolored.min() >= 0 and recolored.max() <= 1


def test_a_recolored_picture_is_nearly_that_of_a_scene_painted_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = sample_clevr_scene("clevr_cogent", "train", 0, 0)
    rng = np.random.default_rng(0)
    rgbs = tuple(draw_color(rng, held_out_colors("cube")) for _ in scene.objects)
    paint = make_clevr_painter(PaintRequest(96, 72, samples=16, ground_truth=True)).paint
    before, expected = paint(scene), paint(replace(scene, rgbs=rgbs)).pixels
    assert before.instance_mask is not None
    images = {
        "image": Image.fromarray(before.pixels),
        "instance_mask": Image.fromarray(before.instance_mask),
    }
    draws = iter(rgbs)
    monkeypatch.setattr(recolored_rows, "draw_color", lambda *_: next(draws))
    row = recolor_row({**images, "program": format_program(SceneProgram(scene.objects))}, rng)
    inside = before.instance_mask > 0
    changed, left = (
        np.abs(np.asarray(picture, float) - expected)[inside].mean() for picture in (row["image"], before.pixels)
    )
    assert inside.any() and changed < 0.25 * left, (changed, left)


def test_only_colors_change() -> None:
    row = flat_row()
    recolored = recolor_row(row, np.random.default_rng(0))
    is_background = np.asarray(row["instance_mask"]) == 0
    before, after = np.asarray(row["image"]), np.asarray(recolored["image"])
    assert np.array_equal(before[is_background], after[is_background])
    assert (before[~is_background] != after[~is_background]).any(axis=-1).all()
    for item, other in zip(parse_program(row["program"]), parse_program(recolored["program"]), strict=True):
        assert replace(other, color=item.attributes()["color"]) == item


def test_new_colors_are_none_that_condition_b_alone_gives_any_shape() -> None:
    center = (2, 6)  # of the gray cube
    held_out = np.array([named_color(name) for name in COLOR_VALUES])  # by cubes the one half, by cylinders the other
    for seed in range(1000):  # a few of a hundred colours come near one
        pixel = np.asarray(recolor_row(flat_row(), np.random.default_rng(seed))["image"])[center]
        # The patch is as bright as paint in full light, in sRGB; rounding to 8 bits takes some of the distance.
        paint = srgb_to_linear(pixel / 255) / srgb_to_linear(87 / 255) * (87 / 255)
        assert (np.linalg.norm(held_out - paint, axis=1) > 0.9 * HELD_OUT_RADIUS).all()


def test_new_colors_say_nothing_of_the_shape() -> None:
    drawn = {}
    for shape, yaw in (("cube", ", rotation=0.400"), ("cylinder", ""), ("sphere", "")):
        program = (
            f"add(size='small', color='gray', material='rubber', shape='{shape}', loc=(1.000, 2.000, 0.350){yaw})"
        )
        row = flat_row(program=program)
        drawn[shape] = [
            np.asarray(recolor_row(row, np.random.default_rng(seed))["image"]).tobytes() for seed in range(50)
        ]
    assert drawn["cube"] == drawn["cylinder"] == drawn["sphere"]


def test_the_words_of_a_program_say_nothing_of_the_colors() -> None:
    words = [colors_of(recolor_row(flat_row(), np.random.default_rng(seed))["program"]) for seed in range(400)]
    for place in zip(*words, strict=True):
        counts = [place.count(color) for color in COLOR_VALUES]
        assert min(counts) > 25, counts  # 50 are expected of each, whatever the color was


def test_a_rows_colors_depend_on_the_seed_and_its_number_alone() -> None:
    rows = Dataset.from_list([flat_row(), flat_row()])
    first, again, other = with_recolored(rows, 0), with_recolored(rows, 0), with_recolored(rows, 1)
    pixels = [[np.asarray(row["image"]).tobytes() for row in part] for part in (first, again, other)]
    assert pixels[0] == pixels[1] and first["program"] == again["program"]
    assert pixels[0][2] != pixels[0][3], "two rows got the same colours"
    assert set(pixels[0][2:]).isdisjoint(pixels[2][2:])
    assert first["recolored"] == [False, False, True, True] and first["program"][:2] == [CLEVR, CLEVR]
    assert with_recolored(rows.select([0]), 0)[1]["program"] == first[2]["program"]


def test_what_cannot_be_recolored_is_refused() -> None:
    with pytest.raises(CommandError, match="--ground-truth, or leave out --recolor"):
        recolor_row(flat_row(instance_mask=None), np.random.default_rng(0))
    with pytest.raises(CommandError, match="a Point2D cannot be recoloured"):
        recolor_row(flat_row(program="add(x=0.5, y=0.5)"), np.random.default_rng(0))


@pytest.mark.parametrize("augmentation", [{}, {"shuffle_attributes": True, "sample_synonyms": True}])
def test_colors_without_names_are_no_labels(processor: IGLLMProcessor, augmentation: dict[str, bool]) -> None:
    image = tiny.make_images(1)[0]
    rows = [
        {"image": image, "program": CLEVR, "index": 0, "recolored": recolored} for recolored in (False, True, False)
    ]
    batch = SceneCollator(processor, **augmentation)(rows)
    labels, ids = batch["labels"], batch["input_ids"]
    is_answer = batch["attention_mask"].bool()
    is_answer[:, : len(processor.encode_prompt_text())] = False
    assert torch.equal(labels[[0, 2]] == IGNORE_INDEX, ~is_answer[[0, 2]])
    dropped = ids[1, is_answer[1] & (labels[1] == IGNORE_INDEX)].tolist()
    spellings = [SPELLINGS["color"][color] for color in ("red", "gray")]
    expected = [
        [token for word in words for token in encode_terminal(Terminal("word", word), processor.tokenizer)]
        for words in itertools.product(*spellings)
    ]
    assert dropped in (expected if augmentation else expected[:1])
    assert torch.equal(batch["number_labels"][1].isnan(), ids[1] != processor.num_token_id)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets takes folders of one name for the same."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("own_cache")
def test_the_script_trains_on_recolored_and_mirrored_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"dataset": str(tmp_path / "masks"), "dataset_config": "clevr", "num_train_epochs": 1, "max_steps": -1}
    for out, masks in (("plain", False), ("masks", True)):
        size = {"num_scenes": 2, "resolution": (64, 40), "samples": 1}
        build_family("clevr", tmp_path / out, splits=("train",), ground_truth=masks, workers=1, **size)
    switches = {"recolor": True, "mirror": True, "feature_cache": str(tmp_path / "features"), **data}
    tower = str(save_tower(tmp_path / "tower"))
    assert run_sft(tmp_path, tower=tower, **switches) == 0
    used = json.loads((tmp_path / "out" / "scene_arguments.json").read_text())
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert used["train_scenes"] == 2 and used["recolor"]
    assert state["global_step"] * state["train_batch_size"] == 4 * used["train_scenes"]
    assert run_sft(tmp_path, tower=tower, **switches | {"dataset": str(tmp_path / "plain")}) == 2
    assert "build with --ground-truth" in capsys.readouterr().err.splitlines()[-1]
