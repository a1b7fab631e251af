"""A built dataset as images and dense targets in memory, for the pre-training of the scene tower."""

import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset as SceneDataset
from torch.utils.data import Dataset

from dataset_builders.palette import RGB, named_color
from dataset_builders.two_d import DISC_COLOR
from modeling_igllm import SHAPES
from modeling_igllm.configuration_igllm import SceneTowerConfig
from modeling_igllm.image_processing_igllm import IGLLMImageProcessor, padding_to_aspect_ratio

from .errors import CommandError
from .image_augmentation import PhotometricAugmentation
from .scene_rows import load_split
from .tower_ground_truth import surface_targets
from .tower_targets import TowerObject, ignored_target, object_targets

GROUND_TRUTH = ("instance_mask", "depth")
_METRIC = Path(__file__).resolve().parent.parent / "metrics" / "scene_program"
# The metric's own list: it is no package.
_SYMMETRIC_SHAPES = frozenset(runpy.run_path(str(_METRIC / "symmetry.py"))["SYMMETRY_ORDER"])


class TowerDataset(Dataset[dict[str, Any]]):
    """Images (uint8) and targets of every row, computed once: an epoch then costs the network alone.

    About 80 kB a scene at 160x120, and 25 kB more where rows have masks and depth.

    Args:
        rows: a built split; columns of masks and depth may be missing or null.
        shapes: the shapes that the tower tells apart (`scene_shapes` of the training rows).
    """

    def __init__(
        self,
        rows: SceneDataset,
        config: SceneTowerConfig,
        image_processor: IGLLMImageProcessor,
        shapes: Sequence[str] = SHAPES,
    ) -> None:
        self.config = config
        self.epoch = 0
        self.scenes = rows.select_columns("scene")  # on disk
        self.objects: list[list[TowerObject]] = []
        self.targets: list[dict[str, torch.Tensor]] = []
        images = []
        columns = [name for name in ("image", "scene", *GROUND_TRUTH) if name in rows.column_names]
        for batch in rows.select_columns(columns).iter(batch_size=64):
            images.append(raw_pixels(batch["image"], image_processor))
            for image, scene, mask, depth in _batch_rows(batch):
                objects = tower_objects(scene, image.size, config)
                targets = object_targets(objects, config, shapes)
                if mask is not None and depth is not None:
                    surface = surface_targets(np.asarray(mask), np.asarray(depth), objects, config)
                    targets |= {name: values.half() for name, values in surface.items()}
                self.objects.append(objects)
                self.targets.append(targets)
        self.images = torch.cat(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "targets": self.targets[index], "epoch": self.epoch, "index": index}


class TowerCollator:
    """Stacks rows of a `TowerDataset` into the arguments of `SceneTowerForPreTraining.forward`.

    An augmented image depends on `seed`, the dataset's epoch and the row's index alone; without an augmentation the
    images pass unchanged.
    """

    def __init__(
        self,
        config: SceneTowerConfig,
        image_processor: IGLLMImageProcessor,
        augmentation: PhotometricAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.config = config
        self.image_processor = image_processor
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        images = torch.stack([row["image"] for row in rows]).float() / 255
        if self.augmentation is not None:
            images = self.augmentation(images, [self._image_seed(row["epoch"], row["index"]) for row in rows])
        return {
            "pixel_values": normalize_pixels(images, self.image_processor),
            "targets": stack_targets([row["targets"] for row in rows], self.config),
        }

    def _image_seed(self, epoch: int, index: int) -> int:
        return int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)[0])


def stack_targets(targets: Sequence[dict[str, torch.Tensor]], config: SceneTowerConfig) -> dict[str, torch.Tensor]:
    """Every target that one of the images has, (B, …); ignored in the images that do not have it."""
    names = dict.fromkeys(name for one in targets for name in one)
    stacked = {
        name: torch.stack([one[name] if name in one else ignored_target(name, config) for one in targets])
        for name in names
    }
    return {name: maps.float() if maps.is_floating_point() else maps for name, maps in stacked.items()}


def load_tower_rows(dataset: str, config: str, split: str, limit: int | None = None) -> SceneDataset:
    """The rows of a built split that a tower learns from; arguments as of `load_split`.

    Raises:
        CommandError: as of `load_split`, or if there are no pictures or no scenes in the rows.
    """
    rows = load_split(dataset, config, split, limit)
    for column in ("image", "scene"):
        if column not in rows.column_names:
            raise CommandError(
                f"split {split!r} of {dataset!r} has no column {column!r}, only {', '.join(rows.column_names)}: "
                "a tower learns from scenes of `igllm build`"
            )
    return rows


