"""The parts of benchmarks/train.py that can be told right or wrong: what is compared, and the sums."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from benchmarks.train import _padding_share, settings
from benchmarks.train_arms import NumberStyle, Setting, answer_tokens, build_processor
from modeling_igllm import format_program

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "ig-llm-tiny-clevr"
# A sphere without and cubes with rotation: 3 and 4 numbers to a line.
PROGRAMS = [format_program(scene) for scene in (tiny.SHORT_SCENE, tiny.LONG_SCENE)]


@pytest.mark.parametrize("setting", settings(CHECKPOINT), ids=lambda setting: setting.name)
def test_digits_take_more_tokens_than_num(setting: Setting) -> None:
    tokens = {style: answer_tokens(setting, style, PROGRAMS) for style in ("token", "char")}
    assert tokens["char"]["per_object"] > tokens["token"]["per_object"] + 10
    images = build_processor(setting, "token").num_image_tokens
    assert tokens["token"]["per_sequence"] > images + 2 * tokens["token"]["per_object"]


@pytest.mark.parametrize("style", ["token", "char"])
def test_tokens_of_objects_and_of_what_is_around_them_make_the_sequence(style: NumberStyle) -> None:
    setting = Setting(CHECKPOINT, "scene", "llama", step_size=8, timed_steps=1)
    processor = build_processor(setting, style)
    inputs = processor.encode_training(None, [tiny.SHORT_SCENE, tiny.LONG_SCENE])
    tokens = answer_tokens(setting, style, PROGRAMS)
    assert tokens["per_sequence"] == pytest.approx(float(inputs["attention_mask"].sum()) / 2)


def test_padding_is_counted_to_the_longest_of_each_batch() -> None:
    assert _padding_share(np.array([4, 2, 3, 3]), 2) == pytest.approx(1 - 12 / 14)
    assert _padding_share(np.array([4, 2, 3, 3, 100]), 2) == pytest.approx(1 - 12 / 14)  # no whole batch
