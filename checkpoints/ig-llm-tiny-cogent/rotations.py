"""Rotations as the language writes them: six representations of R in SO(3), with numpy alone.

R maps object to world coordinates, angles are in radians (SCENE_PROGRAM, "Rotations").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import checked_numbers, unexpected

REPRESENTATION_SIZES = {"euler_int": 3, "euler": 3, "aa": 3, "quat": 4, "6d": 6, "9d": 9}
"""Name of every representation -> how many numbers it has."""

_DEGENERATE = 1e-8  # lengths (and lengths relative to their row) under this define no direction
_ORTHONORMAL_TOLERANCE = 1e-4  # lets float32 matrices through
_SHOWN_PRECISION = 1e-3  # of the three decimals of a program
# Beside directions of length 1 it decides only what they leave open; its entries differ so that it always decides.
_IDENTITY_PULL = 1e-8 * np.diag([1.002, 1.001, 1.0])


@dataclass(frozen=True)
class Rotation:
    """A rotation in one representation; `values` are kept as written, the matrix is derived from them.

    Args:
        values: 3 (`euler_int`, `euler`, `aa`), 4 (`quat`, x y z w), 6 or 9 numbers.
        representation: A key of `REPRESENTATION_SIZES`; `ValueError` for any other name.

    Raises:
        SceneProgramError: For a wrong count, a number out of range, or values that define no rotation
            (a zero quaternion, parallel rows).
    """

    values: tuple[float, ...]
    representation: str

    def __post_init__(self) -> None:
        count = representation_size(self.representation)
        object.__setattr__(self, "values", checked_numbers(self.values, count, "rotation"))
        self.matrix  # noqa: B018 (refuses values that define no rotation)

    @cached_property
    def matrix(self) -> np.ndarray:
        """R, float64 (3, 3), orthonormal with determinant 1, read-only."""
        matrix = _TO_MATRIX[self.representation](np.array(self.values))
        if matrix is None:
            expected = f"numbers that define a rotation in representation {self.representation!r}"
            raise unexpected(expected, str(self.values), "rotation")
        matrix.setflags(write=False)
        return matrix

    def to(self, representation: str) -> "Rotation":
        """The same rotation in another representation (itself if it is the same one)."""
        return self if representation == self.representation else Rotation.from_matrix(self.matrix, representation)

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, representation: str) -> "Rotation":
        """The canonical values of `matrix` (3, 3): outer Euler angles in (-pi, pi], the middle one in
        [-pi/2, pi/2], rotation vectors of angle [0, pi], quaternions with w >= 0.

        Raises:
            ValueError: If `matrix` is not a rotation matrix (within 1e-4) or `representation` is unknown.
        """
        representation_size(representation)
        matrix = np.asarray(matrix, dtype=np.float64)
        if not is_rotation_matrix(matrix):
            raise ValueError(f"expected a (3, 3) rotation matrix, got {matrix.tolist()}")
        return cls(tuple(float(value) for value in _FROM_MATRIX[representation](matrix)), representation)


def nearest_rotation(values: Sequence[float], representation: str) -> Rotation:
    """The rotation that predicted `values` mean: defined for all numbers, and with three decimals still the same.

    Where `Rotation` refuses values (zeros, parallel rows, no full rank), the directions that they do give are kept and
    the identity's axes complete them by the smallest turn: zeros are the identity, parallel rows mean the first one.

    Values that are canonical to three decimals are kept as they came; others become the canonical ones of the same
    rotation, as three tiny numbers, for one, would be zeros once rounded.

    Args:
        values: As many as the representation has, each of magnitude <= `MAX_NUMBER`.
        representation: A key of `REPRESENTATION_SIZES`, else `ValueError`.

    Raises:
        SceneProgramError: For a wrong count, or a number that is out of range or not finite.
    """
    numbers = checked_numbers(values, representation_size(representation), "rotation")
    matrix = _TO_MATRIX[representation](np.array(numbers))
    if matrix is None:
        matrix, _ = _procrustes(_known_directions(np.array(numbers), representation) + _IDENTITY_PULL)
    canonical = Rotation.from_matrix(matrix, representation)
    is_canonical = np.allclose(canonical.values, numbers, rtol=0, atol=_SHOWN_PRECISION)
    return Rotation(numbers, representation) if is_canonical else canonical


def representation_size(representation: str) -> int:
    """How many numbers `representation` has; `ValueError` for an unknown name."""
    if representation not in REPRESENTATION_SIZES:
        raise ValueError(f"rotation must be one of {', '.join(REPRESENTATION_SIZES)}; got {representation!r}")
    return REPRESENTATION_SIZES[representation]


def is_rotation_matrix(matrix: np.ndarray) -> bool:
    """Whether `matrix` has shape (3, 3), orthonormal rows (within 1e-4) and a positive determinant."""
    if matrix.shape != (3, 3) or not np.all(np.abs(matrix) <= 2.0):  # the bound also refuses nan and inf
        return False
    orthonormal = np.allclose(matrix @ matrix.T, np.eye(3), rtol=0, atol=_ORTHONORMAL_TOLERANCE)
    return bool(orthonormal and np.linalg.det(matrix) > 0)


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    """R (3, 3) of a turn by `angle` radians about world axis 0 (x), 1 (y) or 2 (z), right-handed."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    following, last = (axis + 1) % 3, (axis + 2) % 3
    matrix[following, following] = matrix[last, last] = cos
    matrix[last, following], matrix[following, last] = sin, -sin
    return matrix


def _euler_to_matrix(angles: np.ndarray) -> np.ndarray:
    x, y, z = angles
    return axis_rotation(2, z) @ axis_rotation(1, y) @ axis_rotation(0, x)


