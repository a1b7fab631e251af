"""The numeric head: a hidden state of the language model becomes a real number (spec MODEL, "numeric head")."""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.utils.generic import maybe_autocast

from .number_distributions import PointEstimate, number_distribution

# Names of `config.number_head`; "none" is a model without this head.
NUMBER_HEADS = ("none", "linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture")
# The shortest of them is an eighth of a quantity's range.
BIN_WAVES = 16


class Float32Module(nn.Module):
    """A module whose parameters stay float32 when `.to(...)` moves the model to another precision."""

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "Float32Module":
        def keep_float32(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == torch.float32 else tensor.to(moved.device)

        return super()._apply(keep_float32, recurse)


class NumericLinear(nn.Linear):
    """A float32 linear layer of the numeric head; a class of its own so that it keeps PyTorch's initialisation."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, dtype=torch.float32)


class BinLogits(NumericLinear):
    """The last layer of bins: neighbours begin with like weights, whole slopes of bins with one."""

    @torch.no_grad()
    def smooth_weights(self) -> torch.Tensor:
        """Initial weights (bins, h): random sums of the `BIN_WAVES` longest cosines over the bins (DCT-II).

        With independent weights of the same variance a hidden state learns of each bin apart from its neighbours, and
        numbers come later (`model_cards/experiments/attempts.md`).
        """
        waves = min(BIN_WAVES, self.out_features)
        # float32 also where another type is the default, as while a model in bfloat16 is made.
        phases = math.pi * (torch.arange(self.out_features, dtype=torch.float32) + 0.5) / self.out_features
        cosines = torch.cos(phases[:, None] * torch.arange(waves, dtype=torch.float32)) * math.sqrt(2 / waves)
        amplitudes = torch.empty(waves, self.in_features, dtype=torch.float32).uniform_(-1, 1)
        return cosines @ amplitudes / math.sqrt(self.in_features)


class NumericHead(Float32Module):
    """Tanh -> Linear(h, h) -> GELU -> Linear(h, P) on the state that predicts the number token.

    What the P parameters mean is the variant's affair (`number_distributions`), and everything is in normalised units
    (`number_ranges`). Always float32: parameters stay so when the model is moved to bfloat16, and the computation is
    outside of autocast. In bfloat16 the published head answers in steps of 1/64 around 3 m.

    Args:
        hidden_size (`int`): Size h of the hidden state; 16,785,409 parameters at h = 4096 and P = 1.
        variant (`str`):
            `"tanh_mlp_gelu"` (the published head), `"linear"` (its ablation, one Linear(h, 1)), `"binned"`,
            `"gaussian"` or `"mixture"`.
        bins (`int`): Bins of `"binned"`.
        components (`int`): Gaussians of `"mixture"`.
    """

    def __init__(self, hidden_size: int, variant: str, bins: int = 512, components: int = 5):
        super().__init__()
        self.distribution = number_distribution(variant, bins, components)
        self.layers = nn.Sequential()
        if variant != "linear":
            self.layers.append(nn.Tanh())
            self.layers.append(NumericLinear(hidden_size, hidden_size))
            self.layers.append(nn.GELU())
        last = BinLogits if variant == "binned" else NumericLinear
        self.layers.append(last(hidden_size, self.distribution.size))

    @property
    def has_stds(self) -> bool:
        """Whether values come with standard deviations."""
        return not isinstance(self.distribution, PointEstimate)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map hidden states (..., h) of any dtype to parameters (..., P) in float32."""
        with maybe_autocast(hidden_states.device.type, enabled=False):
            return self.layers(hidden_states.float())

    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Parameters (..., P) -> values (...) and standard deviations (...), None for a point estimate."""
        return self.distribution.read(parameters)

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Parameters (N, P) and true values (N,) -> losses (N,): squared error, cross-entropy or nats."""
        with maybe_autocast(parameters.device.type, enabled=False):
            return self.distribution.loss(parameters, targets)


def number_loss(
    head: NumericHead,
    parameters: torch.Tensor,
    number_labels: torch.Tensor,
    is_number: torch.Tensor,
    weights: torch.Tensor | None = None,
    denominator: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Loss of the head over the number tokens of a batch, weighted, by their count (spec MODEL, "loss").

    Args:
        head (`NumericHead`): Knows how a true value is scored.
        parameters (`torch.Tensor` (B, L, P)): Its output at every position; position t answers for token t + 1.
        number_labels (`torch.Tensor` (B, L)):
            True values, normalised, at the positions of the number tokens; ignored elsewhere.
        is_number (`torch.Tensor` (B, L), bool): Which tokens are number tokens to be learned.
        weights (`torch.Tensor` (B, L), *optional*): What the loss of each number is multiplied by; 1 when not given.
        denominator (`torch.Tensor` or `int`, *optional*):
            Numbers in the whole accumulated batch, to divide the sum by. The count of this batch when not given.

    Returns:
        `torch.Tensor`: Scalar. Without any number it is 0 and still has a graph.

    Raises:
        `ValueError`: If a number token has no finite label.
    """
    is_number = is_number[:, 1:]
    targets = number_labels[:, 1:][is_number].float()
    if not torch.isfinite(targets).all():
        raise ValueError(
            f"{int((~torch.isfinite(targets)).sum())} of {targets.numel()} number tokens in `labels` have no finite "
            "value in `number_labels` or no quantity in `number_quantities`; all must be built from the same program."
        )
    losses = head.loss(parameters[:, :-1][is_number], targets)
    total = losses.sum() if weights is None else (losses * weights[:, 1:][is_number]).sum()
    return total / (max(targets.numel(), 1) if denominator is None else denominator)


__all__ = ["NUMBER_HEADS", "BinLogits", "Float32Module", "NumericHead", "NumericLinear", "number_loss"]
