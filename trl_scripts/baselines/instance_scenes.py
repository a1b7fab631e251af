"""Images, instance masks and objects of a built CLEVR split, in memory."""

from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

from modeling_igllm import ClevrObject, parse_program
from trl_scripts.errors import CommandError
from trl_scripts.scene_rows import load_split


@dataclass(frozen=True)
class InstanceScenes:
    """The scenes of one split; about 80 kB each at 160x120.

    Attributes:
        images: (N, 3, H, W) uint8.
        instance_masks: (N, H, W) uint8, 0 background, i + 1 object i; None where they were not asked for.
        objects: the true objects of every scene, in the order of the masks.
        programs: the true programs.
    """

    images: torch.Tensor
    instance_masks: torch.Tensor | None
    objects: list[list[ClevrObject]]
    programs: list[str]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def masks(self) -> torch.Tensor:
        """The instance masks; ValueError where they were not loaded."""
        if self.instance_masks is None:
            raise ValueError("these scenes were loaded without instance masks")
        return self.instance_masks


def load_instance_scenes(
    dataset: str,
    config: str | None,
    split: str,
    image_size: tuple[int, int],
    with_masks: bool,
    max_scenes: int | None = None,
) -> InstanceScenes:
    """Read a split of a built dataset.

    Args:
        dataset: folder or Hub repository made by `igllm build`.
        config: its family; None where there is only one.
        image_size: (height, width) to which pictures and masks of another size are stretched.
        with_masks: read the column `instance_mask`, too.
        max_scenes: take the first ones only.

    Raises:
        CommandError: if the split cannot be loaded, is not of a CLEVR family, or lacks the masks.
    """
    rows = load_split(dataset, config, split, max_scenes)
    if with_masks and "instance_mask" not in rows.column_names:
        raise _no_masks(dataset, split)
    return instance_scenes(rows, image_size, with_masks, f"{dataset!r}, split {split!r}")


def instance_scenes(rows: Dataset, image_size: tuple[int, int], with_masks: bool, name: str) -> InstanceScenes:
    """`load_instance_scenes` for rows in hand; `name` says in errors where they are from."""
    columns = ["image", "program", *(["instance_mask"] if with_masks else [])]
    images, masks, objects, programs = [], [], [], []
    for index, row in enumerate(rows.select_columns(columns)):
        images.append(_resized(row["image"].convert("RGB"), image_size, Image.Resampling.BILINEAR))
        if with_masks:
            if row["instance_mask"] is None:
                raise _no_masks(name, f"row {index}")
            masks.append(_resized(row["instance_mask"], image_size, Image.Resampling.NEAREST))
        objects.append(_clevr_objects(row["program"], name))
        programs.append(row["program"])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return InstanceScenes(pixels, torch.from_numpy(np.stack(masks)) if with_masks else None, objects, programs)


def _resized(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    height, width = size
    return np.array(image if image.size == (width, height) else image.resize((width, height), resampling))


def _clevr_objects(program: str | None, name: str) -> list[ClevrObject]:
    if program is None:
        raise CommandError(f"{name} has scenes without a program: NS-VQA needs the families clevr or clevr_cogent")
    objects = []
    for item in parse_program(program):
        if not isinstance(item, ClevrObject):
            raise CommandError(
                f"{name} has a {type(item).__name__}, NS-VQA reads CLEVR objects: name a configuration of the "
                "families clevr or clevr_cogent"
            )
        objects.append(item)
    return objects


def _no_masks(name: str, place: str) -> CommandError:
    return CommandError(
        f"{name} has no instance masks ({place}): build it with `igllm build ... --ground-truth`, which fills the "
        "column instance_mask"
    )
