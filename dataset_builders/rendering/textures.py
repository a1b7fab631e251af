"""Procedural textures by number: grey patterns in the object's space that multiply its colour (spec BENCHMARKS)."""

from collections.abc import Callable

import bpy
import numpy as np
from mathutils import Matrix

from ..palette import NUM_TEXTURES
from .nodes import add_node, multiply

Maker = Callable[[bpy.types.NodeTree, np.random.Generator], bpy.types.NodeSocket]

# Part of the identity of published pictures: never change it.
_TEXTURE_SEED = 7
# What the darkest places leave of a colour: one still sees which colour it is.
_DARK = (0.12, 0.4)
# Bricks are a flat pattern: laid in the plane of z and x + y, their rows show on all upright sides.
_BRICK_TURN = tuple((Matrix.Rotation(-np.pi / 2, 3, "X") @ Matrix.Rotation(-np.pi / 4, 3, "Z")).to_euler())


def add_texture(tree: bpy.types.NodeTree, texture: int) -> bpy.types.NodeSocket:
    """Add the nodes of a texture; returns the socket of its factor, between 0 and 1, for the object's colour.

    Textures of the same number modulo 10 are of one kind: stripes, plaid, checks, dots, bricks, patches, cracks,
    clouds, marble, rings. Scale, direction and contrast differ from each to each.

    Raises:
        ValueError: for a number out of [0, `NUM_TEXTURES`).
    """
    if not 0 <= texture < NUM_TEXTURES:
        raise ValueError(f"there are textures 0 to {NUM_TEXTURES - 1}, got {texture}")
    rng = np.random.default_rng(np.random.SeedSequence([_TEXTURE_SEED, texture]))
    return _MAKERS[texture % len(_MAKERS)](tree, rng)


def _place(
    tree: bpy.types.NodeTree, rng: np.random.Generator, turn: tuple[float, ...] = (0.0, 0.0, 0.0), tilt: float = np.pi
) -> bpy.types.NodeSocket:
    """The point in the object's space, shifted and turned: Euler angles of `turn` and up to `tilt` more each way."""
    return add_node(
        tree,
        "ShaderNodeMapping",
        Vector=tree.nodes.new("ShaderNodeTexCoord").outputs["Object"],
        Location=rng.uniform(-1, 1, 3).tolist(),
        Rotation=(np.array(turn) + rng.uniform(-tilt, tilt, 3)).tolist(),
    )


def _between(
    tree: bpy.types.NodeTree, value: bpy.types.NodeSocket, low: float, high: float, rng: np.random.Generator
) -> bpy.types.NodeSocket:
    """Map values of `low` and less to dark, of `high` and more to bright; half of the time the other way around."""
    ends = (rng.uniform(*_DARK), 1.0)
    dark, bright = ends if rng.uniform() < 0.5 else ends[::-1]
    inputs = {"Value": value, "From Min": low, "From Max": high, "To Min": dark, "To Max": bright}
    return add_node(tree, "ShaderNodeMapRange", **inputs)


def _wave(
    tree: bpy.types.NodeTree, place: bpy.types.NodeSocket, direction: str, scale: float, distortion: float = 0.0
) -> bpy.types.NodeSocket:
    """The strength of a wave: `direction` is an axis for bands or SPHERICAL for rings, `scale` in 20 / (2 pi m)."""
    wave = add_node(tree, "ShaderNodeTexWave", Vector=place, Scale=scale, Distortion=distortion)
    if direction == "SPHERICAL":
        wave.node.wave_type, wave.node.rings_direction = "RINGS", direction
    else:
        wave.node.bands_direction = direction
    return wave.node.outputs["Fac"]