def _euler_int_to_matrix(angles: np.ndarray) -> np.ndarray:
    x, y, z = angles
    return axis_rotation(0, x) @ axis_rotation(1, y) @ axis_rotation(2, z)


def _vector_to_matrix(vector: np.ndarray) -> np.ndarray:
    half = np.linalg.norm(vector) / 2
    # np.sinc(t) is sin(pi t) / (pi t), so this is vector * sin(half) / (2 half), well defined at 0
    xyz = vector * np.sinc(half / np.pi) / 2
    return _unit_quaternion_to_matrix(np.append(xyz, np.cos(half)))


def _quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray | None:
    norm = np.linalg.norm(quaternion)
    return None if norm < _DEGENERATE else _unit_quaternion_to_matrix(quaternion / norm)


def _unit_quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray:
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _rows_to_matrix(values: np.ndarray) -> np.ndarray | None:
    """Gram-Schmidt on the two rows; the third is their cross product."""
    lengths = np.linalg.norm(values.reshape(2, 3), axis=1, keepdims=True)
    if lengths.min() < _DEGENERATE:
        return None
    first, second = values.reshape(2, 3) / lengths
    second = second - (first @ second) * first
    length = np.linalg.norm(second)
    if length < _DEGENERATE:
        return None
    second = second / length
    return np.stack([first, second, np.cross(first, second)])


def _nine_to_matrix(values: np.ndarray) -> np.ndarray | None:
    """The nearest rotation matrix; `None` where it is not unique."""
    matrix, margin = _procrustes(values.reshape(3, 3))
    return None if margin < _DEGENERATE else matrix


def _procrustes(values: np.ndarray) -> tuple[np.ndarray, float]:
    """A rotation matrix nearest to `values` (3, 3), by SVD, and a margin that is 0 where there are several."""
    left, singular, right = np.linalg.svd(values)
    sign = np.sign(np.linalg.det(left) * np.linalg.det(right))
    return (left * [1.0, 1.0, sign]) @ right, float(singular[1] + sign * singular[2])


def _known_directions(values: np.ndarray, representation: str) -> np.ndarray:
    """What `values` that define no rotation say about R: a matrix (3, 3) of length 1, or zeros."""
    known = np.zeros((3, 3))
    if representation == "9d":
        known[:] = values.reshape(3, 3)
    elif representation == "6d":
        rows = values.reshape(2, 3)
        first = 0 if np.linalg.norm(rows[0]) >= _DEGENERATE else 1  # the second only where there is no first
        known[first] = rows[first]
    length = np.linalg.norm(known)
    return known / length if length >= _DEGENERATE else np.zeros((3, 3))


def _matrix_to_euler(matrix: np.ndarray) -> np.ndarray:
    cos_y = np.hypot(matrix[0, 0], matrix[1, 0])
    y = np.arctan2(-matrix[2, 0], cos_y)
    if cos_y < 1e-7:  # gimbal lock: only x - z or x + z is defined, z = 0 is chosen
        return _principal(np.array([np.arctan2(-matrix[1, 2], matrix[1, 1]), y, 0.0]))
    return _principal(np.array([np.arctan2(matrix[2, 1], matrix[2, 2]), y, np.arctan2(matrix[1, 0], matrix[0, 0])]))


def _matrix_to_euler_int(matrix: np.ndarray) -> np.ndarray:
    # Rx(x) Ry(y) Rz(z) is the transpose of Rz(-z) Ry(-y) Rx(-x)
    return _principal(-_matrix_to_euler(matrix.T))


def _principal(angles: np.ndarray) -> np.ndarray:
    """-pi (from a negative zero in arctan2) is written pi, and -0.0 is written 0.0."""
    return np.where(angles <= -np.pi, np.pi, angles) + 0.0


def _matrix_to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """Shepperd's method: divide by the largest of |x|, |y|, |z|, |w| so that no precision is lost."""
    trace = np.trace(matrix)
    squares = np.append(1 + 2 * np.diag(matrix) - trace, 1 + trace)  # 4x², 4y², 4z², 4w²
    largest = int(np.argmax(squares))
    x, y, z = matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]
    if largest == 3:
        quaternion = np.array([x, y, z, squares[3]])
    else:
        quaternion = np.append(matrix[largest] + matrix[:, largest], [x, y, z][largest])
        quaternion[largest] = squares[largest]
    quaternion /= np.linalg.norm(quaternion)
    leading = next(part for part in quaternion[[3, 0, 1, 2]] if part != 0)  # w >= 0; at w = 0 the first of x, y, z
    return quaternion * np.sign(leading) + 0.0


def _matrix_to_vector(matrix: np.ndarray) -> np.ndarray:
    quaternion = _matrix_to_quaternion(matrix)
    half = np.arctan2(np.linalg.norm(quaternion[:3]), quaternion[3])
    return quaternion[:3] * 2 / np.sinc(half / np.pi)


_TO_MATRIX: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "euler_int": _euler_int_to_matrix,
    "euler": _euler_to_matrix,
    "aa": _vector_to_matrix,
    "quat": _quaternion_to_matrix,
    "6d": _rows_to_matrix,
    "9d": _nine_to_matrix,
}

_FROM_MATRIX: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "euler_int": _matrix_to_euler_int,
    "euler": _matrix_to_euler,
    "aa": _matrix_to_vector,
    "quat": _matrix_to_quaternion,
    "6d": lambda matrix: matrix[:2].ravel(),
    "9d": lambda matrix: matrix.ravel(),
}
