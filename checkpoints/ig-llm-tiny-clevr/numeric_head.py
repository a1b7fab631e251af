"""The numeric head: a hidden state of the language model becomes one real number (spec MODEL, "numeric head")."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn


class NumericLinear(nn.Linear):
    """A float32 linear layer of the numeric head; a class of its own so that it keeps PyTorch's initialisation."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, dtype=torch.float32)


class NumericHead(nn.Module):
    """Tanh -> Linear(h, h) -> GELU -> Linear(h, 1), or one Linear(h, 1), on the state that predicts the number token.

    Always float32: parameters stay so when the model is moved to bfloat16, and the computation is outside of
    autocast. In bfloat16 the published head answers in steps of 1/64 around 3 m.

    Args:
        hidden_size (`int`): Size h of the hidden state; 16,785,409 parameters at h = 4096.
        variant (`"tanh_mlp_gelu"` or `"linear"`): The published head, or its linear ablation.
        scale (`int` or `float`): Factor on the output.
    """

    def __init__(self, hidden_size: int, variant: Literal["tanh_mlp_gelu", "linear"], scale: int | float = 1.0):
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential()
        if variant == "tanh_mlp_gelu":
            self.layers.append(nn.Tanh())
            self.layers.append(NumericLinear(hidden_size, hidden_size))
            self.layers.append(nn.GELU())
        elif variant != "linear":
            raise ValueError(f"variant must be 'tanh_mlp_gelu' or 'linear', got {variant!r}.")
        self.layers.append(NumericLinear(hidden_size, 1))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map hidden states (..., h) of any dtype to numbers (...) in float32, in the program's units."""
        with torch.autocast(device_type=hidden_states.device.type, enabled=False):
            return self.layers(hidden_states.float()).squeeze(-1) * self.scale

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "NumericHead":
        """Let `.to(...)` move the parameters between devices, but never change their precision."""

        def keep_float32(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == torch.float32 else tensor.to(moved.device)

        return super()._apply(keep_float32, recurse)


def number_loss(
    numbers: torch.Tensor,
    number_labels: torch.Tensor,
    is_number: torch.Tensor,
    denominator: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Mean squared error over the number tokens of a batch (spec MODEL, "loss").

    Args:
        numbers (`torch.Tensor` (B, L)): The head's output at every position; position t answers for token t + 1.
        number_labels (`torch.Tensor` (B, L)): True values at the positions of the number tokens; ignored elsewhere.
        is_number (`torch.Tensor` (B, L), bool): Which tokens are number tokens to be learned.
        denominator (`torch.Tensor` or `int`, *optional*):
            Numbers in the whole accumulated batch, to divide the sum by. The count of this batch when not given.

    Returns:
        `torch.Tensor`: Scalar in squared units of the numbers. Without any number it is 0 and still has a graph.

    Raises:
        `ValueError`: If a number token has no finite label.
    """
    is_number = is_number[:, 1:]
    targets = number_labels[:, 1:][is_number].float()
    if not torch.isfinite(targets).all():
        raise ValueError(
            f"{int((~torch.isfinite(targets)).sum())} of {targets.numel()} number tokens in `labels` have no finite "
            "value in `number_labels`; both must be built from the same program."
        )
    squared_error = (numbers[:, :-1][is_number] - targets).square().sum()
    if denominator is None:
        denominator = max(targets.numel(), 1)
    return squared_error / denominator


__all__ = ["NumericHead", "NumericLinear", "number_loss"]
