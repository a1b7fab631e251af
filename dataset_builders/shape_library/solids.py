"""Closed solids: lofts through rings, and what is made of them: lathe, sweep, extrusion, wing, box."""

from itertools import pairwise

import numpy as np

from .curves import Points, circle
from .shape_mesh import Faces, Part


def loft(rings: np.ndarray, is_loop: bool = False) -> Part:
    """Join rings of points (S, N, 3) into one solid, each running counter-clockwise about the way from ring to ring.

    A ring of equal points becomes a tip; other ends are closed by a flat face, or joined to each other by `is_loop`.
    """
    stations, sides = rings.shape[:2]
    numbers = np.arange(stations * sides).reshape(stations, sides)
    is_tip = np.abs(rings - rings[:, :1]).max(axis=(1, 2)) < 1e-12
    numbers[is_tip] = numbers[is_tip, :1]
    faces = []
    for here, there in pairwise([*numbers, numbers[0]] if is_loop else numbers):
        quads = np.stack([here, np.roll(here, -1), np.roll(there, -1), there], axis=1)
        faces += [_without_repeats(quad) for quad in quads.tolist()]
    if not is_loop:
        ends = (numbers[0, ::-1], is_tip[0]), (numbers[-1], is_tip[-1])
        faces += [ring.tolist() for ring, tip in ends if not tip]
    return _compacted(rings.reshape(-1, 3), [face for face in faces if len(face) > 2])


def lathe(profile: Points, outline: np.ndarray | None = None) -> Part:
    """Turn a profile (S, 2) of (radius, z) about the z axis; it runs upwards along the outside.

    Radii scale `outline` (N, 2), by default a circle of 32 sides. A profile that ends where it starts makes a ring.
    """
    ring = circle() if outline is None else outline
    radius, height = np.asarray(profile, dtype=float).T
    is_loop = bool(np.hypot(radius[0] - radius[-1], height[0] - height[-1]) < 1e-12)
    flat = radius[:, None, None] * ring
    points = np.concatenate([flat, np.broadcast_to(height[:, None, None], (*flat.shape[:2], 1))], axis=-1)
    return loft(points[:-1] if is_loop else points, is_loop)


def sweep(path: Points, outline: np.ndarray, side: tuple[float, float, float]) -> Part:
    """Carry an outline (N, 2) or one per point (S, N, 2) along a path (S, 3), without twisting it.

    The outline's x direction starts towards `side`, which must not be parallel to the path's first step.
    """
    points = np.asarray(path, dtype=float)
    tangents = _unit(np.gradient(points, axis=0))
    right = np.asarray(side, dtype=float)
    rings = []
    for point, tangent, flat in zip(
        points, tangents, np.broadcast_to(outline, (len(points), *outline.shape[-2:])), strict=True
    ):
        right = _unit(right - tangent * (right @ tangent))
        rings.append(point + flat @ np.stack([right, np.cross(tangent, right)]))
    return loft(np.stack(rings))


def tube(path: Points, radius: float | np.ndarray, sides: int = 12) -> Part:
    """Return a round rod along a path (S, 3), of one radius or one for each point (S,)."""
    points = np.asarray(path, dtype=float)
    start = points[1] - points[0]
    side = np.eye(3)[np.abs(start).argmin()]
    radii = np.broadcast_to(radius, len(points))[:, None, None]
    return sweep(points, radii * circle(sides=sides), tuple(side))


def extrude(outline: np.ndarray, height: float, bevel: float = 0.0) -> Part:
    """Raise an outline (N, 2), counter-clockwise, from z = 0 to `height`; `bevel` rounds the edges of both ends."""
    if bevel == 0.0:
        inset, levels = np.zeros(2), np.array([0.0, height])
    else:
        quarter = np.radians([0.0, 30.0, 60.0, 90.0])
        inset = bevel * np.concatenate([1 - np.sin(quarter), 1 - np.sin(quarter[::-1])])
        levels = np.concatenate([bevel * (1 - np.cos(quarter)), height - bevel * (1 - np.cos(quarter[::-1]))])
    rings = [
        np.column_stack([_inset(outline, far), np.full(len(outline), z)]) for far, z in zip(inset, levels, strict=True)
    ]
    return loft(np.stack(rings))


