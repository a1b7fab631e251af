"""The library's names: `category_NN`, the same mesh for the same name on every machine."""

from collections.abc import Callable

import numpy as np

from .airplanes import make_airplane
from .bottles import make_bottle
from .cars import make_car
from .chairs import make_chair
from .lamps import make_lamp
from .mugs import make_mug
from .shape_mesh import Part, ShapeMesh, assemble
from .sofas import make_sofa
from .tables import make_table

_MAKERS: dict[str, Callable[[int, np.random.Generator], list[Part]]] = {
    "airplane": make_airplane,
    "car": make_car,
    "chair": make_chair,
    "table": make_table,
    "sofa": make_sofa,
    "lamp": make_lamp,
    "bottle": make_bottle,
    "mug": make_mug,
}
CATEGORIES = tuple(_MAKERS)
VARIANTS = 24  # of every category
# Part of the identity of published scenes, as the order of `_MAKERS`: never change either.
_LIBRARY_SEED = 2024


def shape_names() -> tuple[str, ...]:
    """Return all names, category by category: "airplane_00", "airplane_01", ..."""
    return tuple(f"{category}_{variant:02d}" for category in CATEGORIES for variant in range(VARIANTS))


def make_parts(name: str) -> list[Part]:
    """Return the closed solids of a shape before they are centred and scaled.

    Raises:
        KeyError: for a name that is not in the library.
    """
    if name not in shape_names():
        raise KeyError(
            f"no shape {name!r} in the library: it has {', '.join(CATEGORIES)}, each _00 to _{VARIANTS - 1}"
        )
    category, _, variant = name.partition("_")
    stream = np.random.SeedSequence([_LIBRARY_SEED, CATEGORIES.index(category), int(variant)])
    return _MAKERS[category](int(variant), np.random.default_rng(stream))


def make_shape(name: str) -> ShapeMesh:
    """Return the mesh of a library name such as "mug_07": centred, longest side 1 m, front +x, up +z.

    Raises:
        KeyError: for a name that is not in the library.
    """
    return assemble(make_parts(name))
