"""Scenes in colours without names: CLEVR's otherwise, and nothing of condition B is among them."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
from datasets import Dataset

from dataset_builders.camera import Camera
from dataset_builders.clevr_rgb import HELD_OUT_RADIUS, draw_color, held_out_colors, sample_clevr_rgb_scene
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.painters import Picture
from dataset_builders.palette import named_color
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.schema import FEATURES, scene_row
from modeling_igllm import ClevrObject

QUALITY = RenderQuality(width=64, height=48, samples=2, threads=1)


@pytest.fixture(scope="module")
def scenes() -> list[SampledScene]:
    return [sample_clevr_rgb_scene("clevr_rgb", "train", 0, index) for index in range(40)]


def colors_of(scenes: list[SampledScene], shape: str) -> np.ndarray:
    """(n, 3)"""
    return np.array(
        [rgb for scene in scenes for item, rgb in zip(scene.objects, scene.rgbs, strict=True) if item.shape == shape]
    )


def test_same_arguments_give_the_same_colours_and_others_do_not(scenes: list[SampledScene]) -> None:
    assert sample_clevr_rgb_scene("clevr_rgb", "train", 0, 7) == scenes[7]
    drawn = [rgb for scene in scenes for rgb in scene.rgbs]
    assert len(set(drawn)) == len(drawn)
    assert sample_clevr_rgb_scene("clevr_rgb", "train", 1, 7).rgbs != scenes[7].rgbs
    assert sample_clevr_rgb_scene("clevr_rgb", "val_id", 0, 7).rgbs != scenes[7].rgbs


@pytest.mark.parametrize("shape", ["cube", "cylinder", "sphere"])
def test_any_shape_has_any_colour_light_or_dark(scenes: list[SampledScene], shape: str) -> None:
    colors = colors_of(scenes, shape)
    assert len(colors) > 50
    assert colors.min() >= 0 and colors.max() <= 1
    # Uniform in sRGB: a half of it lies below 0.214 of linear light.
    assert (colors < 0.214).mean(axis=0) == pytest.approx(np.full(3, 0.5), abs=0.15)


def test_held_out_colours_are_those_of_condition_b() -> None:
    assert {len(held_out_colors(shape)) for shape in ("cube", "cylinder")} == {4}
    assert named_color("red") in [tuple(color) for color in held_out_colors("cube")]
    assert named_color("gray") in [tuple(color) for color in held_out_colors("cylinder")]
    assert len(held_out_colors("sphere")) == 0


@pytest.mark.parametrize("shape", ["cube", "cylinder"])
def test_nothing_of_condition_b_is_drawn(shape: str) -> None:
    rng = np.random.default_rng(0)
    colors = np.array([draw_color(rng, held_out_colors(shape)) for _ in range(2000)])
    distances = np.linalg.norm(colors[:, None] - held_out_colors(shape), axis=-1)
    assert HELD_OUT_RADIUS < distances.min() < 1.1 * HELD_OUT_RADIUS


def test_a_row_has_true_colours_and_neither_words_for_them_nor_a_program(scenes: list[SampledScene]) -> None:
    row = Dataset.from_list([scene_row(scenes[0], Picture(np.zeros((3, 4, 3), np.uint8)), "")], features=FEATURES)[0]
    assert row["program"] is None
    for found, item, rgb in zip(row["scene"]["objects"], scenes[0].objects, scenes[0].rgbs, strict=True):
        assert found["color"] is None
        assert tuple(found["rgb"]) == rgb
        assert (found["shape"], tuple(found["loc"])) == (item.shape, item.loc)


def test_pictures_show_the_colours_and_leave_nothing_behind(scenes: list[SampledScene]) -> None:
    session = RenderSession(QUALITY)
    ball = ClevrObject("large", "yellow", "rubber", "sphere", (0.0, 0.0, 0.7))
    blue = session.render((ball,), Camera(), CLEVR_LIGHTS, rgbs=((0.1, 0.1, 0.9),))[24, 32].astype(int)
    assert blue[2] > max(blue[0], blue[1]) + 30
    scene = scenes[0]
    first = session.render(scene.objects, scene.camera, scene.lights, rgbs=scene.rgbs)
    materials = len(bpy.data.materials)
    for other in scenes[1:4]:
        session.place(other.objects, other.camera, other.lights, rgbs=other.rgbs)
    assert (session.render(scene.objects, scene.camera, scene.lights, rgbs=scene.rgbs) == first).all()
    assert len(bpy.data.materials) == materials
    plain = replace(scene, rgbs=())
    assert (session.render(plain.objects, plain.camera, plain.lights) != first).any()


def test_colours_for_other_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="0 objects need as many colours, got 1"):
        RenderSession(QUALITY).place((), Camera(), CLEVR_LIGHTS, rgbs=((0.1, 0.1, 0.9),))
