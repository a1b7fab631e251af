"""Rotations against scipy as the oracle (SCENE_PROGRAM, "Rotations")."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation as Oracle

from modeling_igllm import REPRESENTATION_SIZES, Rotation, SceneProgramError

ORACLE_VALUES: dict[str, Callable[[Oracle], np.ndarray]] = {
    "euler_int": lambda oracle: oracle.as_euler("XYZ"),
    "euler": lambda oracle: oracle.as_euler("xyz"),
    "aa": lambda oracle: oracle.as_rotvec(),
    "quat": lambda oracle: oracle.as_quat(canonical=True),
    "6d": lambda oracle: oracle.as_matrix()[:2].ravel(),
    "9d": lambda oracle: oracle.as_matrix().ravel(),
}
RANDOM_ROTATIONS = Oracle.random(50, random_state=0)
HALF_TURNS = [Oracle.from_rotvec(np.pi * np.array(axis)) for axis in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, -0.8, 0])]
GIMBAL_LOCKS = [Oracle.from_euler("xyz", [0.3, sign * np.pi / 2, 1.1]) for sign in (-1, 1)]
representations = pytest.mark.parametrize("representation", list(REPRESENTATION_SIZES))


def test_every_representation_has_an_oracle() -> None:
    assert list(ORACLE_VALUES) == list(REPRESENTATION_SIZES)


@representations
def test_values_of_a_matrix_equal_scipys(representation: str) -> None:
    for oracle in RANDOM_ROTATIONS:
        rotation = Rotation.from_matrix(oracle.as_matrix(), representation)
        assert len(rotation.values) == REPRESENTATION_SIZES[representation]
        np.testing.assert_allclose(rotation.values, ORACLE_VALUES[representation](oracle), atol=1e-9)


@representations
def test_matrix_of_the_values_equals_scipys(representation: str) -> None:
    for oracle in RANDOM_ROTATIONS:
        values = tuple(ORACLE_VALUES[representation](oracle))
        np.testing.assert_allclose(Rotation(values, representation).matrix, oracle.as_matrix(), atol=1e-9)


@representations
def test_identity_half_turns_and_gimbal_lock_survive_the_round_trip(representation: str) -> None:
    for oracle in [Oracle.identity(), *HALF_TURNS, *GIMBAL_LOCKS]:
        rotation = Rotation.from_matrix(oracle.as_matrix(), representation)
        np.testing.assert_allclose(rotation.matrix, oracle.as_matrix(), atol=1e-7)


def test_canonical_values_stay_in_their_ranges() -> None:
    for oracle in [*RANDOM_ROTATIONS, *HALF_TURNS, *GIMBAL_LOCKS, Oracle.identity()]:
        matrix = oracle.as_matrix()
        for representation in ("euler", "euler_int"):
            first, middle, last = Rotation.from_matrix(matrix, representation).values
            assert -np.pi < first <= np.pi and -np.pi < last <= np.pi and abs(middle) <= np.pi / 2
        assert np.linalg.norm(Rotation.from_matrix(matrix, "aa").values) <= np.pi + 1e-12
        assert Rotation.from_matrix(matrix, "quat").values[3] >= 0


@pytest.mark.parametrize("representation", ["euler", "euler_int"])
def test_half_turn_is_written_as_plus_pi(representation: str) -> None:
    # a negative zero beside cos = -1 makes arctan2 answer -pi
    about_z = Rotation.from_matrix(np.array([[-1.0, -0.0, 0.0], [-0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]), representation)
    assert about_z.values == (0.0, 0.0, np.pi)
    assert not any(np.signbit(about_z.values))


def test_half_turn_quaternion_has_a_positive_leading_part() -> None:
    assert Rotation.from_matrix(np.diag([-1.0, 1.0, -1.0]), "quat").values == (0.0, 1.0, 0.0, 0.0)


def test_small_rotation_vectors_keep_their_precision() -> None:
    vector = np.array([1e-9, -2e-9, 3e-9])
    np.testing.assert_allclose(Rotation(tuple(vector), "aa").to("aa").values, vector, rtol=1e-12)
    rotation = Rotation.from_matrix(Oracle.from_rotvec(vector).as_matrix(), "aa")
    np.testing.assert_allclose(rotation.values, vector, rtol=1e-6)


def test_6d_is_read_by_gram_schmidt_on_the_rows() -> None:
    rotation = Rotation((0.0, 0.0, 2.0, 3.0, 0.0, 5.0), "6d")
    np.testing.assert_allclose(rotation.matrix, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-15)


def test_9d_is_read_as_the_nearest_rotation() -> None:
    noise = np.random.default_rng(0).normal(scale=0.2, size=(10, 3, 3))
    for oracle, noisy in zip(RANDOM_ROTATIONS, noise, strict=False):
        values = oracle.as_matrix() + noisy
        nearest, _ = scipy.linalg.polar(values)
        np.testing.assert_allclose(Rotation(tuple(values.ravel()), "9d").matrix, nearest, atol=1e-9)


def test_9d_with_a_negative_determinant_is_still_a_rotation() -> None:
    rotation = Rotation((1.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, -0.1), "9d")
    np.testing.assert_allclose(rotation.matrix, np.eye(3), atol=1e-12)


def test_unnormalised_and_negated_quaternions_are_the_same_rotation() -> None:
    values = (0.1, -0.2, 0.3, 0.9)
    expected = Oracle.from_quat(values).as_matrix()
    for factor in (1.0, -1.0, 50.0, 0.001):
        np.testing.assert_allclose(Rotation(tuple(factor * v for v in values), "quat").matrix, expected, atol=1e-12)


def test_values_are_kept_as_written_and_matrix_is_derived() -> None:
    values = (2.0, 0.0, 0.0, 0.5, 0.5, 0.0)
    rotation = Rotation(values, "6d")
    assert rotation.values == values
    assert rotation.to("6d") is rotation
    np.testing.assert_allclose(rotation.to("9d").values, np.eye(3).ravel(), atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        rotation.matrix[0, 0] = 5.0


def test_rotations_compare_by_values_and_representation() -> None:
    assert Rotation((0.0, 0.0, 0.0), "aa") == Rotation([0, 0, 0], "aa")  # type: ignore[arg-type]
    assert Rotation((0.0, 0.0, 0.0), "aa") != Rotation((0.0, 0.0, 0.0), "euler")
    assert len({Rotation((0.0, 0.0, 1.0), "aa"), Rotation((0.0, 0.0, 1.0), "aa")}) == 1


@pytest.mark.parametrize(
    ("values", "representation"),
    [
        ((0.0, 0.0, 0.0, 0.0), "quat"),
        ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0), "6d"),
        ((0.1, 0.2, 0.3, 0.2, 0.4, 0.6), "6d"),
        ((0.0,) * 9, "9d"),
        ((1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0), "9d"),
        ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0), "9d"),
        ((0.0, 0.0), "aa"),
        ((0.0, 0.0, float("nan")), "aa"),
        ((0.0, 0.0, 1.1e6), "euler"),
        ((0.0, 0.0, True), "euler"),
        ((0.0, 0.0, "1"), "euler"),
    ],
)
def test_values_without_a_rotation_are_refused(values: tuple[float, ...], representation: str) -> None:
    with pytest.raises(SceneProgramError) as caught:
        Rotation(values, representation)
    assert caught.value.attribute == "rotation"
    assert caught.value.expected


def test_unknown_representations_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'matrix'"):
        Rotation((1.0,), "matrix")
    with pytest.raises(ValueError, match="'xyz'"):
        Rotation((0.0, 0.0, 0.0), "aa").to("xyz")


@pytest.mark.parametrize(
    "matrix",
    [np.eye(2), np.zeros((3, 3)), 2 * np.eye(3), np.diag([1.0, 1.0, -1.0]), np.full((3, 3), np.nan)],
    ids=["shape", "zero", "scaled", "mirror", "nan"],
)
def test_a_matrix_that_is_no_rotation_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rotation matrix"):
        Rotation.from_matrix(matrix, "quat")


def test_float32_matrices_are_accepted() -> None:
    for oracle in RANDOM_ROTATIONS[:10]:
        matrix = oracle.as_matrix().astype(np.float32)
        np.testing.assert_allclose(Rotation.from_matrix(matrix, "quat").matrix, oracle.as_matrix(), atol=1e-6)
