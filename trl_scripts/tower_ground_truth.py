"""What is seen in every cell of the tower's map: silhouettes, depth, and to which object a cell belongs.

For rows of a build with `--ground-truth`. Values are read off the renderer's maps at points, never resized.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from modeling_igllm.configuration_igllm import CELL_STRIDE, SceneTowerConfig
from modeling_igllm.image_processing_igllm import padding_to_aspect_ratio

from .tower_targets import SUBCELLS, TowerObject, cell_middles


def surface_targets(
    instance_mask: np.ndarray, depth: np.ndarray, objects: Sequence[TowerObject], config: SceneTowerConfig
) -> dict[str, torch.Tensor]:
    """Dense targets of one image on the stride-8 map (H, W), NaN where they are not asked.

    Args:
        instance_mask: (rows, columns) of the rendered picture, 0 background, i + 1 `objects[i]`.
        depth: (rows, columns) metres along the optical axis, inf where there is nothing.

    Returns:
        `silhouette` (16, H, W): 1 where a point of the cell (4 x 4, row by row) shows an object, 0 where it does not.
        `depth` (16, H, W): natural logarithm of the metres at those points, NaN where there is nothing.
        `to_center` (2, H, W): from the cell's middle to the centre of the object seen there, in cells.
    """
    height, width = config.feature_size
    points = (torch.arange(SUBCELLS * max(height, width)) + 0.5) * (CELL_STRIDE / SUBCELLS)
    fine_x, fine_y = points[: SUBCELLS * width], points[: SUBCELLS * height]
    mask = _at_points(instance_mask.astype(np.float32), fine_x, fine_y, config)
    metres = _at_points(depth.astype(np.float32), fine_x, fine_y, config)
    distance = torch.where(metres.isinf(), torch.nan, metres.log())
    silhouette = torch.where(mask.isnan(), torch.nan, (mask > 0).float())
    middles_x, middles_y = ((torch.arange(count) + 0.5) * CELL_STRIDE for count in (width, height))
    owner = _at_points(instance_mask.astype(np.float32), middles_x, middles_y, config)
    return {
        "silhouette": F.pixel_unshuffle(silhouette[None], SUBCELLS),
        "depth": F.pixel_unshuffle(distance[None], SUBCELLS),
        "to_center": _to_center(owner.nan_to_num(0).long(), objects),
    }


def _at_points(
    values: np.ndarray, columns: torch.Tensor, rows: torch.Tensor, config: SceneTowerConfig
) -> torch.Tensor:
    """Values (h, w) of the rendered picture at points given in pixels of the tower's input, NaN beside the picture.

    The image processor pads the picture to the tower's aspect ratio and scales it; the tower itself pads on the right
    and at the bottom.
    """
    rows_shown, columns_shown = values.shape
    height, width = config.image_size
    padded_height, padded_width, top, left = padding_to_aspect_ratio(rows_shown, columns_shown, height, width)
    x = (columns * padded_width / width - left).floor().long()
    y = (rows * padded_height / height - top).floor().long()
    picture = torch.from_numpy(values)
    shown = ((y >= 0) & (y < rows_shown))[:, None] & ((x >= 0) & (x < columns_shown))
    found = picture[y.clamp(0, rows_shown - 1)][:, x.clamp(0, columns_shown - 1)]
    return torch.where(shown, found, torch.nan)


def _to_center(owner: torch.Tensor, objects: Sequence[TowerObject]) -> torch.Tensor:
    """(2, H, W); `owner` (H, W) is 0 or the number of an object, counted from 1."""
    centers = torch.tensor([(float("nan"),) * 2, *(item.center for item in objects)]) / CELL_STRIDE
    return centers[owner].permute(2, 0, 1) - cell_middles(*owner.shape)
