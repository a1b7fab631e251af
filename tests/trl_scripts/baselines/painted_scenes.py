"""Small CLEVR scenes painted flat, with instance masks: discs, squares and upright boxes in plain colours."""

from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.palette import named_color
from dataset_builders.sampled_scene import SampledScene
from modeling_igllm import format_program

HEIGHT, WIDTH = 48, 64
_CARD = """---
configs:
- config_name: clevr_cogent
  data_files:
  - split: train
    path: train.parquet
---
"""


def paint(scene: SampledScene) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 3) and instance mask (H, W), uint8; nearer objects hide others."""
    pixels = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    places = scene.camera.project(np.array([item.loc for item in scene.objects]), WIDTH, HEIGHT)
    rows, columns = np.indices(mask.shape) + 0.5
    for index in np.argsort(-places[:, 2]):
        item, (x, y, _) = scene.objects[index], places[index]
        radius = 6.0 if item.size == "large" else 3.5
        across, down = np.abs(columns - x) / radius, np.abs(rows - y) / radius
        inside = {
            "sphere": across**2 + down**2 < 1,
            "cube": np.maximum(across, down) < 0.9,
            "cylinder": np.maximum(2 * across, down) < 1,
        }[item.shape]
        pixels[inside] = [255 * value for value in named_color(item.color)]
        if item.material == "metal":
            pixels[inside & (down < 0.4)] = 255
        mask[inside] = index + 1
    return pixels, mask


def painted_rows(indices: list[int], split: str = "train", masks: bool = True) -> Dataset:
    """Rows of `clevr_cogent` as a build writes them, as far as NS-VQA reads them."""
    scenes = [sample_clevr_scene("clevr_cogent", split, 0, index) for index in indices]
    pictures = [paint(scene) for scene in scenes]
    content = {
        "image": [Image.fromarray(pixels) for pixels, _ in pictures],
        "program": [format_program(scene.program) for scene in scenes],
        "instance_mask": [Image.fromarray(mask) if masks else None for _, mask in pictures],
    }
    features = Features({"image": ImageFeature(), "program": Value("string"), "instance_mask": ImageFeature()})
    return Dataset.from_dict(content, features=features)


def write_dataset(rows: Dataset, folder: Path) -> Path:
    """A dataset folder with one configuration and one split."""
    folder.mkdir(parents=True)
    rows.to_parquet(str(folder / "train.parquet"))
    (folder / "README.md").write_text(_CARD)
    return folder
