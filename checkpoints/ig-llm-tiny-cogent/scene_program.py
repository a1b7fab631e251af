"""Typed, immutable scenes and their JSON form (SCENE_PROGRAM)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .errors import SceneProgramError, checked_number, checked_numbers, mismatch, quote, unexpected
from .rotations import Rotation, representation_size
from .vocabulary import COLORS, MATERIALS, MAX_OBJECTS, SHAPES, SIZES

__all__ = ["ClevrObject", "Point2D", "PosedObject", "SceneObject", "SceneProgram", "SceneProgramError"]

_CATEGORY = re.compile(r"[a-z0-9-]+(_[a-z0-9_-]+)?")

AttributeValue = str | float | tuple[float, ...]


@dataclass(frozen=True)
class Point2D:
    """A disc of the `two_d` family at (x, y) in [0, 1]; origin top-left, x right, y down.

    A value a little outside [0, 1] is kept: a numeric head may predict it. Raises `SceneProgramError` for anything
    that is not a number of magnitude <= `MAX_NUMBER`.
    """

    x: float
    y: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", checked_number(self.x, "x"))
        object.__setattr__(self, "y", checked_number(self.y, "y"))

    def attributes(self) -> dict[str, AttributeValue]:
        """Attribute name -> value, in canonical order."""
        return {"x": self.x, "y": self.y}

    def rounded(self, decimals: int) -> "Point2D":
        """The same point with every number rounded."""
        return Point2D(_rounded(self.x, decimals), _rounded(self.y, decimals))


@dataclass(frozen=True)
class ClevrObject:
    """An object of the CLEVR families, in canonical words.

    Args:
        size, color, material, shape: One of `SIZES`, `COLORS`, `MATERIALS`, `SHAPES`.
        loc: (x, y, z) of the centre in world metres.
        rotation: Yaw in radians, nominally in [0, pi/2); cubes only, `None` where it is not given.

    Raises:
        SceneProgramError: For an unknown word, a wrong number, or a yaw on anything but a cube.
    """

    size: str
    color: str
    material: str
    shape: str
    loc: tuple[float, float, float]
    rotation: float | None = None

    def __post_init__(self) -> None:
        _check_word(self.size, SIZES, "size")
        _check_word(self.color, COLORS, "color")
        _check_word(self.material, MATERIALS, "material")
        _check_word(self.shape, SHAPES, "shape")
        object.__setattr__(self, "loc", checked_numbers(self.loc, 3, "loc"))
        if self.rotation is None:
            return
        if self.shape != "cube":
            raise mismatch(f"no rotation on a {self.shape} (yaw is for cubes only)", self.rotation, "rotation")
        object.__setattr__(self, "rotation", checked_number(self.rotation, "rotation"))

    def attributes(self) -> dict[str, AttributeValue]:
        """Attribute name -> value, in canonical order, without an absent yaw."""
        words = {"size": self.size, "color": self.color, "material": self.material, "shape": self.shape}
        yaw = {} if self.rotation is None else {"rotation": self.rotation}
        return {**words, "loc": self.loc, **yaw}

    def rounded(self, decimals: int) -> "ClevrObject":
        """The same object with every number rounded."""
        yaw = None if self.rotation is None else _rounded(self.rotation, decimals)
        x, y, z = (_rounded(value, decimals) for value in self.loc)
        return ClevrObject(self.size, self.color, self.material, self.shape, (x, y, z), yaw)


@dataclass(frozen=True)
class PosedObject:
    """An object with a full rotation: the SO(3), 6-DoF and ShapeNet families.

    Args:
        color: One of `COLORS`.
        shape: `category` or `category_id` in `[a-z0-9_-]`; there is no `_` in a category.
        loc: (x, y, z) in world metres.
        rotation: Object to world.

    Raises:
        SceneProgramError: For an unknown colour, a malformed shape, a wrong number or no `Rotation`.
    """

    color: str
    shape: str
    loc: tuple[float, float, float]
    rotation: Rotation

    def __post_init__(self) -> None:
        _check_word(self.color, COLORS, "color")
        if not isinstance(self.shape, str) or not _CATEGORY.fullmatch(self.shape):
            raise mismatch("category or category_id made of a-z, 0-9, - and _", self.shape, "shape")
        object.__setattr__(self, "loc", checked_numbers(self.loc, 3, "loc"))
        if not isinstance(self.rotation, Rotation):
            raise mismatch("a Rotation", self.rotation, "rotation")

    @property
    def category(self) -> str:
        """The part of `shape` before the first `_` (METRICS, `shape_class`)."""
        return self.shape.partition("_")[0]

    def attributes(self) -> dict[str, AttributeValue]:
        """Attribute name -> value, in canonical order; the rotation as its values."""
        return {"color": self.color, "shape": self.shape, "loc": self.loc, "rotation": self.rotation.values}

    def rounded(self, decimals: int) -> "PosedObject":
        """The same object with every number rounded; `SceneProgramError` if no rotation is left (all zeros)."""
        x, y, z = (_rounded(value, decimals) for value in self.loc)
        values = tuple(_rounded(value, decimals) for value in self.rotation.values)
        return PosedObject(self.color, self.shape, (x, y, z), Rotation(values, self.rotation.representation))


SceneObject = Point2D | ClevrObject | PosedObject
"""Any statement of a program; a program has statements of one kind."""


@dataclass(frozen=True)
class SceneProgram:
    """A scene: objects of one kind (and one rotation representation), in order; equality is ordered.

    Raises:
        SceneProgramError: For two kinds of objects in one scene, or more than `MAX_OBJECTS`.
    """

    objects: tuple[SceneObject, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", tuple(self.objects))
        if len(self.objects) > MAX_OBJECTS:
            raise mismatch(f"at most {MAX_OBJECTS} objects", len(self.objects))
        for index, scene_object in enumerate(self.objects):
            try:
                check_same_kind(self.objects[0], scene_object)
            except SceneProgramError as error:
                raise error.moved(f"objects[{index}]") from None

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[SceneObject]:
        return iter(self.objects)

    @property
    def numbers(self) -> list[float]:
        """Every number in canonical writing order: the order of the `[NUM]` tokens of `format_program`."""
        values: list[float] = []
        for scene_object in self.objects:
            for value in scene_object.attributes().values():
                if isinstance(value, tuple):
                    values.extend(value)
                elif not isinstance(value, str):
                    values.append(value)
        return values

    def rounded(self, decimals: int) -> "SceneProgram":
        """The same scene with every number rounded half to even, never to -0.0."""
        return SceneProgram(tuple(scene_object.rounded(decimals) for scene_object in self.objects))

    def with_rotation(self, representation: str) -> "SceneProgram":
        """The same scene with its full rotations in another representation (a key of `REPRESENTATION_SIZES`)."""
        representation_size(representation)
        return SceneProgram(tuple(_in_representation(scene_object, representation) for scene_object in self.objects))

    def to_json(self) -> dict[str, object]:
        """`{"objects": [...]}` with numbers at full precision and absent attributes as absent keys."""
        return {"objects": [_object_to_json(scene_object) for scene_object in self.objects]}

    @classmethod
    def from_json(cls, data: object, rotation: str = "6d") -> "SceneProgram":
        """The scene of `to_json`, exactly.

        Args:
            data: A JSON value with the key `"objects"`. Other keys beside it are not read, so that the file of
                `predict`, a superset, loads too. Inside an object every key counts, and words are canonical.
            rotation: Representation of the rotations (a key of `REPRESENTATION_SIZES`), else `ValueError`.

        Raises:
            SceneProgramError: For any other JSON value.
        """
        representation_size(rotation)
        if not isinstance(data, dict) or "objects" not in data:
            raise mismatch('an object with the key "objects"', data)
        objects = data["objects"]
        if not isinstance(objects, list) or len(objects) > MAX_OBJECTS:
            raise mismatch(f"a list of at most {MAX_OBJECTS} objects", objects).moved("objects")
        return cls(tuple(_object_from_json(value, f"objects[{i}]", rotation) for i, value in enumerate(objects)))


def check_same_kind(first: SceneObject, other: SceneObject) -> None:
    """`SceneProgramError` unless both are of one statement kind and, if posed, of one rotation representation."""
    if not isinstance(other, SceneObject):
        raise mismatch("a Point2D, ClevrObject or PosedObject", other)
    if type(first) is not type(other):
        raise mismatch(f"a {type(first).__name__} like the first object", other)
    if isinstance(first, PosedObject) and isinstance(other, PosedObject):
        representation = first.rotation.representation
        if other.rotation.representation != representation:
            raise mismatch(f"a rotation in {representation!r} like the first", other.rotation.representation)


def object_from_attributes(
    attributes: dict[str, object],
    rotation: str,
    make_rotation: Callable[[tuple[float, ...], str], Rotation] = Rotation,
) -> SceneObject:
    """The one object that has exactly these attributes; their names decide its kind.

    Args:
        attributes: Name -> word, number or numbers, in any order; words are canonical.
        rotation: Representation of the numbers of a full rotation.
        make_rotation: Makes it of numbers and representation.

    Raises:
        SceneProgramError: For a missing or foreign attribute or a wrong value; `attribute` names it.
    """
    names = attributes.keys()
    if "x" in names or "y" in names:
        _check_names(attributes, ("x", "y"), ())
        return Point2D(**attributes)  # type: ignore[arg-type]  # the constructor checks
    if "size" in names or "material" in names:
        _check_names(attributes, ("size", "color", "material", "shape", "loc"), ("rotation",))
        if "rotation" in names:  # None stands for absent in the constructor, it is no value in a text or JSON
            checked_number(attributes["rotation"], "rotation")
        return ClevrObject(**attributes)  # type: ignore[arg-type]
    _check_names(attributes, ("color", "shape", "loc", "rotation"), ())
    values = checked_numbers(attributes["rotation"], representation_size(rotation), "rotation")
    return PosedObject(**{**attributes, "rotation": make_rotation(values, rotation)})  # type: ignore[arg-type]


def _check_names(attributes: dict[str, object], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for name in attributes:
        if name not in required + optional:
            expected = f"one of the attributes {', '.join(required + optional)}"
            raise SceneProgramError(f"expected {expected}, got {quote(name)}", expected=expected, attribute=name)
    missing = [name for name in required if name not in attributes]
    if missing:
        raise unexpected(f"the missing attribute {', '.join(missing)}", f"only {', '.join(attributes) or 'none'}")


def _check_word(value: object, words: tuple[str, ...], attribute: str) -> None:
    if not isinstance(value, str) or value not in words:
        raise mismatch(f"one of {', '.join(words)}", value, attribute)


def _in_representation(scene_object: SceneObject, representation: str) -> SceneObject:
    """The object itself if it has no full rotation or one in this representation already, as written."""
    if not isinstance(scene_object, PosedObject) or scene_object.rotation.representation == representation:
        return scene_object
    return replace(scene_object, rotation=Rotation.from_matrix(scene_object.rotation.matrix, representation))


def _rounded(value: float, decimals: int) -> float:
    return round(value, decimals) + 0.0  # -0.0 + 0.0 is 0.0


def _object_to_json(scene_object: SceneObject) -> dict[str, object]:
    attributes = scene_object.attributes()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()}


def _object_from_json(value: object, place: str, rotation: str) -> SceneObject:
    if not isinstance(value, dict):
        raise mismatch("an object with attributes", value).moved(place)
    try:
        return object_from_attributes(value, rotation)
    except SceneProgramError as error:
        raise error.moved(place) from None