def _stripes(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    edge, place = rng.uniform(0.3, 0.7), _place(tree, rng)
    return _between(tree, _wave(tree, place, "X", rng.uniform(1.0, 4.0)), edge - 0.05, edge + 0.05, rng)


def _plaid(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    """Bands across all three axes; where they cross they darken twice."""
    place = _place(tree, rng, tilt=0.2)
    scale, edge, dark = rng.uniform(1.2, 3.0), rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.5)
    crossed = None
    for axis in "XYZ":
        inputs = {"From Min": edge - 0.04, "From Max": edge + 0.04, "To Min": dark, "To Max": 1.0}
        band = add_node(tree, "ShaderNodeMapRange", Value=_wave(tree, place, axis, scale), **inputs)
        crossed = band if crossed is None else multiply(tree, crossed, band)
    assert crossed is not None  # there are three axes
    return crossed


def _checks(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    checks = add_node(tree, "ShaderNodeTexChecker", Vector=_place(tree, rng, tilt=0.3), Scale=rng.uniform(3.0, 11.0))
    return _between(tree, checks.node.outputs["Fac"], 0.0, 1.0, rng)


def _dots(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    distance = _voronoi(tree, _place(tree, rng), rng.uniform(4.0, 11.0), rng.choice([0.0, 1.0]).item())
    edge = rng.uniform(0.3, 0.45)
    return _between(tree, distance.node.outputs["Distance"], edge - 0.03, edge + 0.03, rng)


def _bricks(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    dark = rng.uniform(*_DARK)
    bricks = add_node(
        tree,
        "ShaderNodeTexBrick",
        Vector=_place(tree, rng, _BRICK_TURN, tilt=0.1),
        Scale=rng.uniform(1.5, 4.0),
        Color1=(1.0, 1.0, 1.0, 1.0),
        Color2=(*[rng.uniform(0.6, 0.95)] * 3, 1.0),
        Mortar=(dark, dark, dark, 1.0),
    )
    bricks.node.inputs["Mortar Size"].default_value = rng.uniform(0.02, 0.05)
    return bricks


def _patches(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    cells = _voronoi(tree, _place(tree, rng), rng.uniform(3.0, 10.0), 1.0)
    shade = add_node(tree, "ShaderNodeSeparateColor", Color=cells.node.outputs["Color"])
    return _between(tree, shade, 0.2, 0.8, rng)


def _cracks(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    cells = _voronoi(tree, _place(tree, rng), rng.uniform(3.0, 8.0), rng.uniform(0.7, 1.0))
    cells.node.feature = "DISTANCE_TO_EDGE"
    width = rng.uniform(0.03, 0.09)
    return _between(tree, cells.node.outputs["Distance"], width, width + 0.03, rng)


def _clouds(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    noise = add_node(
        tree, "ShaderNodeTexNoise", Vector=_place(tree, rng), Scale=rng.uniform(2.5, 9.0), Detail=rng.uniform(0.0, 6.0)
    )
    width = rng.uniform(0.02, 0.15)
    return _between(tree, noise.node.outputs["Fac"], 0.5 - width, 0.5 + width, rng)


def _marble(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    wave = _wave(tree, _place(tree, rng), "X", rng.uniform(0.8, 2.5), distortion=rng.uniform(4.0, 14.0))
    wave.node.inputs["Detail"].default_value = 3.0
    return _between(tree, wave, 0.0, rng.uniform(0.4, 1.0), rng)


def _rings(tree: bpy.types.NodeTree, rng: np.random.Generator) -> bpy.types.NodeSocket:
    wave = _wave(tree, _place(tree, rng), "SPHERICAL", rng.uniform(1.0, 4.0), distortion=rng.uniform(0.0, 2.0))
    edge = rng.uniform(0.3, 0.7)
    return _between(tree, wave, edge - 0.1, edge + 0.1, rng)


def _voronoi(
    tree: bpy.types.NodeTree, place: bpy.types.NodeSocket, scale: float, randomness: float
) -> bpy.types.NodeSocket:
    return add_node(tree, "ShaderNodeTexVoronoi", Vector=place, Scale=scale, Randomness=randomness)


_MAKERS: tuple[Maker, ...] = (
    _stripes,
    _plaid,
    _checks,
    _dots,
    _bricks,
    _patches,
    _cracks,
    _clouds,
    _marble,
    _rings,
)
