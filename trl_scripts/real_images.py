"""Score a checkpoint on photographs-in-kind: images that have attribute labels, but no 3D positions.

```bash
python -m trl_scripts.real_images FOLDER --model CHECKPOINT --out scores.json
```

FOLDER holds PNG files and `labels.json`: for every file name a list of {size, color, material, shape}, ordered left
to right by image x.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dataset_builders.camera import Camera
from modeling_igllm import ClevrObject, SceneProgram
from modeling_igllm.image_files import read_image

from .errors import CommandError, one_line
from .evaluation import write_report
from .inference import Predictor

ATTRIBUTES = ("size", "color", "material", "shape")
Labels = list[dict[str, str]]


def read_labelled(folder: Path) -> dict[str, tuple[Image.Image, Labels]]:
    """Every labelled image with its labels, by name.

    Raises:
        CommandError: if `labels.json` or an image is missing or damaged; the message names the file.
    """
    path = folder / "labels.json"
    try:
        labels: dict[str, Labels] = json.loads(path.read_text(encoding="utf-8"))
        if not labels or any(item.keys() != set(ATTRIBUTES) for truth in labels.values() for item in truth):
            raise ValueError(f"it needs {', '.join(ATTRIBUTES)} of every object of an image")
    except FileNotFoundError as error:
        raise CommandError(f"there is no {path}: name a folder of labelled images") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise CommandError(f"{path} holds no labels of images: {one_line(error)}") from error
    try:
        return {name: (read_image(folder / name), truth) for name, truth in labels.items()}
    except FileNotFoundError as error:
        raise CommandError(f"there is no {error.filename}, an image that {path} names") from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def score_labelled(labelled: dict[str, tuple[Image.Image, Labels]], predictor: Predictor) -> dict[str, Any]:
    """Predict every labelled image and compare.

    Returns:
        `images` (by name: objects predicted and true, right by attribute, fully right objects) and their `total`.
    """
    predictions = predictor.predict([image for image, _ in labelled.values()], batch_size=len(labelled))
    scores = {}
    for (name, (_, truth)), prediction in zip(labelled.items(), predictions, strict=True):
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


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse, score, print and write; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args(command_line)
    try:
        labelled = read_labelled(parsed.folder)
        report = score_labelled(labelled, Predictor.load(parsed.model, None, "cpu", "float32"))
        print(json.dumps(report, indent=2))
        if parsed.out is not None:
            write_report(parsed.out, report)
    except CommandError as error:
        print(f"real_images: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
