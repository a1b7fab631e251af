"""Score a checkpoint on photographs-in-kind: images that have attribute labels, but no 3D positions.

```bash
python -m trl_scripts.real_images FOLDER --model CHECKPOINT --out scores.json
```

FOLDER holds PNG files and `labels.json`: for every file name a list of {size, color, material, shape}, ordered left
to right by image x.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.camera import Camera
from modeling_igllm import ClevrObject, SceneProgram
from modeling_igllm.image_files import read_image

from .inference import Predictor

ATTRIBUTES = ("size", "color", "material", "shape")
Labels = list[dict[str, str]]


def score_folder(folder: Path, predictor: Predictor) -> dict[str, Any]:
    """Predict every labelled image and compare.

    Returns:
        `images` (by name: objects predicted and true, right by attribute, fully right objects) and their `total`.
    """
    labels: dict[str, Labels] = json.loads((folder / "labels.json").read_text())
    images = [read_image(folder / name) for name in labels]
    predictions = predictor.predict(images, batch_size=len(images))
    scores = {}
    for (name, truth), prediction in zip(labels.items(), predictions, strict=True):
        predicted = [] if prediction.scene is None else left_to_right(prediction.scene)
        scores[name] = {"predicted": len(predicted), "true": len(truth), **count_right(predicted, truth)}
    total = {key: sum(score[key] for score in scores.values()) for key in next(iter(scores.values()))}
    return {"images": scores, "total": total}


def left_to_right(scene: SceneProgram) -> Labels:
    """Attributes of the scene's objects, ordered by image x under CLEVR's unjittered camera."""
    objects = [item for item in scene.objects if isinstance(item, ClevrObject)]
    if not objects:
        return []
    image_x = Camera().project(np.array([item.loc for item in objects]), 320, 240)[:, 0]
    return [{name: getattr(objects[i], name) for name in ATTRIBUTES} for i in np.argsort(image_x, kind="stable")]


def count_right(predicted: Labels, truth: Labels) -> dict[str, int]:
    """Count right attributes and fully right objects under the order-preserving pairing with most agreement.

    Positions are not known, the order along image x is: an object too many or too few then costs itself only.
    """
    agreement = np.array([[sum(p[a] == t[a] for a in ATTRIBUTES) for t in truth] for p in predicted])
    best = np.zeros((len(predicted) + 1, len(truth) + 1))
    for i in range(len(predicted)):
        for j in range(len(truth)):
            best[i + 1, j + 1] = max(best[i, j] + agreement[i, j], best[i, j + 1], best[i + 1, j])
    i, j = len(predicted), len(truth)
    right = dict.fromkeys((*ATTRIBUTES, "objects"), 0)
    while i and j:
        if best[i, j] == best[i - 1, j - 1] + agreement[i - 1, j - 1]:
            i, j = i - 1, j - 1
            for name in ATTRIBUTES:
                right[name] += predicted[i][name] == truth[j][name]
            right["objects"] += predicted[i] == truth[j]
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            j -= 1
    return right


def main() -> None:
    """Parse, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    report = score_folder(parsed.folder, Predictor.load(parsed.model, None, "cpu", "float32"))
    print(json.dumps(report, indent=2))
    if parsed.out is not None:
        parsed.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
