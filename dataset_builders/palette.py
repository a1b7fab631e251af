"""What objects are painted with: CLEVR's colours as linear shader values (spec BENCHMARKS, "Look"), and textures."""

import numpy as np
from PIL import ImageColor

RGB = tuple[float, float, float]

# Value / 255, used directly as linear shader colour as the CLEVR generator does.
COLOR_VALUES = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}

# Procedural textures by number (`rendering/textures.py`).
NUM_TEXTURES = 100


def named_color(name: str) -> RGB:
    """Return a CLEVR colour as linear RGB in [0, 1]; KeyError for an unknown name."""
    red, green, blue = COLOR_VALUES[name]
    return red / 255, green / 255, blue / 255


def srgb_color(text: str) -> RGB:
    """Return a colour that is written as on a screen, such as `#fc8d62`, as linear RGB in [0, 1].

    Raises:
        ValueError: if Pillow's `ImageColor` does not know the colour.
    """
    red, green, blue = srgb_to_linear(np.array(ImageColor.getrgb(text)[:3]) / 255).tolist()
    return red, green, blue


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Inverse of sRGB's transfer function (IEC 61966-2-1), of values in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
