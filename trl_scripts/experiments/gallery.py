"""Pictures of truth, rendered prediction and error: what an experiment's scores look like."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from ..errors import NO_BLENDER, CommandError
from .plots import DPI, first_seed
from .results import Results
from .scoring import parse_or_empty

_SAMPLES = 16
_INCHES = 1.6  # width of one picture


def draw_galleries(results: Results, images: dict[str, list[Image.Image]], folder: Path) -> dict[str, str]:
    """Draw a gallery of each split in the recipe; returns caption -> file name in `folder`.

    It shows as many scenes as all of its runs have kept: the recipe may have asked for fewer when they were made.

    Args:
        images: split -> its first pictures, as many as the recipe says.

    Raises:
        CommandError: if Blender is needed and not installed, or a scene cannot be rendered.
    """
    drawn = {}
    for split, pictures in images.items():
        shown = min(len(pictures), *(len(run["splits"][split]["gallery"]) for run in first_seed(results)))
        if not shown:
            continue
        name = f"{results['experiment']}_gallery_{split}.png"
        rows = _rows(results, split, [np.asarray(picture.convert("RGB")) for picture in pictures[:shown]])
        _save(rows, folder / name)
        drawn[_caption(split, results)] = name
    return drawn


def _rows(results: Results, split: str, pictures: list[np.ndarray]) -> dict[str, Sequence[np.ndarray]]:
    """Title -> pictures of every row of a gallery."""
    runs, family = first_seed(results), results["recipe"]["data"]["family"]
    rows: dict[str, Sequence[np.ndarray]] = {"truth": pictures}
    size = (pictures[0].shape[1], pictures[0].shape[0])
    shown = len(pictures)
    true = [paint(scene["true"], family, size) for scene in runs[0]["splits"][split]["gallery"][:shown]]
    for run in runs:
        guesses = [paint(scene["predicted"], family, size) for scene in run["splits"][split]["gallery"][:shown]]
        rows[run["group"]] = guesses
        rows[f"error of\n{run['group']}"] = [_difference(*pair) for pair in zip(guesses, true, strict=True)]
    return rows


def _save(rows: dict[str, Sequence[np.ndarray]], path: Path) -> None:
    columns = len(next(iter(rows.values())))
    height, width = next(iter(rows.values()))[0].shape[:2]
    size = (_INCHES * columns + 0.7, _INCHES * len(rows) * height / width + 0.1)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for line, (title, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(title, fontsize=7, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _caption(split: str, results: Results) -> str:
    caption = f"`{split}`: the picture, then each arm's prediction, rendered, and its error, the absolute difference"
    if results["recipe"]["data"]["family"] == "two_d":
        return f"{caption} (black: none)."
    return (
        f"{caption} (black: none) to the true program, rendered in the same way: a program names no camera and no "
        "lamps, both get the family's usual ones."
    )


def _difference(guess: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.abs(guess.astype(int) - truth.astype(int)).astype(np.uint8)


def paint(program: str, family: str, size: tuple[int, int]) -> np.ndarray:
    """The picture (height, width, 3) of a program; of an empty scene for a text that is none.

    Args:
        family: of the data; CLEVR-CoGenT looks as CLEVR does.
        size: (width, height) in pixels.

    Raises:
        CommandError: if Blender is needed and not installed, or the scene cannot be rendered.
    """
    scene = parse_or_empty(program)
    if family == "two_d":
        from dataset_builders.two_d import draw_scene

        return draw_scene(scene, *size)
    try:
        from dataset_builders.render_program import render_program

        return render_program(scene, size, _SAMPLES, "clevr" if family == "clevr_cogent" else family)
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"cannot render {program!r}: {error}") from error
