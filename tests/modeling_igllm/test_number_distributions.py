"""What each head can learn that the others cannot, and what its numbers mean."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from modeling_igllm.number_distributions import MIN_STD, Bins, Gaussian, GaussianMixture
from modeling_igllm.numeric_head import NumericHead

STEPS = 60


def trained(variant: str, states: torch.Tensor, targets: torch.Tensor, learning_rate: float = 0.05) -> NumericHead:
    """A small head after a few dozen steps on all of the data."""
    torch.manual_seed(0)
    head = NumericHead(states.shape[1], variant, bins=32, components=4)
    optimizer = torch.optim.Adam(head.parameters(), lr=learning_rate)
    for _ in range(STEPS):
        optimizer.zero_grad()
        head.loss(head(states), targets).mean().backward()
        optimizer.step()
    return head


def states_and_centers(count: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """Random states of 6 channels, and a smooth function of them in about [-0.6, 0.6]."""
    torch.manual_seed(1)
    states = torch.randn(count, 6)
    return states, 0.6 * torch.tanh(states[:, 0])


@pytest.mark.parametrize("variant", ["linear", "tanh_mlp_gelu", "binned", "gaussian", "mixture"])
def test_every_head_learns_a_function_of_the_state(variant: str) -> None:
    states, targets = states_and_centers()
    head = trained(variant, states, targets)
    values, _ = head.read(head(states))
    error = (values - targets).abs().median()
    assert error < {"linear": 0.1, "binned": 1 / 32 + 1e-3}.get(variant, 0.05)


def test_gaussian_learns_the_spread_of_what_it_cannot_know() -> None:
    states, centers = states_and_centers(2000)
    blurred = torch.rand(2000) < 0.5
    states[:, 1] = torch.where(blurred, 1.0, -1.0)
    targets = centers + torch.where(blurred, 0.3, 0.1) * torch.randn(2000)
    head = trained("gaussian", states, targets)
    _, stds = head.read(head(states))
    assert stds[blurred].mean().item() == pytest.approx(0.3, rel=0.1)
    assert stds[~blurred].mean().item() == pytest.approx(0.1, rel=0.1)


def test_mixture_answers_a_mode_where_squared_error_answers_the_mean() -> None:
    torch.manual_seed(1)
    states = torch.randn(512, 6)
    # A front and a back that look the same: +0.7 or -0.7, whatever the state.
    targets = torch.where(torch.rand(512) < 0.6, 0.7, -0.7) + 0.02 * torch.randn(512)
    published, head = (trained(variant, states, targets) for variant in ("tanh_mlp_gelu", "mixture"))
    means, _ = published.read(published(states))
    modes, stds = head.read(head(states))
    assert means.abs().median() < 0.3
    assert ((modes.abs() - 0.7).abs() < 0.1).float().mean() > 0.95
    assert stds.median() < 0.2


def test_bin_centres_are_within_half_a_bin_of_every_value_in_range() -> None:
    bins = Bins(10)
    values = torch.linspace(-1, 1, 101)
    parameters = torch.zeros(101, 10, requires_grad=True)
    bins.loss(parameters, values).sum().backward()
    # The gradient of a cross-entropy is smallest at the bin of the target.
    read, _ = bins.read(-parameters.grad * 100)
    assert (read - values).abs().max() <= 0.1 + 1e-6
    assert read[0].item() == pytest.approx(-0.9)


def test_a_target_outside_of_the_range_goes_to_the_nearest_bin() -> None:
    bins = Bins(4)
    parameters = torch.tensor([[5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 5.0]])
    assert torch.equal(
        bins.loss(parameters, torch.tensor([-30.0, 30.0])), bins.loss(parameters, torch.tensor([-1, 1]))
    )
    assert bins.loss(parameters, torch.tensor([-30.0, 30.0])).max() < 0.1


def test_the_value_of_fine_bins_is_where_most_lies_not_the_highest_of_them() -> None:
    centers = (2 * torch.arange(512) + 1) / 512 - 1
    hill = torch.exp(-((centers - 0.4) / 0.05).square() / 2)
    lone = torch.zeros(512)
    lone[30] = 1.2
    value, std = Bins(512).read((hill + lone).log())
    assert value.item() == pytest.approx(0.4, abs=2 / 512)
    assert std > 0.1, "the lone bin is in the deviation"
    assert Bins(16).read(lone[20:36].log())[0].item() == pytest.approx(2 * 10.5 / 16 - 1), (
        "coarse ones stay as they are"
    )


def test_certain_values_at_both_ends_of_the_range_stay_there() -> None:
    values, _ = Bins(512).read(100 * torch.eye(512)[[0, 511]])
    assert values.tolist() == pytest.approx([-511 / 512, 511 / 512])


def test_the_deviation_of_bins_is_that_of_their_histogram() -> None:
    uniform, certain = torch.zeros(8), torch.tensor([100.0] + 7 * [0.0])
    _, stds = Bins(8).read(torch.stack([uniform, certain]))
    # Of a uniform variable over [-1, 1], and over one bin.
    assert stds.tolist() == pytest.approx([2 / math.sqrt(12), 0.25 / math.sqrt(12)], rel=1e-5)


def test_gaussian_and_mixture_losses_are_torchs_own_likelihoods() -> None:
    torch.manual_seed(0)
    targets = torch.randn(7)
    parameters = torch.randn(7, 2)
    mean, std = Gaussian().read(parameters)
    torch.testing.assert_close(Gaussian().loss(parameters, targets), -Normal(mean, std).log_prob(targets))
    mixture, parameters = GaussianMixture(3), torch.randn(7, 9)
    log_weights, means, stds = mixture._components(parameters)
    oracle = MixtureSameFamily(Categorical(logits=log_weights), Normal(means, stds))
    torch.testing.assert_close(mixture.loss(parameters, targets), -oracle.log_prob(targets))


def test_the_deviation_has_a_floor_and_the_likelihood_a_maximum() -> None:
    parameters = torch.tensor([[0.25, -1e4]], requires_grad=True)
    loss = Gaussian().loss(parameters, torch.tensor([0.25]))
    loss.backward()
    assert Gaussian().read(parameters)[1].item() == pytest.approx(MIN_STD)
    assert loss.isfinite() and parameters.grad.isfinite().all()


def test_the_densest_component_is_not_the_heaviest() -> None:
    # Weights 0.6 and 0.4, but the second is ten times as narrow.
    raw = math.log(math.expm1(0.5 - MIN_STD)), math.log(math.expm1(0.05 - MIN_STD))
    parameters = torch.tensor([math.log(0.6), math.log(0.4), 0.0, 0.0, *raw])
    value, std = GaussianMixture(2).read(parameters)
    assert value.item() == pytest.approx(0.5)  # the second of two evenly spread starts
    assert std.item() == pytest.approx(0.05, rel=1e-3)
