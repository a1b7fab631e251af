"""The shapes that `shapenet` scenes are drawn from, and which of them training never sees."""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from .camera import Vector3
from .mesh_index import MeshIndex
from .random_streams import FAMILY_CODES
from .shape_library import make_shape, shape_names

UNSEEN_SHARE = 0.2  # of the shapes of a category, and of the textures

Item = TypeVar("Item")


def fixed_choice() -> np.random.Generator:
    """A new generator for choices that are the same for every split and seed."""
    return np.random.default_rng(FAMILY_CODES["shapenet"])


def split_off_unseen(items: Sequence[Item], rng: np.random.Generator) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Return (trained, unseen) items, each in their order; at least one of two or more is unseen."""
    count = max(round(UNSEEN_SHARE * len(items)), min(1, len(items) - 1))
    unseen = set(rng.permutation(len(items))[:count].tolist())
    trained = tuple(item for number, item in enumerate(items) if number not in unseen)
    return trained, tuple(item for number, item in enumerate(items) if number in unseen)


class ShapeCatalog:
    """Shapes by name (`category_id`), with their sizes.

    Args:
        names: of all shapes, in an order that decides which are unseen.
        size: gives the sides of a shape's box in metres, its longest 1.
    """

    def __init__(self, names: Sequence[str], size: Callable[[str], Vector3]) -> None:
        self.names = tuple(names)
        self.size = size

    @cached_property
    def trained(self) -> tuple[tuple[str, ...], ...]:
        """The shapes of `train`, `val_id` and `val_ood_texture`, category by category."""
        return tuple(trained for trained, _ in self._split)

    @cached_property
    def unseen(self) -> tuple[tuple[str, ...], ...]:
        """The shapes of `val_ood_shape`, category by category; a category of a single shape has none."""
        return tuple(unseen for _, unseen in self._split if unseen)

    @cached_property
    def _split(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        categories: dict[str, list[str]] = {}
        for name in self.names:
            categories.setdefault(name.partition("_")[0], []).append(name)
        rng = fixed_choice()
        return [split_off_unseen(names, rng) for names in categories.values()]


@cache
def _library_size(name: str) -> Vector3:
    x, y, z = make_shape(name).size.tolist()
    return x, y, z


LIBRARY = ShapeCatalog(shape_names(), _library_size)


@cache
def catalog_of(index: MeshIndex) -> ShapeCatalog:
    """The catalog of a user's meshes."""
    return ShapeCatalog(tuple(index.sizes), index.sizes.__getitem__)
