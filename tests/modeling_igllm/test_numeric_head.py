"""Promises of the numeric head and its loss, for every kind of head."""

import math

import pytest
import torch

from modeling_igllm.numeric_head import NUMBER_HEADS, BinLogits, NumericHead, number_loss

HEADS = NUMBER_HEADS[1:]
every_head = pytest.mark.parametrize("variant", HEADS)


def make_head(variant: str, hidden_size: int = 8) -> NumericHead:
    """A random head, the same for the same arguments."""
    torch.manual_seed(0)
    return NumericHead(hidden_size, variant, bins=16, components=3)


def test_published_head_has_the_published_parameter_count_and_names() -> None:
    with torch.device("meta"):
        head = NumericHead(4096, "tanh_mlp_gelu")
    assert sum(parameter.numel() for parameter in head.parameters()) == 16_785_409
    names = ["layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"]
    assert [name for name, _ in head.named_parameters()] == names


def test_published_head_is_tanh_linear_gelu_linear() -> None:
    head = make_head("tanh_mlp_gelu", 4)
    first, second = head.layers[1], head.layers[3]
    states = torch.randn(2, 5, 4)
    expected = torch.nn.functional.gelu(torch.tanh(states) @ first.weight.T + first.bias) @ second.weight.T
    torch.testing.assert_close(head.read(head(states))[0], (expected + second.bias).squeeze(-1))


def test_linear_variant_is_one_layer() -> None:
    head = make_head("linear", 4)
    states = torch.randn(3, 4)
    expected = states @ head.layers[0].weight[0] + head.layers[0].bias
    torch.testing.assert_close(head.read(head(states))[0], expected)


@every_head
def test_values_and_deviations_have_the_shape_of_the_states(variant: str) -> None:
    head = make_head(variant)
    parameters = head(torch.randn(2, 5, 8))
    values, stds = head.read(parameters)
    assert values.shape == (2, 5)
    assert head.loss(parameters.flatten(0, 1), torch.zeros(10)).shape == (10,)
    if variant in ("linear", "tanh_mlp_gelu"):
        assert stds is None
    else:
        assert stds.shape == (2, 5)
        assert (stds > 0).all()


@every_head
def test_head_keeps_float32_in_a_bfloat16_model(variant: str) -> None:
    head = make_head(variant)
    weights = [parameter.detach().clone() for parameter in head.parameters()]
    outer = torch.nn.Sequential(head).bfloat16()
    for actual, expected in zip(outer.parameters(), weights, strict=True):
        assert torch.equal(actual, expected)
    parameters = head(torch.randn(2, 8).bfloat16())
    assert parameters.dtype == head.read(parameters)[0].dtype == torch.float32


@every_head
def test_head_and_loss_compute_in_float32_under_autocast(variant: str) -> None:
    head = make_head(variant, hidden_size=64)
    states, targets = torch.randn(4, 64), torch.rand(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parameters = head(states)
        loss, (values, _) = head.loss(parameters, targets), head.read(parameters)
    assert torch.equal(parameters, head(states))
    assert torch.equal(loss, head.loss(parameters, targets))
    assert torch.equal(values, head.read(parameters)[0])
    assert loss.dtype == values.dtype == torch.float32


@every_head
def test_every_parameter_of_a_fresh_head_gets_a_gradient(variant: str) -> None:
    head = make_head(variant)
    # Far outside of the range as well, where bins and likelihoods could have none.
    head.loss(head(torch.randn(2, 8)), torch.tensor([0.3, 40.0])).sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in head.parameters())


def test_unknown_variant_is_quoted() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        NumericHead(4, "cubic")


def test_number_loss_is_the_mean_square_over_shifted_positions() -> None:
    numbers = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]).unsqueeze(-1)
    labels = torch.tensor([[math.nan, 0.5, math.nan, 1.0], [math.nan, math.nan, 4.0, math.nan]])
    is_number = ~torch.isnan(labels)
    head = make_head("linear")
    # Position t answers for token t + 1: 1 -> 0.5, 3 -> 1.0, 6 -> 4.0.
    expected = (0.5**2 + 2.0**2 + 2.0**2) / 3
    assert number_loss(head, numbers, labels, is_number).item() == pytest.approx(expected)
    assert number_loss(head, numbers, labels, is_number, denominator=6).item() == pytest.approx(expected / 2)


def test_weights_count_each_number_s_loss_so_often() -> None:
    numbers, labels = torch.zeros(1, 3, 1), torch.tensor([[math.nan, 1.0, 3.0]])
    weights = torch.tensor([[9.0, 1.0, 4.0]])
    loss = number_loss(make_head("linear"), numbers, labels, ~labels.isnan(), weights)
    assert loss.item() == pytest.approx((1 + 4 * 9) / 2)


def test_neighbouring_bins_begin_with_like_weights_of_the_usual_variance() -> None:
    layer = BinLogits(192, 512)
    weights = layer.smooth_weights()
    assert weights.shape == layer.weight.shape
    assert weights.var().item() == pytest.approx(1 / (3 * 192), rel=0.15)
    neighbours, far = weights[1:] - weights[:-1], weights[256:] - weights[:256]
    assert neighbours.norm() < 0.1 * far.norm() * math.sqrt(2)
    assert BinLogits(8, 7).smooth_weights().isfinite().all()  # fewer bins than waves


def test_smooth_weights_are_float32_where_another_type_is_the_default() -> None:
    layer = BinLogits(16, 512)
    torch.set_default_dtype(torch.bfloat16)
    try:
        weights = layer.smooth_weights()
    finally:
        torch.set_default_dtype(torch.float32)
    assert weights.dtype == torch.float32
    assert not (weights[1:] == weights[:-1]).all(dim=1).any()


@every_head
def test_number_loss_without_numbers_is_zero_and_has_a_graph(variant: str) -> None:
    head = make_head(variant)
    parameters = head(torch.randn(2, 3, 8))
    loss = number_loss(head, parameters, torch.full((2, 3), math.nan), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert all(torch.equal(parameter.grad, torch.zeros_like(parameter)) for parameter in head.parameters())


def test_number_token_without_a_value_is_an_error() -> None:
    is_number = torch.tensor([[False, True, False]])
    with pytest.raises(ValueError, match="1 of 1 number tokens"):
        number_loss(make_head("linear"), torch.zeros(1, 3, 1), torch.full((1, 3), math.nan), is_number)
