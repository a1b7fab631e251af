"""Targets of the scene tower: objects with pixel coordinates become dense maps (CenterNet, arXiv 1904.07850)."""

from dataclasses import dataclass

import torch

from .configuration_igllm import CELL_STRIDE, SceneTowerConfig
from .vocabulary import COLORS, MATERIALS, SHAPES, SIZES

IGNORED_CLASS = -100
# Standard deviation in cells of the Gaussian around a centre.
HEATMAP_SIGMA = 1.0
CLASSES = {"size": SIZES, "color": COLORS, "material": MATERIALS, "shape": SHAPES}
REGRESSIONS = {"rgb": 3, "position": 3, "yaw": 2, "offset": 2}


@dataclass(frozen=True)
class TowerObject:
    """What the renderer knows about one object. None means not to be learned.

    Attributes:
        center (`tuple[float, float]`):
            Projected centre (x right, y down) in pixels of the tower's input, not of the rendered image.
        size, color, material, shape (`str`, *optional*): Canonical words.
        rgb (`tuple[float, float, float]`, *optional*): Linear shader colour in [0, 1].
        position (`tuple[float, float, float]`, *optional*): World x, y, z in metres.
        yaw (`float`, *optional*): Radians, of cubes; learned modulo pi/2.
    """

    center: tuple[float, float]
    size: str | None = None
    color: str | None = None
    material: str | None = None
    shape: str | None = None
    rgb: tuple[float, float, float] | None = None
    position: tuple[float, float, float] | None = None
    yaw: float | None = None


def scene_tower_targets(objects: list[TowerObject], config: SceneTowerConfig) -> dict[str, torch.Tensor]:
    """Dense targets of one image, on the stride-8 map (H, W) of `config.feature_size`.

    Attributes are asked for in the 3 x 3 cells around a centre; a cell that lies near two centres answers for the
    nearer one. Objects whose centre is outside the map have no targets.

    Returns:
        `heatmap` (H, W) in [0, 1], exactly 1 at the centre cells; `size`, `color`, `material`, `shape` (H, W) class
        indices, -100 where not asked; `rgb` (3, H, W), `position` (3, H, W) in metres, `yaw` (2, H, W) as sine and
        cosine of four times the angle, `offset` (2, H, W) from the cell's middle to the centre in cells, all NaN
        where not asked. Stacked over images they are the arguments of `SceneTowerForPreTraining.forward`.

    Raises:
        `ValueError`: For a word that is not in the vocabulary.
    """
    height, width = config.feature_size
    cells = torch.tensor([item.center for item in objects]).reshape(-1, 2) / CELL_STRIDE
    inside = ((cells >= 0) & (cells < torch.tensor([width, height]))).all(dim=1)
    objects = [item for item, is_inside in zip(objects, inside.tolist(), strict=True) if is_inside]
    cells = cells[inside]
    targets = {"heatmap": _heatmap(cells, height, width)}
    if not objects:
        targets |= {name: torch.full((height, width), IGNORED_CLASS) for name in CLASSES}
        return targets | {name: torch.full((size, height, width), torch.nan) for name, size in REGRESSIONS.items()}
    owner, asked = _nearest_center(cells, height, width)
    for name, words in CLASSES.items():
        classes = torch.tensor([_class_index(words, getattr(item, name), name) for item in objects])
        targets[name] = torch.where(asked, classes[owner], IGNORED_CLASS)
    for name, size in REGRESSIONS.items():
        if name != "offset":
            values = torch.tensor([_regression_values(item, name, size) for item in objects])
            targets[name] = torch.where(asked, values[owner].permute(2, 0, 1), torch.nan)
    offsets = cells[owner].permute(2, 0, 1) - _cell_middles(height, width)
    targets["offset"] = torch.where(asked, offsets, torch.nan)
    return targets


def _heatmap(cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maximum of a Gaussian around each centre cell, (H, W); `cells` (n, 2) are centres in cell units."""
    middles = _cell_middles(height, width)
    heatmap = torch.zeros(height, width)
    for center in cells.floor() + 0.5:
        squared_distance = (middles - center[:, None, None]).square().sum(dim=0)
        heatmap = torch.maximum(heatmap, torch.exp(-squared_distance / (2 * HEATMAP_SIGMA**2)))
    return heatmap


def _nearest_center(cells: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the nearest of the centres (n, 2) for every cell, and whether it is within the 3 x 3 neighbourhood."""
    middles = _cell_middles(height, width)
    distance = (middles[None] - cells[:, :, None, None]).square().sum(dim=1)
    # A centre's own cell is its own even if a neighbour's centre is a little nearer to the middle of it.
    steps = (middles[None] - (cells.floor() + 0.5)[:, :, None, None]).abs().amax(dim=1)
    owner = torch.where(steps == 0, distance - 2, distance).argmin(dim=0)
    return owner, steps.gather(0, owner[None])[0] <= 1


def _cell_middles(height: int, width: int) -> torch.Tensor:
    """x and y of the middle of every cell, in cells, (2, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows])


def _class_index(words: tuple[str, ...], word: str | None, attribute: str) -> int:
    """Index of `word`, or -100 for None."""
    if word is None:
        return IGNORED_CLASS
    if word not in words:
        raise ValueError(f"{attribute} must be one of {', '.join(words)}; got {word!r}.")
    return words.index(word)


def _regression_values(item: TowerObject, name: str, size: int) -> list[float]:
    """Values of one regression target, NaN if it is not to be learned."""
    value = getattr(item, name)
    if value is None:
        return [float("nan")] * size
    if name == "yaw":
        angle = torch.tensor(4 * value, dtype=torch.float64)
        return [angle.sin().item(), angle.cos().item()]
    return [float(component) for component in value]


__all__ = ["CLASSES", "REGRESSIONS", "TowerObject", "scene_tower_targets"]
