"""Fixed scenes and hypothesis strategies that the tests of the language share."""

from hypothesis import strategies as st
from scipy.spatial.transform import Rotation as Oracle

from modeling_igllm import (
    COLORS,
    MATERIALS,
    REPRESENTATION_SIZES,
    SIZES,
    ClevrObject,
    Point2D,
    PosedObject,
    Rotation,
    SceneObject,
    SceneProgram,
)

SPHERE = ClevrObject("small", "red", "metal", "sphere", (1.234, -0.567, 0.35))
CUBE = ClevrObject("large", "gray", "rubber", "cube", (-2.01, 0.125, 0.7), 0.412)
POINT = Point2D(0.123, 0.456)
POSED = PosedObject("blue", "car_1a", (0.1, -0.2, 0.5), Rotation((0.36, 0.48, -0.8, -0.8, 0.6, 0.0), "6d"))

CLEVR_TEXT = (
    "add(size='small', color='red', material='metal', shape='sphere', loc=(1.234, -0.567, 0.350))\n"
    "add(size='large', color='gray', material='rubber', shape='cube', loc=(-2.010, 0.125, 0.700), rotation=0.412)\n"
)
POINT_TEXT = "add(x=0.123, y=0.456)\n"
POSED_TEXT = (
    "add(color='blue', shape='car_1a', loc=(0.100, -0.200, 0.500), "
    "rotation=(0.360, 0.480, -0.800, -0.800, 0.600, 0.000))\n"
)

_numbers = st.floats(-1e6, 1e6) | st.floats(-10, 10) | st.sampled_from([0.0, -0.0, -0.0004, 0.0005, 1e6, -1e6])
_locations = st.tuples(_numbers, _numbers, _numbers)
_colors = st.sampled_from(COLORS)
_shapes = st.from_regex(r"[a-z0-9-]{1,8}(_[a-z0-9_-]{1,8})?", fullmatch=True)
_points = st.builds(Point2D, _numbers, _numbers)
_words = (st.sampled_from(SIZES), _colors, st.sampled_from(MATERIALS))
_cubes = st.builds(ClevrObject, *_words, st.just("cube"), _locations, st.none() | _numbers)
_round_shapes = st.builds(ClevrObject, *_words, st.sampled_from(["sphere", "cylinder"]), _locations)


def _rotations(representation: str) -> st.SearchStrategy[Rotation]:
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: Rotation.from_matrix(Oracle.random(random_state=seed).as_matrix(), representation))


def _scenes_of(objects: st.SearchStrategy[SceneObject]) -> st.SearchStrategy[SceneProgram]:
    return st.lists(objects, max_size=5).map(lambda items: SceneProgram(tuple(items)))


def scenes() -> st.SearchStrategy[SceneProgram]:
    """Scenes of every kind, and posed ones in every representation."""
    posed = [
        _scenes_of(st.builds(PosedObject, _colors, _shapes, _locations, _rotations(representation)))
        for representation in REPRESENTATION_SIZES
    ]
    return st.one_of(_scenes_of(_points), _scenes_of(_cubes | _round_shapes), *posed)


def representation_of(scene: SceneProgram) -> str:
    """The rotation representation to read the text or JSON of `scene` with."""
    return next((item.rotation.representation for item in scene if isinstance(item, PosedObject)), "6d")
