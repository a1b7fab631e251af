"""Typed scenes and their JSON (SCENE_PROGRAM)."""

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_scenes import CUBE, POINT, POSED, SPHERE, representation_of, scenes

from modeling_igllm import ClevrObject, Point2D, Rotation, SceneProgram, SceneProgramError


def as_json(scene: SceneProgram) -> Any:
    return json.loads(json.dumps(scene.to_json()))


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_json_is_exact(scene: SceneProgram) -> None:
    assert SceneProgram.from_json(as_json(scene), rotation=representation_of(scene)) == scene


def test_absent_attributes_are_absent_keys() -> None:
    assert SceneProgram((SPHERE, CUBE)).to_json() == {
        "objects": [
            {"size": "small", "color": "red", "material": "metal", "shape": "sphere", "loc": [1.234, -0.567, 0.35]},
            {
                "size": "large",
                "color": "gray",
                "material": "rubber",
                "shape": "cube",
                "loc": [-2.01, 0.125, 0.7],
                "rotation": 0.412,
            },
        ]
    }
    assert SceneProgram((POINT,)).to_json() == {"objects": [{"x": 0.123, "y": 0.456}]}


def test_a_cube_may_come_without_yaw() -> None:
    cube = dataclasses.replace(CUBE, rotation=None)
    assert SceneProgram.from_json(as_json(SceneProgram((cube,)))).objects == (cube,)


def test_the_file_of_predict_loads_as_a_superset() -> None:
    data = {**as_json(SceneProgram((POINT,))), "program": "add(x=0.123, y=0.456)\n", "image": "a.png"}
    assert SceneProgram.from_json(data).objects == (POINT,)


def test_json_integers_are_numbers() -> None:
    scene = SceneProgram.from_json({"objects": [{"x": 0, "y": 1}]})
    assert scene == SceneProgram((Point2D(0.0, 1.0),))
    assert all(type(number) is float for number in scene.numbers)


def test_numbers_are_in_canonical_writing_order() -> None:
    assert SceneProgram((SPHERE, CUBE)).numbers == [1.234, -0.567, 0.35, -2.01, 0.125, 0.7, 0.412]
    assert SceneProgram((POSED,)).numbers == [*POSED.loc, *POSED.rotation.values]
    assert SceneProgram((POINT,)).numbers == [0.123, 0.456]
    assert SceneProgram(()).numbers == []


def test_equality_is_ordered() -> None:
    assert SceneProgram((SPHERE, CUBE)) != SceneProgram((CUBE, SPHERE))
    assert SceneProgram((SPHERE, CUBE)) == SceneProgram([SPHERE, CUBE])  # type: ignore[arg-type]


