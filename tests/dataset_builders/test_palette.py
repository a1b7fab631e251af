"""Colours as they are written become the linear values that shaders take."""

import re

import pytest

from dataset_builders.palette import COLOR_VALUES, named_color, srgb_color


def test_a_colour_as_on_a_screen_becomes_linear() -> None:
    # 188 is the sRGB value of half the light, and 10 lies on the curve's straight part.
    assert srgb_color("#ffbc0a") == pytest.approx((1.0, 0.502886, 0.003035), abs=1e-6)
    assert srgb_color("#000000") == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("text", ["fc8d62", "#fc8d6", "salmonish"])
def test_what_is_no_colour_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        srgb_color(text)


def test_named_colours_are_linear_already() -> None:
    assert {name: named_color(name) for name in COLOR_VALUES}["gray"] == (87 / 255,) * 3
