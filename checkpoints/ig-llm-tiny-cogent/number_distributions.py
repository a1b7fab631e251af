"""What the parameters of a numeric head mean: a value, bins, a Gaussian or several.

Each class says how many parameters it takes per number (`size`), reads them as a value and a standard deviation
(`read`) and scores a true value (`loss`). All is in normalised units, in which [-1, 1] is the range of a quantity
(`number_ranges`). Point estimates are the published head and its ablation (spec MODEL); bins are those of
discretising models such as SceneScript; mixture density networks are Bishop's (1994).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch.nn import functional as F

# A histogram is smoothed before its mode is read, by a moving average with one neighbour to either side for so many
# bins. Of bins as fine as 512 the most probable one is a matter of chance.
BINS_PER_REACH = 64
# Floor of a standard deviation, a thousandth of a quantity's half range: without it the likelihood has no maximum.
MIN_STD = 1e-3


class NumberDistribution(Protocol):
    """The head's belief about one number."""

    @property
    def size(self) -> int:
        """Parameters per number, P."""

    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Parameters (..., P) -> values (...) and standard deviations (...), None if there is no such belief."""

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Parameters (N, P) and true values (N,) -> the loss (N,) of each."""


@dataclass(frozen=True)
class PointEstimate:
    """A value alone, learned by squared error (spec MODEL, "loss"): the mean of what is possible."""

    size: ClassVar[int] = 1

    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The parameter itself."""
        return parameters[..., 0], None

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Squared error."""
        return (parameters[..., 0] - targets).square()


@dataclass(frozen=True)
class Bins:
    """A probability for each of `size` equal bins of [-1, 1], learned by cross-entropy.

    A target outside of the range goes to the nearest bin. The value is the mode of the histogram after smoothing
    (`BINS_PER_REACH`), the standard deviation that of the histogram itself; neither has a gradient.
    """

    size: int

    @torch.no_grad()
    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Centre of the bin where the smoothed histogram is highest; standard deviation of the histogram."""
        centers = cell_centers(self.size, parameters.device)
        probabilities = parameters.softmax(-1)
        mean = (probabilities * centers).sum(-1, keepdim=True)
        variance = (probabilities * (centers - mean).square()).sum(-1) + (2 / self.size) ** 2 / 12
        return centers[self._smooth(probabilities).argmax(-1)], variance.sqrt()

    def _smooth(self, probabilities: torch.Tensor) -> torch.Tensor:
        """(..., size) -> (..., size); nothing comes in from outside of the range."""
        reach = self.size // BINS_PER_REACH
        smoothed = F.pad(probabilities.reshape(-1, self.size), (2 * reach, 2 * reach))  # once, or ends would tie
        for _ in range(2):  # twice over the same neighbours: their weights are like a roof
            smoothed = F.avg_pool1d(smoothed, 2 * reach + 1, stride=1)
        return smoothed.reshape(probabilities.shape)

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the bin of each target."""
        bins = ((targets + 1) / 2 * self.size).floor().clamp(0, self.size - 1).long()
        return F.cross_entropy(parameters, bins, reduction="none")


@dataclass(frozen=True)
class Gaussian:
    """Mean and standard deviation, learned by the negative log-likelihood."""

    size: ClassVar[int] = 2

    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation."""
        return parameters[..., 0], _std(parameters[..., 1])

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood in nats."""
        return -_log_density(targets, *self.read(parameters))


@dataclass(frozen=True)
class GaussianMixture:
    """`components` Gaussians with weights, learned by the negative log-likelihood: a mode for each symmetric answer.

    The value is the mean of the component that is densest at its own mean. It is one of the possible answers, where a
    squared error would give the mean of them all.
    """

    components: int

    @property
    def size(self) -> int:
        """A weight, a mean and a standard deviation for each component."""
        return 3 * self.components

    def read(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the densest component."""
        log_weights, means, stds = self._components(parameters)
        densest = (log_weights - stds.log()).argmax(-1, keepdim=True)
        return means.gather(-1, densest).squeeze(-1), stds.gather(-1, densest).squeeze(-1)

    def loss(self, parameters: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood in nats."""
        log_weights, means, stds = self._components(parameters)
        return -(log_weights + _log_density(targets.unsqueeze(-1), means, stds)).logsumexp(-1)

    def _components(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logarithms of the weights, means and standard deviations, each (..., components)."""
        logits, means, raw_stds = parameters.unflatten(-1, (3, self.components)).unbind(-2)
        # Apart from the start, so that components do not all chase the same answer.
        means = means + cell_centers(self.components, parameters.device)
        return logits.log_softmax(-1), means, _std(raw_stds)


def number_distribution(variant: str, bins: int, components: int) -> NumberDistribution:
    """The distribution of `config.number_head`; `ValueError` for an unknown name."""
    if variant in ("linear", "tanh_mlp_gelu"):
        return PointEstimate()
    if variant == "binned":
        return Bins(bins)
    if variant == "gaussian":
        return Gaussian()
    if variant == "mixture":
        return GaussianMixture(components)
    raise ValueError(f"variant must be linear, tanh_mlp_gelu, binned, gaussian or mixture; got {variant!r}.")


def cell_centers(count: int, device: torch.device) -> torch.Tensor:
    """Centres of `count` equal cells of [-1, 1], float32 (count,)."""
    return (2 * torch.arange(count, device=device, dtype=torch.float32) + 1) / count - 1


def _std(raw: torch.Tensor) -> torch.Tensor:
    return F.softplus(raw) + MIN_STD


def _log_density(values: torch.Tensor, means: torch.Tensor, stds: torch.Tensor) -> torch.Tensor:
    return -((values - means) / stds).square() / 2 - stds.log() - math.log(2 * math.pi) / 2


__all__ = ["MIN_STD", "NumberDistribution", "number_distribution"]