def test_scenes_are_immutable_hashable_and_copyable() -> None:
    scene = SceneProgram((POSED,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        scene.objects = ()  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        POINT.x = 1.0  # type: ignore[misc]
    assert copy.deepcopy(scene) == scene
    assert len({scene, SceneProgram((POSED,))}) == 1
    assert len(scene) == 1 and list(scene) == [POSED]


def test_errors_survive_the_copy_between_processes() -> None:
    error = SceneProgramError("message", expected="a number", line=2, column=7, attribute="x")
    twin = copy.copy(error)  # the same protocol as pickle
    assert (str(twin), twin.expected, twin.line, twin.column, twin.attribute) == ("message", "a number", 2, 7, "x")


def test_rounding_is_that_of_the_text_and_never_a_negative_zero() -> None:
    rounded = SceneProgram((Point2D(-0.0004, 0.0625),)).rounded(3)
    assert str(rounded.objects[0]) == "Point2D(x=0.0, y=0.062)"
    assert SceneProgram((CUBE,)).rounded(1).numbers == [-2.0, 0.1, 0.7, 0.4]
    rotation = Rotation((0.12345, 0.0, -0.00001), "aa")
    posed = dataclasses.replace(POSED, rotation=rotation).rounded(3)
    assert str(posed.rotation.values) == "(0.123, 0.0, 0.0)"


def test_rounding_away_a_rotation_is_an_error() -> None:
    posed = dataclasses.replace(POSED, rotation=Rotation((0.0, 0.0, 0.0, 1e-5), "quat"))
    with pytest.raises(SceneProgramError, match="quat"):
        SceneProgram((posed,)).rounded(3)


def test_numpy_numbers_become_floats() -> None:
    sphere = dataclasses.replace(SPHERE, loc=np.array([1, 2, 3], dtype=np.float32))  # type: ignore[arg-type]
    assert sphere.loc == (1.0, 2.0, 3.0) and all(type(number) is float for number in sphere.loc)
    assert type(Point2D(np.float32(0.5), np.int64(1)).x) is float  # type: ignore[arg-type]


def test_two_kinds_in_one_scene_are_refused() -> None:
    with pytest.raises(SceneProgramError, match=r"objects\[2\].*ClevrObject"):
        SceneProgram((SPHERE, CUBE, POINT))
    other = dataclasses.replace(POSED, rotation=POSED.rotation.to("quat"))
    with pytest.raises(SceneProgramError, match=r"objects\[1\].*'6d'"):
        SceneProgram((POSED, other))
    with pytest.raises(SceneProgramError, match=r"objects\[0\]"):
        SceneProgram(("sphere",))  # type: ignore[arg-type]


def test_too_many_objects_are_refused() -> None:
    with pytest.raises(SceneProgramError, match="10000"):
        SceneProgram((POINT,) * 10_001)
    with pytest.raises(SceneProgramError, match="10000"):
        SceneProgram.from_json({"objects": [{}] * 10_001})


def test_category_is_the_part_before_the_first_underscore() -> None:
    assert dataclasses.replace(POSED, shape="car_1a_b-2").category == "car"
    assert dataclasses.replace(POSED, shape="sofa").category == "sofa"


@pytest.mark.parametrize(
    ("original", "change"),
    [
        (SPHERE, {"size": "tiny"}),
        (SPHERE, {"color": "pink"}),
        (SPHERE, {"material": "Metal"}),
        (SPHERE, {"shape": "cone"}),
        (SPHERE, {"shape": ["cube"]}),
        (SPHERE, {"loc": (1.0, 2.0)}),
        (SPHERE, {"loc": None}),
        (SPHERE, {"loc": (1.0, 2.0, float("inf"))}),
        (SPHERE, {"loc": (1.0, 2.0, -1.000001e6)}),
        (SPHERE, {"loc": np.zeros((3, 3))}),
        (SPHERE, {"loc": np.float64(1.0)}),
        (SPHERE, {"rotation": 0.1}),
        (CUBE, {"rotation": "0.1"}),
        (CUBE, {"rotation": float("nan")}),
        (CUBE, {"rotation": True}),
        (POINT, {"x": None}),
        (POINT, {"y": 10**400}),
        (POSED, {"color": "pink"}),
        (POSED, {"shape": "_1"}),
        (POSED, {"shape": "car_"}),
        (POSED, {"shape": "Car"}),
        (POSED, {"shape": "car\n"}),
        (POSED, {"shape": ""}),
        (POSED, {"rotation": 0.4}),
        (POSED, {"loc": (0.0, 0.0)}),
    ],
)
def test_bad_values_are_refused_with_their_attribute(original: Any, change: dict[str, Any]) -> None:
    with pytest.raises(SceneProgramError) as caught:
        dataclasses.replace(original, **change)
    assert caught.value.attribute == next(iter(change))
    assert caught.value.expected


CLEVR_JSON = {"size": "small", "color": "red", "material": "metal", "shape": "cube", "loc": [1, 2, 3]}
POSED_JSON = {"color": "red", "shape": "car_1", "loc": [1, 2, 3], "rotation": [1, 0, 0, 0, 1, 0]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "objects"),
        ([], "objects"),
        ("objects", "objects"),
        ({}, "objects"),
        ({"objects": None, "error": "line 1, column 1: …"}, "list"),
        ({"objects": {}}, "list"),
        ({"objects": "add(x=1, y=2)"}, "list"),
        ({"objects": [None]}, r"objects\[0\]"),
        ({"objects": [{}]}, "missing attribute color"),
        ({"objects": [{"x": 0.1}]}, "missing attribute y"),
        ({"objects": [{"x": 0.1, "y": "0.2"}]}, r"objects\[0\]: y: .*'0.2'"),
        ({"objects": [{"x": 0.1, "y": True}]}, "True"),
        ({"objects": [{"x": 0.1, "y": None}]}, "None"),
        ({"objects": [{"x": 0.1, "y": [0.1]}]}, "list of 1"),
        ({"objects": [{"x": 0.1, "y": 1e7}]}, "10000000.0"),
        ({"objects": [{"x": 0.1, "y": float("nan")}]}, "nan"),
        ({"objects": [{"x": 0.1, "y": -(10**5000)}]}, "digits"),
        ({"objects": [{"x": 0.1, "y": 0.2, "z": 0.3}]}, "'z'"),
        ({"objects": [{"x": 0.1, "y": 0.2}, CLEVR_JSON]}, r"objects\[1\]"),
        ({"objects": [CLEVR_JSON | {"rotation": None}]}, "rotation: .*None"),
        ({"objects": [CLEVR_JSON | {"rotation": [0.1]}]}, "rotation"),
        ({"objects": [CLEVR_JSON | {"shape": "sphere", "rotation": 0.1}]}, "cubes only"),
        ({"objects": [CLEVR_JSON | {"shape": "ball"}]}, "'ball'"),
        ({"objects": [CLEVR_JSON | {"size": {"a": 1}}]}, "size"),
        ({"objects": [{k: v for k, v in CLEVR_JSON.items() if k != "loc"}]}, "missing attribute loc"),
        ({"objects": [POSED_JSON | {"rotation": [1, 0, 0]}]}, "6 numbers"),
        ({"objects": [POSED_JSON | {"rotation": [1, 0, 0, 2, 0, 0]}]}, "define a rotation"),
        ({"objects": [POSED_JSON | {"rotation": 0.4}]}, "6 numbers"),
        ({"objects": [POSED_JSON | {"pixel_coords": [1, 2, 3]}]}, "pixel_coords"),
        ({"objects": [POSED_JSON | {"k" * 10**6: 1}]}, "kkk…"),
    ],
)
def test_bad_json_is_refused_and_named(data: Any, message: str) -> None:
    with pytest.raises(SceneProgramError, match=message) as caught:
        SceneProgram.from_json(data)
    assert caught.value.expected
    assert len(str(caught.value)) < 400