def scene_shapes(rows: SceneDataset) -> tuple[str, ...]:
    """The shapes in a split as the tower learns them: CLEVR's three, or else the categories, sorted.

    CLEVR's also where there are no shapes at all (two_d).
    """
    found = _categories(rows)
    return SHAPES if found <= set(SHAPES) else tuple(sorted(found))


def check_shapes(rows: SceneDataset, shapes: Sequence[str], name: str) -> None:
    """See that a tower that tells `shapes` apart can be asked for all that is in a split, called `name`.

    Raises:
        CommandError: if it cannot; the message names the shape.
    """
    unseen = sorted(_categories(rows) - set(shapes))
    if unseen:
        raise CommandError(
            f"{name} has the shape {unseen[0]!r}, the tower knows {', '.join(shapes)} alone: choose a split without "
            "it, or train a tower on scenes with it"
        )


def tower_objects(scene: dict[str, Any], picture_size: tuple[int, int], config: SceneTowerConfig) -> list[TowerObject]:
    """Turn a row's `scene` into what the tower learns, in pixels of the tower's input.

    Args:
        picture_size: (width, height) of the row's picture in pixels. The camera would tell it too, but is not known
            of imported scenes. The image processor pads the picture to the tower's aspect ratio, then scales it.
    """
    height, width = config.image_size
    padded_height, padded_width, top, left = padding_to_aspect_ratio(*picture_size[::-1], height, width)
    scale_x, scale_y = width / padded_width, height / padded_height
    return [
        TowerObject(
            center=((item["pixel_coords"][0] + left) * scale_x, (item["pixel_coords"][1] + top) * scale_y),
            size=item["size"],
            color=item["color"],
            material=item["material"],
            shape=_category(item["shape"]),
            rgb=_linear_color(item),
            position=None if item["loc"] is None else tuple(item["loc"]),
            yaw=item["yaw"],
            rotation=_rotation(item),
        )
        for item in scene["objects"]
    ]


def raw_pixels(images: list[Any], image_processor: IGLLMImageProcessor) -> torch.Tensor:
    """Images padded and resized to the tower's input, but not normalised: (B, 3, H, W) uint8."""
    inputs = image_processor(images, do_rescale=False, do_normalize=False, return_tensors="pt")
    return inputs["pixel_values"].round().clamp(0, 255).to(torch.uint8)


def normalize_pixels(images: torch.Tensor, image_processor: IGLLMImageProcessor) -> torch.Tensor:
    """Images (B, 3, H, W) in [0, 1] -> `pixel_values`, as the image processor's last step does."""
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (image_processor.image_mean, image_processor.image_std)
    )
    return (images - mean) / std


def _batch_rows(batch: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Image, scene, mask and depth of each row; the last two None where they were not built."""
    absent = [None] * len(batch["image"])
    truth = (batch.get(name, absent) for name in GROUND_TRUTH)
    return zip(batch["image"], batch["scene"], *truth, strict=True)


def _categories(rows: SceneDataset) -> set[str]:
    found = {_category(item["shape"]) for scene in rows["scene"] for item in scene["objects"]}
    return {word for word in found if word is not None}


def _category(shape: str | None) -> str | None:
    """The part of a shape before the first `_`: a tower cannot know a mesh that it has not seen by its id."""
    return None if shape is None else shape.partition("_")[0]


def _linear_color(item: dict[str, Any]) -> RGB:
    """Linear RGB of the object's colour, of its name if it has one."""
    if item["x"] is not None:
        red, green, blue = DISC_COLOR
        return red / 255, green / 255, blue / 255
    # Rows of earlier builds have no `rgb`, but names.
    return named_color(item["color"]) if item["color"] is not None else tuple(item["rgb"])


def _rotation(item: dict[str, Any]) -> tuple[float, ...] | None:
    """First two rows of the rotation matrix of a posed object that looks different in every rotation.

    The shapes of users' own meshes are taken for such; CLEVR's have a yaw at most.
    """
    if item["rotation"] is None or item["size"] is not None or item["shape"] in _SYMMETRIC_SHAPES:
        return None
    return (*item["rotation"][0], *item["rotation"][1])
