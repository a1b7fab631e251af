"""What a pre-trained tower knows: of the objects, read at their true centres, and of the whole map.

```bash
python -m trl_scripts.tower_scores TOWER --dataset DATA --dataset_config clevr_cogent --split val_ood
```
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from dataset_builders.palette import COLOR_VALUES, named_color
from modeling_igllm import nearest_rotation
from modeling_igllm.configuration_igllm import CELL_STRIDE
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor
from trl_scripts.errors import CommandError, one_line
from trl_scripts.tower_dataset import TowerCollator, TowerDataset, check_shapes, load_tower_rows
from trl_scripts.tower_pretraining import SceneTowerForPreTraining
from trl_scripts.tower_targets import CLASSES, WORDS, TowerObject, is_inside

# A cell is a centre for `count_exact` if it is the likeliest of its neighbours and likelier than this.
CENTER_THRESHOLD = 0.4


@torch.no_grad()
def score_tower(
    model: SceneTowerForPreTraining, dataset: TowerDataset, image_processor: IGLLMImageProcessor
) -> dict[str, float]:
    """Read the tower's heads in the cell of every true centre inside the map; only what the rows have is scored.

    Returns:
        Percentage right for `size`, `color`, `material` and `shape`, and `nearest_color`, the palette's colour nearest
        to the predicted RGB; `rgb`, distance in linear RGB; `l2` in metres; `yaw_deg` modulo a quarter turn (22.5 is
        chance); `rotation_deg` and its median; `center_px` in pixels of the tower's input; percentage of images with
        as many centres found as there are objects, `count_exact`; of the maps `silhouette_iou` in percent, `depth`,
        the mean error in percent, and `to_center_px`; and `objects`, the number read.
    """
    model.eval()
    device, shapes = model.device, list(model.config.shapes)
    found: dict[str, list[float]] = defaultdict(list)
    loader = DataLoader(dataset, batch_size=64, collate_fn=TowerCollator(dataset.config, image_processor))
    by_image = iter(dataset.objects)
    learns_names = model.config.color_supervision == "name"
    for batch in loader:
        predictions = {name: maps.cpu() for name, maps in model(batch["pixel_values"].to(device)).predictions.items()}
        _score_maps(predictions, batch["targets"], found)
        for row, objects in zip(range(len(batch["pixel_values"])), by_image, strict=False):
            maps = {name: values[row] for name, values in predictions.items()}
            found["count_exact"].append(100.0 * (_count_centers(maps["heatmap"]) == len(objects)))
            for item in objects:
                _score_object(maps, item, shapes, learns_names, found)
    scores = {name: sum(values) / len(values) for name, values in found.items()}
    if "rotation_deg" in found:
        scores["rotation_deg_median"] = torch.tensor(found["rotation_deg"]).median().item()
    return {**scores, "objects": len(found["center_px"])}


def _score_object(
    maps: dict[str, torch.Tensor],
    item: TowerObject,
    shapes: Sequence[str],
    learns_names: bool,
    found: dict[str, list[float]],
) -> None:
    """Add what the cell of one object's centre says to `found`, nothing if the centre is beside the map."""
    height, width = maps["heatmap"].shape[-2:]
    center = torch.tensor(item.center)
    if not is_inside(center[None] / CELL_STRIDE, height, width)[0]:
        return
    column, line = (center / CELL_STRIDE).long().tolist()
    cell = {name: values[:, line, column] for name, values in maps.items()}
    for name in CLASSES if learns_names else [name for name in CLASSES if name != "color"]:
        word = getattr(item, name)
        if word is not None:
            words = shapes if name == "shape" else WORDS[name]
            found[name].append(100.0 * (words[int(cell[name].argmax())] == word))
    middle = torch.tensor([column + 0.5, line + 0.5])
    found["center_px"].append(_distance((middle + cell["offset"]) * CELL_STRIDE, item.center))
    if item.position is not None:
        found["l2"].append(_distance(cell["position"], item.position))
    if item.rgb is not None:
        found["rgb"].append(_distance(cell["rgb"], item.rgb))
        if item.color is not None:
            found["nearest_color"].append(100.0 * (_nearest_color(cell["rgb"]) == item.color))
    if item.yaw is not None:
        found["yaw_deg"].append(_yaw_degrees(cell["yaw"], item.yaw))
    if item.rotation is not None:
        found["rotation_deg"].append(rotation_degrees(cell["rotation"].tolist(), item.rotation))