def wing(sections: list[tuple[float, float, float, float]], thickness: float = 0.12, sides: int = 20) -> Part:
    """Return a wing through airfoils given as (x of the leading edge, y, z, chord), from the root towards +y.

    `thickness` is that of the airfoil over its chord: the four-digit NACA series without camber.
    """
    outline = _airfoil(thickness, sides)
    rings = []
    for x, y, z, chord in sections:
        rings.append(np.column_stack([x - chord * outline[:, 0], np.full(sides, y), z + chord * outline[:, 1]]))
    return loft(np.stack(rings))


def box(size: tuple[float, float, float], bevel: float = 0.02, segments: int = 1) -> Part:
    """Return a box around the origin whose edges and corners are rounded with radius `bevel`.

    Raises:
        ValueError: if the bevel is not less than half of every side.
    """
    half = np.array(size) / 2
    if not 0.0 < bevel < half.min():
        raise ValueError(f"a bevel of {bevel} does not fit a box of {size}: take less than {half.min()}")
    count = 2 * (segments + 1)
    offsets = np.tan(np.radians(45) * np.arange(segments + 1) / segments)
    offsets, signs = np.concatenate([offsets[::-1], offsets]), np.repeat([-1.0, 1.0], segments + 1)
    lattice = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1)
    on_surface = ((lattice == 0) | (lattice == count - 1)).any(axis=-1)
    numbers = np.full((count,) * 3, -1)
    numbers[on_surface] = np.arange(on_surface.sum())
    corners = lattice[on_surface]
    vertices = signs[corners] * (half - bevel) + bevel * _unit(signs[corners] * offsets[corners])
    return Part(vertices, _lattice_faces(numbers))


def _lattice_faces(numbers: np.ndarray) -> Faces:
    """The quads on the six sides of a lattice of vertex numbers, counter-clockwise from outside."""
    faces: list[list[int]] = []
    for axis in range(3):
        for end in (0, -1):
            grid = numbers.take(end, axis=axis)
            quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1).reshape(-1, 4)
            # Rows and columns of the middle axis are x and z, which turn the other way around.
            faces += (quads if (end == -1) != (axis == 1) else quads[:, ::-1]).tolist()
    return tuple(map(tuple, faces))


def _airfoil(thickness: float, sides: int) -> np.ndarray:
    """A closed airfoil (sides, 2) from leading edge x = 0 to trailing edge x = 1, in the sense that lofts to +y."""
    angles = 2 * np.pi * np.arange(sides) / sides
    x = (1 - np.cos(angles)) / 2
    half = 5 * thickness * (0.2969 * np.sqrt(x) - 0.126 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4)
    return np.column_stack([x, np.where(angles <= np.pi, -1.0, 1.0) * half])


def _inset(outline: np.ndarray, distance: float) -> np.ndarray:
    """Move every edge of a counter-clockwise outline inwards."""
    ahead, behind = _unit(np.roll(outline, -1, axis=0) - outline), _unit(outline - np.roll(outline, 1, axis=0))
    inwards = np.stack([-(ahead + behind)[:, 1], (ahead + behind)[:, 0]], axis=1)
    return outline + 2 * distance * inwards / (inwards**2).sum(axis=1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _without_repeats(face: list[int]) -> list[int]:
    return [corner for corner, previous in zip(face, [face[-1], *face[:-1]], strict=True) if corner != previous]


def _compacted(points: np.ndarray, faces: list[list[int]]) -> Part:
    """Drop the points that no face uses."""
    used = np.unique(np.concatenate([np.array(face) for face in faces]))
    renumbered = {old: new for new, old in enumerate(used.tolist())}
    return Part(points[used], tuple(tuple(renumbered[corner] for corner in face) for face in faces))
