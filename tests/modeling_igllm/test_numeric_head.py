"""Promises of the numeric head and its loss."""

import math

import pytest
import torch

from modeling_igllm.numeric_head import NumericHead, number_loss


def test_published_head_has_the_published_parameter_count() -> None:
    with torch.device("meta"):
        head = NumericHead(4096, "tanh_mlp_gelu")
    assert sum(parameter.numel() for parameter in head.parameters()) == 16_785_409


def test_head_is_tanh_linear_gelu_linear_times_scale() -> None:
    head = NumericHead(4, "tanh_mlp_gelu", scale=3)
    first, second = head.layers[1], head.layers[3]
    states = torch.randn(2, 5, 4)
    expected = torch.nn.functional.gelu(torch.tanh(states) @ first.weight.T + first.bias) @ second.weight.T
    torch.testing.assert_close(head(states), 3 * (expected + second.bias).squeeze(-1))


def test_linear_variant_is_one_layer() -> None:
    head = NumericHead(4, "linear")
    states = torch.randn(3, 4)
    torch.testing.assert_close(head(states), states @ head.layers[0].weight[0] + head.layers[0].bias)


def test_head_keeps_float32_in_a_bfloat16_model() -> None:
    head = NumericHead(8, "tanh_mlp_gelu")
    weights = head.layers[1].weight.detach().clone()
    outer = torch.nn.Sequential(head).bfloat16()
    assert torch.equal(outer[0].layers[1].weight, weights)
    assert head(torch.randn(2, 8).bfloat16()).dtype == torch.float32


def test_head_computes_in_float32_under_autocast() -> None:
    head = NumericHead(64, "tanh_mlp_gelu")
    states = torch.randn(4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = head(states)
    assert torch.equal(under_autocast, head(states))


def test_unknown_variant_is_quoted() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        NumericHead(4, "cubic")  # type: ignore[arg-type]


def test_number_loss_is_the_mean_square_over_shifted_positions() -> None:
    numbers = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    labels = torch.tensor([[math.nan, 0.5, math.nan, 1.0], [math.nan, math.nan, 4.0, math.nan]])
    is_number = ~torch.isnan(labels)
    # Position t answers for token t + 1: 1 -> 0.5, 3 -> 1.0, 6 -> 4.0.
    expected = (0.5**2 + 2.0**2 + 2.0**2) / 3
    assert number_loss(numbers, labels, is_number).item() == pytest.approx(expected)
    assert number_loss(numbers, labels, is_number, denominator=6).item() == pytest.approx(expected / 2)


def test_number_loss_without_numbers_is_zero_and_has_a_graph() -> None:
    numbers = torch.randn(2, 3, requires_grad=True)
    loss = number_loss(numbers, torch.full((2, 3), math.nan), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(numbers.grad, torch.zeros(2, 3))


def test_number_token_without_a_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 of 1 number tokens"):
        number_loss(torch.zeros(1, 3), torch.full((1, 3), math.nan), torch.tensor([[False, True, False]]))
