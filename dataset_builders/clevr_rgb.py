"""Scenes for the pre-training of towers: CLEVR's, but every object in a random colour that has no name.

No benchmark, and no program: the scene language has words for eight colours alone. A tower that learns from these
scenes has seen any shape in (nearly) any colour, and no colour's name (TRAINING_NOTES, `tower_broad`).
"""

from dataclasses import replace

import numpy as np

from .clevr_sampler import CONDITION_A, CONDITION_B, sample_clevr_scene
from .palette import RGB, named_color, srgb_to_linear
from .random_streams import scene_stream
from .sampled_scene import SampledScene

# Linear RGB: no cube or cylinder comes as near to a colour that CLEVR-CoGenT gives it in condition B alone.
HELD_OUT_RADIUS = 0.1


def sample_clevr_rgb_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: places, sizes, shapes and materials by CLEVR's rules, colours uniformly in sRGB.

    Uniform in sRGB rather than in linear light, where dark colours would be rare. What is within `HELD_OUT_RADIUS` of
    a held-out colour is drawn again.

    Raises:
        KeyError: if (family, split) is no CLEVR split.
    """
    scene = sample_clevr_scene(family, split, seed, index)
    # A stream of their own: the scene's has been used for the places.
    (rng,) = scene_stream(family, split, seed, index, scene.attempt).spawn(1)
    rgbs = (draw_color(rng, held_out_colors(str(item.attributes()["shape"]))) for item in scene.objects)
    return replace(scene, rgbs=tuple(rgbs))


def held_out_colors(shape: str) -> np.ndarray:
    """The colours (n, 3), linear RGB, that a shape has in condition B and not in condition A; n may be 0."""
    names = set(CONDITION_B[shape]) - set(CONDITION_A[shape])
    return np.array([named_color(name) for name in sorted(names)]).reshape(-1, 3)


def draw_color(rng: np.random.Generator, held_out: np.ndarray) -> RGB:
    """Draw a colour, linear RGB; what is near one of `held_out` (n, 3) is drawn again."""
    while True:
        color = srgb_to_linear(rng.uniform(size=3))
        if (np.linalg.norm(held_out - color, axis=1) > HELD_OUT_RADIUS).all():
            red, green, blue = color.tolist()
            return red, green, blue
