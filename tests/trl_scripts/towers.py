"""A tiny tower for pre-training, and what it learns from."""

from typing import Any

import tiny
import torch

from modeling_igllm import SHAPES
from modeling_igllm.configuration_igllm import SceneTowerConfig
from trl_scripts.tower_dataset import stack_targets
from trl_scripts.tower_pretraining import SceneTowerForPreTraining, TowerPreTrainingConfig
from trl_scripts.tower_targets import TowerObject, object_targets

CUBE = TowerObject((20.0, 12.0), "small", "red", "metal", "cube", (1.0, 0.0, 0.0), (1.0, 2.0, 3.0), 0.3)
SPHERE = TowerObject((36.0, 12.0), "large", "blue", "rubber", "sphere", (0.0, 0.0, 1.0), (4.0, 5.0, 6.0))
POSED = TowerObject((36.0, 20.0), color="cyan", shape="cube", rotation=(0.0, 1.0, 0.0, -1.0, 0.0, 0.0))
DISC = TowerObject((50.0, 8.0), rgb=(1.0, 0.0, 0.0))


def tower_config(**overrides: Any) -> TowerPreTrainingConfig:
    """That of `tiny.tower_config`, with heads."""
    return TowerPreTrainingConfig(**{**tiny.tower_config().to_dict(), **overrides})


def make_tower(**overrides: Any) -> SceneTowerForPreTraining:
    """The same random weights every time."""
    torch.manual_seed(0)
    return SceneTowerForPreTraining(tower_config(**overrides))


def make_pixels(count: int = 2) -> torch.Tensor:
    """Random `pixel_values`, the same every time."""
    return torch.randn(count, 3, tiny.HEIGHT, tiny.WIDTH, generator=torch.Generator().manual_seed(0))


def stacked_targets(config: SceneTowerConfig, *images: list[TowerObject]) -> dict[str, torch.Tensor]:
    """What the collator makes of images with these objects."""
    return stack_targets([object_targets(objects, config, SHAPES) for objects in images], config)
