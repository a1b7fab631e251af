"""Meshes as plain data: the closed solids that a shape is put together from, and the finished, normalised shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Faces = tuple[tuple[int, ...], ...]

# Shapes are rounded to this many decimals of a metre: a last bit that another processor computes differently is gone.
DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Part:
    """One closed solid in arbitrary units.

    Attributes:
        vertices: (N, 3) float64.
        faces: vertex numbers of each polygon, counter-clockwise seen from outside.
        is_trim: it stays dark grey (tyre, glass, screw cap) whatever colour the object has.
    """

    vertices: np.ndarray
    faces: Faces
    is_trim: bool = False

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Part":
        """The same part elsewhere."""
        return replace(self, vertices=np.add(self.vertices, (x, y, z)))

    def turned(self, axis: str, degrees: float) -> "Part":
        """The same part turned about the "x", "y" or "z" axis through the origin, by the right-hand rule."""
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        vertices = self.vertices.copy()
        vertices[:, first] = cosine * self.vertices[:, first] - sine * self.vertices[:, second]
        vertices[:, second] = sine * self.vertices[:, first] + cosine * self.vertices[:, second]
        return replace(self, vertices=vertices)

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Part":
        """The same part scaled along the axes by positive factors."""
        return replace(self, vertices=self.vertices * (x, y, z))

    def mirrored(self) -> "Part":
        """The part's mirror image on the other side of the xz plane."""
        return replace(self, vertices=self.vertices * (1, -1, 1), faces=tuple(face[::-1] for face in self.faces))

    def both_sides(self) -> "list[Part]":
        """The part and its mirror image: wings, wheels, arms."""
        return [self, self.mirrored()]

    def as_trim(self) -> "Part":
        """The same part in dark grey."""
        return replace(self, is_trim=True)


@dataclass(frozen=True, eq=False)
class ShapeMesh:
    """A shape as polygons: its box is centred at the origin and 1 m along the longest side; front +x, up +z.

    Attributes:
        vertices: (N, 3) float64 metres, read-only.
        faces: vertex numbers of each polygon, counter-clockwise seen from outside; planar or nearly so.
        trim: for each face whether it stays dark grey instead of showing the object's colour.
    """

    vertices: np.ndarray
    faces: Faces
    trim: tuple[bool, ...]

    @property
    def size(self) -> np.ndarray:
        """The sides (3,) of the bounding box in metres."""
        return self.vertices.max(axis=0) - self.vertices.min(axis=0)


def assemble(parts: Sequence[Part]) -> ShapeMesh:
    """Put parts together as they lie, then centre and scale the whole.

    Raises:
        ValueError: without any part.
    """
    vertices = np.concatenate([part.vertices for part in parts])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = np.round((vertices - (low + high) / 2) / (high - low).max(), DECIMALS) + 0.0  # no negative zeros
    vertices.flags.writeable = False
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)]).tolist()
    faces = tuple(
        tuple(offset + corner for corner in face)
        for part, offset in zip(parts, offsets[:-1], strict=True)
        for face in part.faces
    )
    return ShapeMesh(vertices, faces, tuple(part.is_trim for part in parts for _ in part.faces))