def test_a_deeply_nested_value_is_only_a_scene_program_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for data in ({"objects": deep}, {"objects": [{"x": deep, "y": 0}]}, {"objects": [{"x": 0, "y": 0, "z": deep}]}):
        with pytest.raises(SceneProgramError):
            SceneProgram.from_json(data)


attribute_names = st.sampled_from(["objects", "x", "y", "size", "color", "material", "shape", "loc", "rotation", ""])
words = st.sampled_from(["small", "red", "metal", "cube", "car_1", "ball", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda children: st.lists(children, max_size=6) | st.dictionaries(attribute_names, children, max_size=6),
    max_leaves=20,
)
SOME_REPRESENTATIONS = st.sampled_from(["6d", "quat", "euler"])


@settings(max_examples=150, deadline=None)
@given(json_values, SOME_REPRESENTATIONS)
def test_any_json_value_is_a_scene_or_a_scene_program_error(value: Any, rotation: str) -> None:
    for data in (value, {"objects": value}, {"objects": [value]}, {"objects": [CLEVR_JSON | {"loc": value}]}):
        try:
            SceneProgram.from_json(data, rotation=rotation)
        except SceneProgramError as error:
            assert error.expected


def test_an_unknown_representation_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="'7d'"):
        SceneProgram.from_json({"objects": []}, rotation="7d")


def test_clevr_object_needs_no_rotation_keyword() -> None:
    assert ClevrObject("small", "red", "metal", "sphere", (0.0, 0.0, 0.35)).rotation is None
