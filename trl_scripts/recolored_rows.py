"""CLEVR scenes with every object in another colour: pictures in which a colour says nothing about a shape.

A model that begins untrained and reads CLEVR-CoGenT's condition A takes a colour for a shape, and a shape for a colour
(`clevr_cogent`). Two ways out of what condition A itself holds:

- `with_recolored`: the objects of a built picture get random colours, each shape as `clevr_rgb` draws them: none near
  a colour that only condition B gives it. Such colours have no names. The program of a recoloured row therefore says
  any word of the palette for each object, and training does not ask for it; all else is asked for and true.
- `with_fair_colors`: colours are asked for where every colour occurs alone, of condition A's spheres. Programs say any
  word for the other objects.

`COLOR_SHAPES` is the column by which `SceneCollator` knows what is asked for.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, List, Value, concatenate_datasets
from PIL import Image

from dataset_builders.clevr_rgb import draw_color
from dataset_builders.palette import RGB, named_color, srgb_to_linear
from modeling_igllm import ClevrObject, SceneObject, SceneProgram, format_program, parse_program
from modeling_igllm.vocabulary import SPELLINGS

from .errors import CommandError

# Of 1, red and blue of a gray: below it a body colour and white are told apart by rounding errors alone.
_GRAY = 0.05
_COLORS = tuple(SPELLINGS["color"])
COLOR_SHAPES = "color_shapes"
"""Column: the shapes whose colours are asked for in this row; null for all of them."""

_SHAPES = List(Value("string"))


def with_recolored(rows: Dataset, seed: int) -> Dataset:
    """The rows, and after them a recoloured one of each; the new column `COLOR_SHAPES` is empty in these, else null.

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
    both = concatenate_datasets([rows, recolored]).remove_columns("instance_mask")
    return both.add_column(COLOR_SHAPES, len(rows) * [None] + len(rows) * [[]], feature=_SHAPES)


def with_fair_colors(rows: Dataset, seed: int) -> Dataset:
    """The rows, with colours asked for of those shapes alone that have every colour; recoloured ones as they are.

    Args:
        rows: columns `image` and `program`, and `COLOR_SHAPES` or not.
        seed: of the words that stand for colours that are not asked for.

    Raises:
        CommandError: if every shape lacks a colour, or for a row of another family than CLEVR's.
    """
    if COLOR_SHAPES not in rows.column_names:
        rows = rows.add_column(COLOR_SHAPES, len(rows) * [None], feature=_SHAPES)
    named = (row["program"] for row in rows.select_columns(["program", COLOR_SHAPES]) if row[COLOR_SHAPES] is None)
    shapes = shapes_of_every_color(map(parse_program, named))
    return rows.map(
        lambda row, index: _fair_row(row, shapes, np.random.default_rng([seed, len(rows), index])),
        with_indices=True,
        desc="fair colours",
        load_from_cache_file=False,
    )


def shapes_of_every_color(scenes: Iterable[SceneProgram]) -> list[str]:
    """The shapes that occur in every colour that occurs, sorted. Errors as of `with_fair_colors`."""
    colors: dict[str, set[str]] = {}
    for item in chain.from_iterable(scenes):
        colors.setdefault(_clevr(item).shape, set()).add(_clevr(item).color)
    every = set().union(*colors.values())
    shapes = sorted(shape for shape, found in colors.items() if found == every)
    if not shapes:
        lacking = {shape: sorted(every - found) for shape, found in sorted(colors.items())}
        raise CommandError(f"every shape lacks a colour ({lacking}): train on more scenes, or leave out --fair_colors")
    return shapes


def _fair_row(row: dict[str, Any], shapes: list[str], rng: np.random.Generator) -> dict[str, Any]:
    if row[COLOR_SHAPES] is not None:
        return row
    objects = [item if item.shape in shapes else _any_color(item, rng) for item in map(_clevr, _objects(row))]
    return {**row, "program": format_program(SceneProgram(tuple(objects))), COLOR_SHAPES: shapes}


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
    for number, item in enumerate(map(_clevr, _objects(row)), start=1):
        inside = mask == number
        linear[inside] = recolor_pixels(linear[inside], named_color(item.color), draw_color(rng, item))
        objects.append(_any_color(item, rng))
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


def _objects(row: dict[str, Any]) -> SceneProgram:
    return parse_program(row["program"])


def _clevr(item: SceneObject) -> ClevrObject:
    if not isinstance(item, ClevrObject):
        raise CommandError(
            f"a {type(item).__name__} has no colour and shape of CLEVR's: leave out --recolor and --fair_colors"
        )
    return item


def _any_color(item: ClevrObject, rng: np.random.Generator) -> ClevrObject:
    return replace(item, color=_COLORS[rng.integers(len(_COLORS))])


def _linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """sRGB's transfer function (IEC 61966-2-1), of values in [0, 1]."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)
