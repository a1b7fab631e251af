"""Targets of the scene tower: objects with pixel coordinates become dense maps (CenterNet, arXiv 1904.07850).

Families know different things of their objects. Maps exist only of what an image's objects have: `ignored_target` is
what stands in a batch for a map that an image has not, and it contributes nothing to any loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modeling_igllm import COLORS, MATERIALS, SIZES
from modeling_igllm.configuration_igllm import CELL_STRIDE, SceneTowerConfig

IGNORED_CLASS = -100
# Standard deviation in cells of the Gaussian around a centre.
HEATMAP_SIGMA = 1.0
WORDS = {"size": SIZES, "color": COLORS, "material": MATERIALS}
CLASSES = (*WORDS, "shape")
"""Targets that are class indices. The shapes are those of the training scenes (`TowerPreTrainingConfig`)."""
SUBCELLS = 4
"""Silhouette and depth have so many values along each side of a cell: one every two pixels."""
OBJECT_VALUES = {"rgb": 3, "position": 3, "yaw": 2, "rotation": 6, "offset": 2}
"""Targets that are numbers of an object -> how many. Asked for around its centre."""
SURFACE_VALUES = {"silhouette": SUBCELLS**2, "depth": SUBCELLS**2, "to_center": 2}
"""Targets that are numbers of what is seen in a cell (`trl_scripts.tower_ground_truth`) -> how many."""
VALUES = OBJECT_VALUES | SURFACE_VALUES


@dataclass(frozen=True)
class TowerObject:
    """What the renderer knows about one object. None means not to be learned.

    Attributes:
        center: projected centre (x right, y down) in pixels of the tower's input, not of the rendered image.
        size, color, material: canonical words.
        shape: one of the tower's shapes.
        rgb: linear shader colour in [0, 1].
        position: world x, y, z in metres.
        yaw: radians, of cubes; learned modulo pi/2.
        rotation: the first two rows of the matrix that turns the object into the world, one after another.
    """

    center: tuple[float, float]
    size: str | None = None
    color: str | None = None
    material: str | None = None
    shape: str | None = None
    rgb: tuple[float, float, float] | None = None
    position: tuple[float, float, float] | None = None
    yaw: float | None = None
    rotation: tuple[float, ...] | None = None


def object_targets(
    objects: Sequence[TowerObject], config: SceneTowerConfig, shapes: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Dense targets of one image, on the stride-8 map (H, W) of `config.feature_size`.

    Attributes are asked for in the 3 x 3 cells around a centre; a cell that lies near two centres answers for the
    nearer one. Objects whose centre is outside the map have no targets.

    Args:
        shapes: the shapes that the tower tells apart.

    Returns:
        `heatmap` (H, W) in [0, 1], exactly 1 at the centre cells; and those of the others that an object of the image
        has: `size`, `color`, `material`, `shape` (H, W) int16, class indices, -100 where not asked; `rgb` (3, H, W),
        `position` (3, H, W) in metres, `yaw` (2, H, W) as sine and cosine of four times the angle, `rotation`
        (6, H, W), `offset` (2, H, W) from the cell's middle to the centre in cells, all NaN where not asked.

    Raises:
        ValueError: for a word that is not in the vocabulary, or another shape.
    """
    height, width = config.feature_size
    cells = torch.tensor([item.center for item in objects]).reshape(-1, 2) / CELL_STRIDE
    inside = is_inside(cells, height, width)
    objects = [item for item, kept in zip(objects, inside.tolist(), strict=True) if kept]
    cells = cells[inside]
    targets = {"heatmap": _heatmap(cells, height, width)}
    if not objects:
        return targets
    owner, asked = _nearest_center(cells, height, width)
    for name in CLASSES:
        words = shapes if name == "shape" else WORDS[name]
        classes = torch.tensor([_class_index(words, getattr(item, name), name) for item in objects], dtype=torch.int16)
        if (classes != IGNORED_CLASS).any():
            targets[name] = torch.where(asked, classes[owner], IGNORED_CLASS)
    for name, size in OBJECT_VALUES.items():
        if name != "offset":
            values = torch.tensor([_object_values(item, name, size) for item in objects])
            if not values.isnan().all():
                targets[name] = torch.where(asked, values[owner].permute(2, 0, 1), torch.nan)
    offsets = cells[owner].permute(2, 0, 1) - cell_middles(height, width)
    targets["offset"] = torch.where(asked, offsets, torch.nan)
    return targets


def ignored_target(name: str, config: SceneTowerConfig) -> torch.Tensor:
    """The map of a target that an image does not have."""
    height, width = config.feature_size
    if name in CLASSES:
        return torch.full((height, width), IGNORED_CLASS, dtype=torch.int16)
    return torch.full((VALUES[name], height, width), torch.nan)


def is_inside(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Which of the points (n, 2), in cells, lie on the map; (n,) bool."""
    return ((cells >= 0) & (cells < torch.tensor([width, height]))).all(dim=1)


def cell_middles(height: int, width: int) -> torch.Tensor:
    """x and y of the middle of every cell, in cells, (2, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows])


def _heatmap(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maximum of a Gaussian around each centre cell, (H, W); `cells` (n, 2) are centres in cell units."""
    middles = cell_middles(height, width)
    heatmap = torch.zeros(height, width)
    for center in cells.floor() + 0.5:
        squared_distance = (middles - center[:, None, None]).square().sum(dim=0)
        heatmap = torch.maximum(heatmap, torch.exp(-squared_distance / (2 * HEATMAP_SIGMA**2)))
    return heatmap


def _nearest_center(cells: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the nearest of the centres (n, 2) for every cell, and whether it is within the 3 x 3 neighbourhood."""
    middles = cell_middles(height, width)
    distance = (middles[None] - cells[:, :, None, None]).square().sum(dim=1)
    # A centre's own cell is its own even if a neighbour's centre is a little nearer to the middle of it.
    steps = (middles[None] - (cells.floor() + 0.5)[:, :, None, None]).abs().amax(dim=1)
    owner = torch.where(steps == 0, distance - 2, distance).argmin(dim=0)
    return owner, steps.gather(0, owner[None])[0] <= 1


def _class_index(words: Sequence[str], word: str | None, attribute: str) -> int:
    """Index of `word`, or -100 for None."""
    if word is None:
        return IGNORED_CLASS
    if word not in words:
        raise ValueError(f"{attribute} must be one of {', '.join(words)}; got {word!r}.")
    return words.index(word)


def _object_values(item: TowerObject, name: str, size: int) -> list[float]:
    """Values of one target, NaN if it is not to be learned."""
    value = getattr(item, name)
    if value is None:
        return [float("nan")] * size
    if name == "yaw":
        angle = torch.tensor(4 * value, dtype=torch.float64)
        return [angle.sin().item(), angle.cos().item()]
    return [float(component) for component in value]