def _score_maps(
    predictions: dict[str, torch.Tensor], targets: dict[str, torch.Tensor], found: dict[str, list[float]]
) -> None:
    """Add the scores of each image's silhouette, depth and votes for centres to `found`, if it has them."""
    for row in range(len(targets["heatmap"])) if "silhouette" in targets else ():
        maps = {name: predictions[name][row] for name in ("silhouette", "depth", "to_center")}
        truth = {name: targets[name][row] for name in maps}
        asked = ~truth["silhouette"].isnan()
        if not asked.any():
            continue
        seen, true = maps["silhouette"][asked] > 0, truth["silhouette"][asked] > 0
        found["silhouette_iou"].append(100.0 * ((seen & true).sum() / (seen | true).sum().clamp(min=1)).item())
        error = (maps["depth"] - truth["depth"]).abs()
        votes = (maps["to_center"] - truth["to_center"]).norm(dim=0)
        # In an image that shows nothing at all, there is neither to be right about.
        if not error.isnan().all():
            found["depth"].append(100.0 * error.nanmean().exp().sub(1).item())
        if not votes.isnan().all():
            found["to_center_px"].append(CELL_STRIDE * votes.nanmean().item())


def rotation_degrees(predicted: Sequence[float], true: Sequence[float]) -> float:
    """Geodesic distance in degrees of two rotations in the representation 6d."""
    first, second = (nearest_rotation(values, "6d").matrix for values in (predicted, true))
    chord = float(((first - second) ** 2).sum() ** 0.5)
    return math.degrees(2 * math.asin(min(1.0, chord / math.sqrt(8))))


def _yaw_degrees(predicted: torch.Tensor, true: float) -> float:
    """Degrees between two yaws modulo a quarter turn; `predicted` is sine and cosine of four times the angle."""
    difference = math.atan2(float(predicted[0]), float(predicted[1])) - 4 * true
    return math.degrees(abs(math.remainder(difference, 2 * math.pi))) / 4


def _count_centers(heatmap: torch.Tensor) -> int:
    """How many cells of the logits (1, H, W) stand out of their neighbours."""
    probability = heatmap.sigmoid()
    is_peak = probability == F.max_pool2d(probability, 3, stride=1, padding=1)
    return int((is_peak & (probability > CENTER_THRESHOLD)).sum())


def _nearest_color(rgb: torch.Tensor) -> str:
    return min(COLOR_VALUES, key=lambda name: _distance(rgb, named_color(name)))


def _distance(predicted: torch.Tensor, true: Sequence[float]) -> float:
    return float((predicted - torch.tensor(true)).norm())


def main(command_line: Sequence[str] | None = None) -> int:
    """Score a saved tower on a split, print JSON; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tower", help="output folder of pretrain_tower.py")
    parser.add_argument("--dataset", required=True, help="folder or Hub repository of built scenes")
    parser.add_argument("--dataset_config", required=True, help="family")
    parser.add_argument("--split", default="val_id")
    parsed = parser.parse_args(command_line)
    try:
        rows = load_tower_rows(parsed.dataset, parsed.dataset_config, parsed.split)
        model = SceneTowerForPreTraining.from_pretrained(parsed.tower)
        image_processor = IGLLMImageProcessor.from_pretrained(parsed.tower)
        check_shapes(rows, model.config.shapes, f"split {parsed.split!r} of {parsed.dataset!r}")
    except (CommandError, OSError) as error:
        print(f"tower_scores: {one_line(error)}", file=sys.stderr)
        return 2
    dataset = TowerDataset(rows, model.config, image_processor, model.config.shapes)
    print(json.dumps(score_tower(model, dataset, image_processor), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
