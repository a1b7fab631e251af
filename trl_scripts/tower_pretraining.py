"""Pre-training of the scene tower on the renderer's ground truth: heads and losses, which stay behind afterwards."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from modeling_igllm import SHAPES
from modeling_igllm.configuration_igllm import SceneTowerConfig
from modeling_igllm.modeling_scene_tower import SceneTowerModel, SceneTowerPreTrainedModel

from .tower_targets import CLASSES, IGNORED_CLASS, VALUES, WORDS

# Probability of a centre before training (RetinaNet, arXiv 1708.02002), so that the many empty cells do not dominate.
CENTER_PRIOR = 0.1
HEAD_STD = 0.01
# Exponents of CenterNet's focal loss (arXiv 1904.07850, equation 1).
FOCAL_ALPHA, FOCAL_BETA = 2, 4


def begin_heads(heads: nn.Conv2d) -> None:
    """Start 1x1 heads near zero, with the prior probability of a centre as the bias of the first channel."""
    init.normal_(heads.weight, std=HEAD_STD)
    bias = torch.zeros(heads.out_channels)
    bias[0] = math.log(CENTER_PRIOR / (1 - CENTER_PRIOR))
    init.copy_(heads.bias, bias)  # type: ignore[arg-type]  # it has a bias


@strict
class TowerPreTrainingConfig(SceneTowerConfig):
    r"""
    Configuration of [`SceneTowerForPreTraining`]: the tower's, and what its heads tell apart.

    Args:
        shapes (`list[str]`, defaults to CLEVR's three):
            Shapes or categories of the training scenes.
        regression_beta (`float`, defaults to 1.0):
            Error at which the loss of values turns from squared to absolute, in the units of the target. Below the
            errors that are usual (0.1 m), a small error counts as much as a large one.
        rgb_unit (`float`, defaults to 1.0):
            Difference of linear RGB that counts like a metre. At 1.0, colours are the smallest part of the loss and of
            the features' variance, and a language model on the tower does not find them (experiment `clevr_cogent`).
    """

    shapes: list[str] | tuple[str, ...] = SHAPES
    regression_beta: float = 1.0
    rgb_unit: float = 1.0


@dataclass
class SceneTowerPreTrainingOutput(ModelOutput):
    """Result of [`SceneTowerForPreTraining`].

    Attributes:
        loss (`torch.Tensor`, scalar): Sum of `losses`; None without targets.
        losses (`dict[str, torch.Tensor]`): One scalar for every target given, by name.
        predictions (`dict[str, torch.Tensor]`):
            Maps (B, C, H, W): logits of `heatmap`, of the classes and of `silhouette`; values of all others, in the
            units of their targets (tower_targets.py, tower_ground_truth.py).
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    predictions: dict[str, torch.Tensor] | None = None


class SceneTowerHeads(nn.Conv2d):
    """One 1x1 convolution for all targets, with an initialisation of its own."""

    def __init__(self, config: TowerPreTrainingConfig):
        words = {name: len(words) for name, words in WORDS.items()}
        self.channels = {"heatmap": 1, **words, "shape": len(config.shapes), **VALUES}
        super().__init__(config.feature_channels, sum(self.channels.values()), 1)
        self.rgb_unit = config.rgb_unit

    def predict(self, feature_map: torch.Tensor) -> dict[str, torch.Tensor]:
        """Feature map (B, C, H, W) -> maps of every target by name, float32."""
        maps = self(feature_map).float().split(list(self.channels.values()), dim=1)
        predictions = dict(zip(self.channels, maps, strict=True))
        return {**predictions, "rgb": predictions["rgb"] * self.rgb_unit}


class SceneTowerForPreTraining(SceneTowerPreTrainedModel):
    """The scene tower with one 1x1 convolution for all targets on its stride-8 map.

    The heads are linear on purpose: what they can read, the projector of the language model can read too.
    `SceneTowerModel.from_pretrained` loads the tower out of a checkpoint of this model.
    """

    config: TowerPreTrainingConfig

    def __init__(self, config: TowerPreTrainingConfig):
        super().__init__(config)
        self.scene_tower = SceneTowerModel(config)
        self.heads = SceneTowerHeads(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As the tower; heads that begin near zero, with the centre prior as their first bias."""
        super()._init_weights(module)
        if isinstance(module, SceneTowerHeads):
            begin_heads(module)

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, targets: dict[str, torch.Tensor] | None = None
    ) -> SceneTowerPreTrainingOutput:
        """Predict the maps, and compare them with the targets that there are.

        Args:
            pixel_values (`torch.Tensor` (B, 3, H, W)): Output of the image processor.
            targets (`dict[str, torch.Tensor]`, *optional*):
                Stacked maps by name, as `TowerCollator` makes them. `color` is not looked at if
                `config.color_supervision="rgb"`.

        Raises:
            `ValueError`: For a target that the heads do not have.
        """
        predictions = self.heads.predict(self.scene_tower.feature_map(pixel_values))
        if targets is None:
            return SceneTowerPreTrainingOutput(predictions=predictions)
        if unknown := targets.keys() - predictions.keys():
            raise ValueError(f"there is no head for {', '.join(unknown)}; the heads are {', '.join(predictions)}.")
        losses = {
            name: self._target_loss(name, predictions[name], target)
            for name, target in targets.items()
            if name != "color" or self.config.color_supervision == "name"
        }
        return SceneTowerPreTrainingOutput(torch.stack(list(losses.values())).sum(), losses, predictions)

    def _target_loss(self, name: str, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if name == "rgb":
            prediction, target = prediction / self.config.rgb_unit, target / self.config.rgb_unit
        return target_loss(name, prediction, target, self.config.regression_beta)


def target_loss(name: str, prediction: torch.Tensor, target: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Loss of one target by its name.

    Focal for the heat map, cross-entropy for classes, binary cross-entropy for the silhouette, smooth L1 with `beta`
    for values.
    """
    if name == "heatmap":
        return center_focal_loss(prediction[:, 0], target)
    if name in CLASSES:
        return class_loss(prediction, target)
    return silhouette_loss(prediction, target) if name == "silhouette" else regression_loss(prediction, target, beta)


def center_focal_loss(logits: torch.Tensor, heatmap: torch.Tensor) -> torch.Tensor:
    """CenterNet's penalty-reduced focal loss over the cells, divided by the number of centres; inputs (B, H, W)."""
    is_center = heatmap == 1
    positive = F.logsigmoid(logits) * torch.sigmoid(-logits) ** FOCAL_ALPHA
    negative = F.logsigmoid(-logits) * torch.sigmoid(logits) ** FOCAL_ALPHA * (1 - heatmap) ** FOCAL_BETA
    return -torch.where(is_center, positive, negative).sum() / is_center.sum().clamp(min=1)


def class_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, C, H, W) over the cells whose class (B, H, W) is asked for; 0 without any."""
    total = F.cross_entropy(logits, classes.long(), ignore_index=IGNORED_CLASS, reduction="sum")
    return total / (classes != IGNORED_CLASS).sum().clamp(min=1)


def silhouette_loss(logits: torch.Tensor, silhouette: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of logits (B, C, H, W) over the points that are not NaN; 0 without any."""
    asked = ~torch.isnan(silhouette)
    total = F.binary_cross_entropy_with_logits(logits[asked], silhouette[asked], reduction="sum")
    return total / asked.sum().clamp(min=1)


def regression_loss(values: torch.Tensor, targets: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Smooth L1 of values (B, C, H, W) over the targets that are not NaN; 0 without any."""
    asked = ~torch.isnan(targets)
    return F.smooth_l1_loss(values[asked], targets[asked], reduction="sum", beta=beta) / asked.sum().clamp(min=1)
