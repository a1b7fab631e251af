"""Do a tower's frozen features carry the position? A linear read-out of them, before any language model is trained."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, Point2D, parse_program

_PENALTIES = (1e-3, 1e-1, 1e1, 1e3)
_BATCH_SIZE = 64


@torch.no_grad()
def probe_position(
    model: IGLLMForSceneProgram, processor: IGLLMProcessor, rows: Dataset, split: str
) -> dict[str, Any]:
    """Fit a ridge regression from all features to (x, y) on the first half of `rows`, test it on the second.

    The penalty is chosen on the last fifth of the first half.

    Returns:
        `mse` per coordinate as the metric has it, `mse_of_mean` of always answering the mean, `scenes` tested, and
        `split`.
    """
    features = torch.cat(
        [
            model.encode_images(processor.image_processor(part["image"], return_tensors="pt")["pixel_values"])
            for part in rows.iter(batch_size=_BATCH_SIZE)
        ]
    )
    inputs = features.flatten(1).double().numpy()
    places = [parse_program(program).objects[0] for program in rows["program"]]
    targets = np.array([(place.x, place.y) for place in places if isinstance(place, Point2D)])
    half = len(rows) // 2
    inner = half * 4 // 5
    chosen = min(_PENALTIES, key=lambda penalty: _error(inputs[:half], targets[:half], inner, penalty))
    mean = targets[:half].mean(axis=0)
    return {
        "split": split,
        "scenes": len(rows) - half,
        "mse": _error(inputs, targets, half, chosen),
        "mse_of_mean": float(np.mean((targets[half:] - mean) ** 2)),
    }


def _error(inputs: np.ndarray, targets: np.ndarray, count: int, penalty: float) -> float:
    """Mean squared error on the rows from `count` on, of a fit to those before, features standardised."""
    center, scale = inputs[:count].mean(axis=0), inputs[:count].std(axis=0) + 1e-6
    inputs = (inputs - center) / scale / np.sqrt(inputs.shape[1])
    mean = targets[:count].mean(axis=0)
    # Far fewer rows than features: the fit is solved by the inner products of rows.
    kernel = inputs[:count] @ inputs[:count].T + penalty * np.eye(count) / count
    weights = np.linalg.solve(kernel, targets[:count] - mean)
    answers = inputs[count:] @ inputs[:count].T @ weights + mean
    return float(np.mean((answers - targets[count:]) ** 2))
