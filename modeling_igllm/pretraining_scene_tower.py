"""Pre-training of the scene tower on the renderer's ground truth: centres, attributes, colour, position, yaw."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_igllm import SceneTowerConfig
from .modeling_scene_tower import SceneTowerModel, SceneTowerPreTrainedModel
from .scene_tower_targets import CLASSES, IGNORED_CLASS, REGRESSIONS

# Probability of a centre before training (RetinaNet, arXiv 1708.02002), so that the many empty cells do not dominate.
CENTER_PRIOR = 0.1
HEAD_STD = 0.01
# Exponents of CenterNet's focal loss (arXiv 1904.07850, equation 1).
FOCAL_ALPHA, FOCAL_BETA = 2, 4
HEAD_CHANNELS = {"heatmap": 1, **{name: len(words) for name, words in CLASSES.items()}, **REGRESSIONS}


@dataclass
class SceneTowerPreTrainingOutput(ModelOutput):
    """Result of [`SceneTowerForPreTraining`].

    Attributes:
        loss (`torch.Tensor`, scalar): Sum of `losses`; None without targets.
        losses (`dict[str, torch.Tensor]`): One scalar for every target, by name.
        predictions (`dict[str, torch.Tensor]`):
            Maps (B, C, H, W): logits of `heatmap`, `size`, `color`, `material`, `shape`; values of `rgb`, `position`
            (metres), `yaw` (sine and cosine of four times the angle) and `offset` (cells).
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    predictions: dict[str, torch.Tensor] | None = None


class SceneTowerHeads(nn.Conv2d):
    """One 1x1 convolution for all targets, with an initialisation of its own."""

    def __init__(self, feature_channels: int):
        super().__init__(feature_channels, sum(HEAD_CHANNELS.values()), 1)


class SceneTowerForPreTraining(SceneTowerPreTrainedModel):
    """The scene tower with one 1x1 convolution for all targets on its stride-8 map.

    The heads are linear on purpose: what they can read, the projector of the language model can read too.
    `SceneTowerModel.from_pretrained` loads the tower out of a checkpoint of this model.
    """

    def __init__(self, config: SceneTowerConfig):
        super().__init__(config)
        self.scene_tower = SceneTowerModel(config)
        self.heads = SceneTowerHeads(config.feature_channels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As the tower; heads that begin near zero, with the centre prior as their first bias."""
        super()._init_weights(module)
        if isinstance(module, SceneTowerHeads):
            init.normal_(module.weight, std=HEAD_STD)
            bias = torch.zeros(module.out_channels)
            bias[0] = math.log(CENTER_PRIOR / (1 - CENTER_PRIOR))
            init.copy_(module.bias, bias)  # type: ignore[arg-type]  # it has a bias

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        heatmap: torch.Tensor | None = None,
        size: torch.Tensor | None = None,
        color: torch.Tensor | None = None,
        material: torch.Tensor | None = None,
        shape: torch.Tensor | None = None,
        rgb: torch.Tensor | None = None,
        position: torch.Tensor | None = None,
        yaw: torch.Tensor | None = None,
        offset: torch.Tensor | None = None,
    ) -> SceneTowerPreTrainingOutput:
        """Predict the maps, and compare them with the targets if there are any.

        Args:
            pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.
            heatmap, size, color, material, shape, rgb, position, yaw, offset:
                Stacked results of `scene_tower_targets`: all of them or none. `color` is not looked at if
                `config.color_supervision="rgb"`.
        """
        maps = self.heads(self.scene_tower.feature_map(pixel_values)).float()
        predictions = dict(zip(HEAD_CHANNELS, maps.split(list(HEAD_CHANNELS.values()), dim=1), strict=True))
        targets = {"heatmap": heatmap, "size": size, "color": color, "material": material, "shape": shape}
        targets |= {"rgb": rgb, "position": position, "yaw": yaw, "offset": offset}
        given = {name: target for name, target in targets.items() if target is not None}
        if not given:
            return SceneTowerPreTrainingOutput(predictions=predictions)
        if len(given) < len(targets):
            missing = ", ".join(targets.keys() - given.keys())
            raise ValueError(f"Targets came without {missing}: pass all results of scene_tower_targets.")
        losses = {name: target_loss(name, predictions[name], target) for name, target in given.items()}
        if self.config.color_supervision == "rgb":
            del losses["color"]
        return SceneTowerPreTrainingOutput(torch.stack(list(losses.values())).sum(), losses, predictions)


def target_loss(name: str, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Loss of one target by its name: focal for the heat map, cross-entropy for classes, smooth L1 for values."""
    if name == "heatmap":
        return center_focal_loss(prediction[:, 0], target)
    return class_loss(prediction, target) if name in CLASSES else regression_loss(prediction, target)


def center_focal_loss(logits: torch.Tensor, heatmap: torch.Tensor) -> torch.Tensor:
    """CenterNet's penalty-reduced focal loss over the cells, divided by the number of centres; inputs (B, H, W)."""
    is_center = heatmap == 1
    positive = F.logsigmoid(logits) * torch.sigmoid(-logits) ** FOCAL_ALPHA
    negative = F.logsigmoid(-logits) * torch.sigmoid(logits) ** FOCAL_ALPHA * (1 - heatmap) ** FOCAL_BETA
    return -torch.where(is_center, positive, negative).sum() / is_center.sum().clamp(min=1)


def class_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, C, H, W) over the cells whose class (B, H, W) is asked for; 0 without any."""
    total = F.cross_entropy(logits, classes, ignore_index=IGNORED_CLASS, reduction="sum")
    return total / (classes != IGNORED_CLASS).sum().clamp(min=1)


def regression_loss(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Smooth L1 of values (B, C, H, W) over the targets that are not NaN; 0 without any."""
    is_asked = ~torch.isnan(targets)
    return F.smooth_l1_loss(values[is_asked], targets[is_asked], reduction="sum") / is_asked.sum().clamp(min=1)


SceneTowerForPreTraining.register_for_auto_class("AutoModelForPreTraining")

__all__ = [
    "SceneTowerForPreTraining",
    "SceneTowerPreTrainingOutput",
    "center_focal_loss",
    "class_loss",
    "regression_loss",
]
