"""What a pre-trained tower knows at the true centres: attribute accuracy and position error."""

import torch
from torch.utils.data import DataLoader

from modeling_igllm.configuration_igllm import CELL_STRIDE
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor
from modeling_igllm.pretraining_scene_tower import SceneTowerForPreTraining
from modeling_igllm.scene_tower_targets import CLASSES, TowerObject

from .tower_dataset import TowerCollator, TowerDataset


@torch.no_grad()
def score_tower(
    model: SceneTowerForPreTraining, dataset: TowerDataset, image_processor: IGLLMImageProcessor
) -> dict[str, float]:
    """Read the tower's heads in the cell of every true centre inside the map.

    Returns:
        Percentage right for each attribute that was supervised, `l2` in metres, and `objects`, the number read.
    """
    model.eval()
    right = dict.fromkeys(CLASSES, 0)
    distance, objects = 0.0, 0
    loader = DataLoader(dataset, batch_size=64, collate_fn=TowerCollator(image_processor))
    by_image = iter(dataset.objects)
    for batch in loader:
        predictions = model(batch["pixel_values"]).predictions
        for row in range(len(batch["pixel_values"])):
            for item in next(by_image):
                column, line = (int(value // CELL_STRIDE) for value in item.center)
                cell = {name: maps[row, :, line, column] for name, maps in predictions.items()}
                _count_right(cell, item, right)
                distance += float((cell["position"] - torch.tensor(item.position)).norm())
                objects += 1
    scores = {name: 100 * count / objects for name, count in right.items()}
    return {**scores, "l2": distance / objects, "objects": objects}


def _count_right(cell: dict[str, torch.Tensor], item: TowerObject, right: dict[str, int]) -> None:
    for name, words in CLASSES.items():
        right[name] += words[int(cell[name].argmax())] == getattr(item, name)
