"""Canonical text and its augmentation (SCENE_PROGRAM)."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_scenes import (
    CLEVR_TEXT,
    CUBE,
    POINT,
    POINT_TEXT,
    POSED,
    POSED_TEXT,
    SPHERE,
    representation_of,
    scenes,
)

from modeling_igllm import Point2D, SceneProgram, format_program, parse_program

CLEVR = SceneProgram((SPHERE, CUBE))


def test_canonical_text_of_every_kind() -> None:
    assert format_program(CLEVR) == CLEVR_TEXT
    assert format_program(SceneProgram((POINT,))) == POINT_TEXT
    assert format_program(SceneProgram((POSED,))) == POSED_TEXT
    assert format_program(SceneProgram(())) == ""


def test_format_keeps_the_order_it_is_given() -> None:
    first, second = CLEVR_TEXT.splitlines(keepends=True)
    assert format_program(SceneProgram((CUBE, SPHERE))) == second + first


def test_char_numbers_have_a_sign_in_3d_and_none_in_2d() -> None:
    lines = format_program(CLEVR, numbers="char").splitlines()
    assert lines[0].endswith("loc=(+1.234, -0.567, +0.350))")
    assert lines[1].endswith("loc=(-2.010, +0.125, +0.700), rotation=+0.412)")
    assert "rotation=(+0.360, +0.480, -0.800" in format_program(SceneProgram((POSED,)), numbers="char")
    assert format_program(SceneProgram((POINT,)), numbers="char") == POINT_TEXT


@pytest.mark.parametrize(("numbers", "zero"), [("text", "0.000"), ("char", "+0.000")])
def test_a_zero_never_has_a_minus(numbers: str, zero: str) -> None:
    sphere = dataclasses.replace(SPHERE, loc=(-0.0, -0.0004, -0.0005))
    text = format_program(SceneProgram((sphere,)), numbers=numbers)
    # -0.0005 as a float lies just beyond the half: it rounds away from zero
    assert text.endswith(f"loc=({zero}, {zero}, -0.001))\n")
    assert format_program(SceneProgram((Point2D(-0.0001, 0.0),)), numbers=numbers) == "add(x=0.000, y=0.000)\n"


def test_token_numbers_are_one_token_each() -> None:
    text = format_program(CLEVR, numbers="token")
    assert text.splitlines()[1].endswith("loc=([NUM], [NUM], [NUM]), rotation=[NUM])")
    assert not re.search("[0-9]", text)


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_token_text_and_its_numbers_give_the_exact_scene(scene: SceneProgram) -> None:
    text = format_program(scene, numbers="token")
    assert parse_program(text, rotation=representation_of(scene), numbers=scene.numbers) == scene


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["text", "char"]), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_augmented_text_reads_as_the_same_scene(
    scene: SceneProgram, numbers: str, shuffle: bool, synonyms: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    text = format_program(scene, numbers=numbers, rng=rng, shuffle_attributes=shuffle, sample_synonyms=synonyms)
    assert parse_program(text, rotation=representation_of(scene)) == scene.rounded(3)


def test_synonyms_cover_every_spelling_and_only_words_change() -> None:
    rng = np.random.default_rng(0)
    texts = [format_program(CLEVR, rng=rng, sample_synonyms=True) for _ in range(100)]
    spellings = {word for text in texts for word in re.findall("'([^']+)'", text)}
    sizes_and_colors = {"small", "tiny", "large", "big", "red", "gray"}
    assert spellings == sizes_and_colors | {"metal", "metallic", "shiny", "rubber", "matte"} | {
        "sphere",
        "ball",
        "cube",
        "block",
    }
    assert {re.sub("'[^']+'", "''", text) for text in texts} == {re.sub("'[^']+'", "''", CLEVR_TEXT)}


def test_shuffling_reaches_every_order_and_moves_the_number_tokens() -> None:
    rng = np.random.default_rng(0)
    texts = {format_program(SceneProgram((POINT,)), rng=rng, shuffle_attributes=True) for _ in range(50)}
    assert texts == {POINT_TEXT, "add(y=0.456, x=0.123)\n"}
    orders = {
        tuple(re.findall("[a-z]+(?==)", format_program(SceneProgram((CUBE,)), rng=rng, shuffle_attributes=True)))
        for _ in range(50)
    }
    assert len(orders) > 30 and all(sorted(order) == sorted(CUBE.attributes()) for order in orders)


def test_mesh_categories_have_no_synonyms() -> None:
    scene = SceneProgram((dataclasses.replace(POSED, shape="sphere"),))
    rng = np.random.default_rng(0)
    assert {format_program(scene, rng=rng, sample_synonyms=True) for _ in range(20)} == {format_program(scene)}


def test_the_same_seed_gives_the_same_text() -> None:
    texts = [
        format_program(CLEVR, rng=np.random.default_rng(7), shuffle_attributes=True, sample_synonyms=True)
        for _ in range(2)
    ]
    assert texts[0] == texts[1] != CLEVR_TEXT


def test_without_flags_an_rng_changes_nothing() -> None:
    assert format_program(CLEVR, rng=np.random.default_rng(0)) == CLEVR_TEXT


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="'digits'"):
        format_program(CLEVR, numbers="digits")
    with pytest.raises(ValueError, match="rng"):
        format_program(CLEVR, shuffle_attributes=True)
    with pytest.raises(ValueError, match="rng"):
        format_program(CLEVR, sample_synonyms=True)
