"""CLEVR scenes with every object in another colour: pictures in which a colour says nothing about a shape.

A model that begins untrained and reads CLEVR-CoGenT's condition A takes a colour for a shape (`clevr_cogent`). Here
the objects of a built picture get random colours, as `clevr_rgb` draws them, but none near a colour that condition B
alone gives to any shape: it would say of a shape which one it is not. Such colours have no names. The program of a
recoloured row therefore says any word of the palette for each object, and training does not ask for it
(`SceneCollator`); all else is asked for and true.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from PIL import Image

from dataset_builders.clevr_rgb import draw_color, held_out_colors
from dataset_builders.palette import RGB, named_color, srgb_to_linear
from modeling_igllm import ClevrObject, SceneProgram, format_program, parse_program
from modeling_igllm.vocabulary import COLORS, SHAPES

from .errors import CommandError

# Of 1, red and blue of a gray: below it a body colour and white are told apart by rounding errors alone.
_GRAY = 0.05
_HELD_OUT = np.concatenate([held_out_colors(shape) for shape in SHAPES])


def with_recolored(rows: Dataset, seed: int) -> Dataset:
    """The rows, and after them a recoloured one of each; the new column `recolored` tells them apart.

    Args:
        rows: columns `image`, `program` and `instance_mask`, which does not come back.
        seed: of the colours; a row's depend on it and on the row's number alone.

    Raises:
        CommandError: for a row without a mask, or of another family than CLEVR's.
    """
    # Not from the cache, whose key knows nothing of the functions that `recolor_row` calls.
    recolored = rows.map(
        lambda row, index: recolor_row(row, np.random.default_rng([seed, index])),
        with_indices=True,
        desc="other colours",
        load_from_cache_file=False,
    )
    marked = [part.add_column("recolored", len(part) * [value]) for part, value in ((rows, False), (recolored, True))]
    return concatenate_datasets(marked).remove_columns("instance_mask")


def recolor_row(row: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The row with its objects in random colours, and random colours' words in its program.

    Raises:
        CommandError: as `with_recolored`.
    """
    if row["instance_mask"] is None:
        raise CommandError(
            "a row without instance mask cannot be recoloured: build with --ground-truth, or leave out --recolor"
        )
    linear = srgb_to_linear(np.asarray(row["image"].convert("RGB")) / 255)
    mask = np.asarray(row["instance_mask"])
    objects = []
    for number, item in enumerate(parse_program(row["program"]), start=1):
        if not isinstance(item, ClevrObject):
            raise CommandError(
                f"a {type(item).__name__} cannot be recoloured, only CLEVR's objects: leave out --recolor"
            )
        inside = mask == number
        linear[inside] = recolor_pixels(linear[inside], named_color(item.color), draw_color(rng, _HELD_OUT))
        objects.append(replace(item, color=COLORS[rng.integers(len(COLORS))]))
    image = Image.fromarray((_linear_to_srgb(linear) * 255).round().astype(np.uint8))
    return {**row, "image": image, "program": format_program(SceneProgram(tuple(objects)))}


def recolor_pixels(pixels: np.ndarray, old: RGB, new: RGB) -> np.ndarray:
    """Pixels (n, 3), linear RGB in [0, 1], of an object painted `old`, as if it were painted `new`.

    Shafer's dichromatic reflection model (1985): a pixel is so much light of the body's colour and so much white, from
    highlights. What fits neither (reflections of other objects) stays. A gray body cannot be told from a highlight:
    all of it counts as the body's.
    """
    basis = np.array([old, (1.0, 1.0, 1.0)]).T
    if max(old) - min(old) < _GRAY:
        basis = basis[:, :1]
    amounts = np.linalg.lstsq(basis, pixels.T, rcond=None)[0]
    body = amounts[:1].clip(min=0).T
    changed: np.ndarray = (pixels + body * (np.array(new) - np.array(old))).clip(0, 1)
    return changed


def _linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """sRGB's transfer function (IEC 61966-2-1), of values in [0, 1]."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
