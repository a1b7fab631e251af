"""A CLEVR_v1.0 folder in small: noise for pictures, the published layout for everything else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CUBE = {
    "size": "large",
    "color": "gray",
    "material": "metal",
    "shape": "cube",
    "rotation": 200.0,
    "3d_coords": [-1.5, 0.25, 0.699999988079071],
    "pixel_coords": [20, 9, 11.5],
}
SPHERE = {
    "size": "small",
    "color": "red",
    "material": "rubber",
    "shape": "sphere",
    "rotation": 31.0,
    "3d_coords": [2.0, -1.0, 0.35],
    "pixel_coords": [4, 12, 9.25],
}
CYLINDER = {**SPHERE, "shape": "cylinder", "pixel_coords": [20, 3, 8.0]}


def make_published(folder: Path, train: int = 3, val_id: int = 2) -> Path:
    """Write CLEVR_v1.0 below `folder`: scenes of a cube, a sphere and a cylinder that are not in order."""
    root = folder / "CLEVR_v1.0"
    (root / "scenes").mkdir(parents=True)
    for split, count in (("train", train), ("val", val_id)):
        (root / "images" / split).mkdir(parents=True)
        scenes = [published_scene(split, index) for index in range(count)]
        for index, scene in enumerate(scenes):
            pixels = np.random.default_rng(index).integers(256, size=(24, 32, 4), dtype=np.uint8)  # RGBA, as published
            Image.fromarray(pixels).save(root / "images" / split / scene["image_filename"], compress_level=1)
        write_scenes(root, split, scenes)
    return root


def published_scene(split: str, index: int, *objects: Any) -> dict[str, Any]:
    """One entry of a scenes file."""
    return {
        "image_index": index,
        "image_filename": f"CLEVR_{split}_{index:06d}.png",
        "split": split,
        "objects": list(objects) or [CUBE, SPHERE, CYLINDER],
        "relationships": {"left": [[1], [], [0, 1]]},
        "directions": {"left": [-0.66, -0.75, 0.0]},
    }


def write_scenes(root: Path, split: str, scenes: Any) -> Path:
    """Write a scenes file with this value under "scenes"."""
    path = root / "scenes" / f"CLEVR_{split}_scenes.json"
    path.write_text(json.dumps({"info": {"split": split, "version": "1.0"}, "scenes": scenes}))
    return path
