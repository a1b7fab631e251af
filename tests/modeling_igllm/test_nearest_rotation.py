"""What a model's numbers mean as a rotation: something for all of them, and no surprise for the good ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation as Oracle

from modeling_igllm import REPRESENTATION_SIZES, Rotation, SceneProgramError, nearest_rotation
from modeling_igllm.rotations import is_rotation_matrix

representations = pytest.mark.parametrize("representation", list(REPRESENTATION_SIZES))
# Numbers that make rows vanish, run parallel or lose their rank, at full precision or once they are rounded.
_awkward = st.sampled_from([0.0, -0.0, 1e-300, 1e-12, 1e-9, 1e-8, 3e-4, 5e-4, 1.0, -1.0, 2.0, 1e6, -1e6])
_any_number = _awkward | st.floats(-1e6, 1e6) | st.floats(-1, 1)


def angle_between(first: np.ndarray, second: np.ndarray) -> float:
    """Radians from one direction to another."""
    return float(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second))


def turn_of(matrix: np.ndarray) -> float:
    """Radians by which R (3, 3) turns."""
    return float(Oracle.from_matrix(matrix).magnitude())


@representations
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_numbers_are_a_rotation_and_still_the_same_with_three_decimals(
    representation: str, data: st.DataObject
) -> None:
    size = REPRESENTATION_SIZES[representation]
    values = data.draw(
        st.lists(_any_number, min_size=size, max_size=size)
        | st.tuples(_awkward, st.lists(_awkward, min_size=size, max_size=size)).map(lambda t: [t[0] * v for v in t[1]])
        | _awkward.map(lambda number: size * [number])
    )
    rotation = nearest_rotation(np.clip(values, -1e6, 1e6).tolist(), representation)
    assert rotation.representation == representation
    assert is_rotation_matrix(rotation.matrix)
    rounded = Rotation(tuple(round(value, 3) for value in rotation.values), representation)
    assert turn_of(rounded.matrix @ rotation.matrix.T) < 5e-3


@representations
def test_good_values_are_kept_as_they_came(representation: str) -> None:
    for oracle in Oracle.random(20, random_state=0):
        exact = Rotation.from_matrix(oracle.as_matrix(), representation)
        rounded = tuple(round(value, 3) for value in exact.values)
        assert nearest_rotation(exact.values, representation) == exact
        assert nearest_rotation(rounded, representation).values == rounded


@representations
def test_values_far_from_canonical_become_canonical_and_the_same_rotation(representation: str) -> None:
    rng = np.random.default_rng(0)
    for values in rng.normal(scale=4, size=(20, REPRESENTATION_SIZES[representation])):
        strict = Rotation(tuple(values), representation)
        nearest = nearest_rotation(values.tolist(), representation)
        np.testing.assert_allclose(nearest.matrix, strict.matrix, atol=1e-9)
        np.testing.assert_allclose(
            nearest.values, Rotation.from_matrix(strict.matrix, representation).values, atol=1e-9
        )


def test_tiny_values_keep_their_rotation_where_rounding_would_lose_it() -> None:
    values = (0.0, 0.0, 4e-4, 4e-4, 0.0, 0.0)
    assert nearest_rotation(values, "6d").values == (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("representation", ["quat", "6d", "9d"])
def test_zeros_are_the_identity(representation: str) -> None:
    size = REPRESENTATION_SIZES[representation]
    identity = Rotation.from_matrix(np.eye(3), representation)
    assert nearest_rotation(size * [0.0], representation) == identity
    assert nearest_rotation(size * [1e-12], representation) == identity


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("parallel", [0.0, 2.5, -1e3])
def test_a_direction_that_is_given_is_kept_and_the_rest_turns_as_little_as_it_can(place: int, parallel: float) -> None:
    rng = np.random.default_rng(0)
    directions = [*np.eye(3), *rng.normal(size=(20, 3))]
    for direction in directions:
        rows = np.zeros((2, 3))
        rows[place] = direction
        rows[1 - place] = direction * parallel  # says nothing new, even where it is the longer one
        matrix = nearest_rotation(rows.ravel().tolist(), "6d").matrix
        kept = 0 if parallel else place  # of two rows the first one counts
        unit = direction * (np.sign(parallel) if parallel and place else 1.0)
        assert angle_between(matrix[kept], unit) < 1e-6
        axis = np.eye(3)[kept]
        assert turn_of(matrix) == pytest.approx(angle_between(axis, unit), abs=1e-3)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_9d_of_one_direction_keeps_it(row: int) -> None:
    values = np.zeros((3, 3))
    values[row] = (0.6e-3, -0.8e-3, 0.0)
    matrix = nearest_rotation(values.ravel().tolist(), "9d").matrix
    np.testing.assert_allclose(matrix[row], [0.6, -0.8, 0.0], atol=1e-6)


def test_9d_that_is_as_near_to_several_rotations_is_the_same_one_every_time() -> None:
    mirrored = nearest_rotation((-np.eye(3)).ravel().tolist(), "9d")
    np.testing.assert_allclose(mirrored.matrix, np.diag([1.0, -1.0, -1.0]), atol=1e-6)


@pytest.mark.parametrize("values", [[0.0] * 5, [0.0] * 5 + [float("nan")], [0.0] * 5 + [1.1e6]])
def test_a_wrong_count_and_numbers_out_of_range_are_still_errors(values: list[float]) -> None:
    with pytest.raises(SceneProgramError, match="rotation"):
        nearest_rotation(values, "6d")


def test_an_unknown_representation_is_quoted() -> None:
    with pytest.raises(ValueError, match="'7d'"):
        nearest_rotation([0.0], "7d")
