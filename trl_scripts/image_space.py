"""Image space: how like the picture of a predicted program is to the picture of the true one (spec METRICS).

A program says nothing of camera and lamps, so both pictures get those of the family, and nothing but the programs
differs. Only rendering needs bpy; points are drawn without it.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import prewitt
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure, StructuralSimilarityIndexMeasure
from tqdm import tqdm

from modeling_igllm import Point2D, SceneProgram

from .errors import NO_BLENDER, CommandError, check_blender

SAMPLES = 16
"""Cycles samples per pixel, before denoising."""

MS_SSIM_SIDE = 176
"""Fewest pixels of a side for MS-SSIM, which halves it four times and then looks through a window of 11 pixels."""

GMSD_CONSTANT = 170.0
"""c of Xue et al., Gradient Magnitude Similarity Deviation (2014), for luminances up to 255."""

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601), as Xue et al. take them."""


def image_space_scores(
    predictions: Sequence[SceneProgram | None],
    references: Sequence[SceneProgram],
    resolution: tuple[int, int],
    meshes: Path | None = None,
) -> dict[str, float]:
    """Render every predicted and true scene and compare the pictures.

    Args:
        predictions: one scene each; None (an answer that is no program) and a scene of another kind of objects are
            empty scenes, as for the metric.
        references: as many true scenes, none of them empty.
        resolution: (width, height) in pixels.
        meshes: folder that holds all shapes (`MeshFolder`); the project's own shapes when None.

    Returns:
        `image/psnr` in dB, of the mean squared error over all pixels of all pictures (a mean of PSNRs would be
        infinite with one equal pair), infinite if all are equal; `image/ssim`, `image/ms_ssim` and `image/gmsd`,
        means over pictures of the scores of `compare_pictures`.

    Raises:
        CommandError: if bpy is not installed, or a scene cannot be rendered; the message says which.
    """
    pairs = zip(predictions, references, strict=True)
    compared: list[dict[str, float]] = []
    for index, (predicted, true) in enumerate(tqdm(pairs, desc="render", unit="scene", total=len(references))):
        if predicted is None or not all(isinstance(item, type(true.objects[0])) for item in predicted):
            predicted = SceneProgram(())
        try:
            pictures = _render_pair(predicted, true, resolution, meshes)
        except ImportError as error:
            raise CommandError(f"{error}; {NO_BLENDER}") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise CommandError(f"cannot render scene {index}: {error}") from error
        compared.append(compare_pictures(*pictures))
    means = {name: float(np.mean([scores[name] for scores in compared])) for name in compared[0]}
    squared_error = means.pop("mse")
    psnr = 10 * math.log10(255**2 / squared_error) if squared_error else math.inf
    return {"image/psnr": psnr} | {f"image/{name}": value for name, value in means.items()}


def check_scenes_can_be_drawn(references: Sequence[SceneProgram], meshes: Path | None = None) -> None:
    """See that nothing of the true scenes keeps `image_space_scores` from its work: before a model reads the pictures.

    Raises:
        CommandError: if a scene is empty, bpy is needed and not installed, or a shape is not there.
    """
    for index, true in enumerate(references):
        if not true.objects:
            raise CommandError(
                f"scene {index} has no objects, by which its camera and lamps would be chosen: leave out --image-space"
            )
    if not all(isinstance(true.objects[0], Point2D) for true in references):
        check_blender("leave out --image-space")
        from dataset_builders.render_program import check_shapes

        try:
            check_shapes(references, meshes)
        except ValueError as error:
            raise CommandError(f"{error}, or leave out --image-space") from error


def compare_pictures(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Compare two pictures, (height, width, 3) uint8.

    Returns:
        `mse` in squared grey levels, 0 for equal pictures; `ssim` and `ms_ssim`, 1 for equal ones, the latter NaN
        where a side has fewer than `MS_SSIM_SIDE` pixels; `gmsd`, 0 for equal ones.

    Raises:
        ValueError: if the shapes differ or are not those of pictures.
    """
    if predicted.shape != true.shape or true.ndim != 3 or true.shape[2] != 3:
        raise ValueError(f"expected two (height, width, 3) pictures of one size, got {predicted.shape}, {true.shape}")
    # float64: in float32 variances that are differences of squares make SSIM of equal white pictures 0.999
    first, second = (torch.from_numpy(picture.astype(np.float64)).permute(2, 0, 1) for picture in (predicted, true))
    ssim = StructuralSimilarityIndexMeasure(data_range=255.0)
    ms_ssim = MultiScaleStructuralSimilarityIndexMeasure(data_range=255.0)
    large = min(true.shape[:2]) >= MS_SSIM_SIDE
    return {
        "mse": float((first - second).square().mean()),
        "ssim": float(ssim(first[None], second[None])),
        "ms_ssim": float(ms_ssim(first[None], second[None])) if large else math.nan,
        "gmsd": gmsd(predicted, true),
    }


def gmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Gradient magnitude similarity deviation of two pictures (Xue et al. 2014), 0 for equal ones.

    Here and not from a library: those that have it need torchvision, which fits few builds of torch.

    Args:
        first, second: (height, width, 3) uint8; an odd last row or column is not looked at.
    """
    gradients = [_gradient_magnitude(picture) for picture in (first, second)]
    similarity = (2 * gradients[0] * gradients[1] + GMSD_CONSTANT) / (
        gradients[0] ** 2 + gradients[1] ** 2 + GMSD_CONSTANT
    )
    return float(similarity.std())


def _gradient_magnitude(picture: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 -> (height // 2, width // 2): Prewitt's, of luminance averaged over 2 x 2 pixels."""
    height, width = (side // 2 for side in picture.shape[:2])
    luminance = picture[: 2 * height, : 2 * width] @ LUMINANCE
    halved = luminance.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return np.hypot(prewitt(halved, 0, mode="constant"), prewitt(halved, 1, mode="constant")) / 3


def _render_pair(
    predicted: SceneProgram, true: SceneProgram, resolution: tuple[int, int], meshes: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures as the family of the true scene shows them."""
    if isinstance(true.objects[0], Point2D):
        from dataset_builders.two_d import draw_scene

        return draw_scene(predicted, *resolution), draw_scene(true, *resolution)
    from dataset_builders.render_program import render_program, usual_family

    family = usual_family(true)
    first, second = (render_program(scene, resolution, SAMPLES, family, meshes) for scene in (predicted, true))
    return first, second
