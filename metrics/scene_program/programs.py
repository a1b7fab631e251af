"""Reads program texts into flat tables of objects: the only file here that knows the scene-program language.

A pushed metric replaces the one import from `modeling_igllm` below by imports from the language's files beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modeling_igllm import (
    NUM_TOKEN,
    REPRESENTATION_SIZES,
    ClevrObject,
    Point2D,
    PosedObject,
    Rotation,
    SceneObject,
    SceneProgram,
    SceneProgramError,
    parse_program,
)

from .published_quirks import fill_missing_numbers

ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Point2D: (),
    ClevrObject: ("size", "color", "material", "shape"),
    PosedObject: ("color", "shape"),
}
"""The categorical attributes of each kind of statement (SCENE_PROGRAM)."""


@dataclass(frozen=True)
class ObjectTable:
    """The objects of many scenes as columns, in an order that does not depend on their order in the program.

    Args:
        starts: (scenes + 1,) int; the objects of scene `s` are the rows `starts[s]:starts[s + 1]`.
        positions: (objects, 3) float64, metres; a 2D object has image units and z = 0.
        words: attribute name -> (objects,) str, canonical names, of what is scored; `shape_class` is `shape` before
            its first `_`.
        shapes: (objects,) str, the whole `shape`; empty where the statement states none.
        rotations: (objects, 3, 3) float64, object to world; NaN where the statement states no rotation.
    """

    starts: np.ndarray
    positions: np.ndarray
    words: dict[str, np.ndarray]
    shapes: np.ndarray
    rotations: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(scenes,) int: how many objects each scene has."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class Corpus:
    """All scenes of one evaluation.

    Args:
        kind: the one kind of statement of the references: `Point2D`, `ClevrObject` or `PosedObject`.
        predicted: the predicted objects; an invalid prediction is an empty scene.
        true: the true objects.
        invalid: (scenes,) bool; the prediction does not parse or is of another kind than the references.
    """

    kind: type
    predicted: ObjectTable
    true: ObjectTable
    invalid: np.ndarray


def read_corpus(
    predictions: Sequence[str],
    references: Sequence[str],
    rotation: str,
    published_quirks: bool = False,
    unseen_shapes: bool = False,
) -> Corpus:
    """Parses all texts.

    Args:
        predictions: one program text per scene; what does not parse is an empty scene and marked invalid.
        references: as many program texts, all of one kind; each must parse.
        rotation: the representation rotations are written in (SCENE_PROGRAM, section Rotations).
        published_quirks: read as the published evaluator did (METRICS): a missing number of a prediction is 0, and
            a 6d rotation is its two raw rows and their cross product.
        unseen_shapes: leave `shape` out of the words: only `shape_class` is scored.

    Raises:
        ValueError: no scenes, different lengths, a reference that does not parse, references of no or several kinds.
    """
    if len(predictions) != len(references) or not references:
        raise ValueError(
            f"got {len(predictions)} predictions and {len(references)} references: give one of each per scene, "
            "and at least one scene"
        )
    true = [_read_reference(index, text, rotation) for index, text in enumerate(references)]
    kind = _kind_of_references(true)
    if published_quirks:
        places = _numeric_places(kind, rotation)
        predictions = [fill_missing_numbers(text, places, NUM_TOKEN) for text in predictions]
    predicted = [read_prediction(text, kind, rotation) for text in predictions]
    return Corpus(
        kind=kind,
        predicted=object_table(
            [scene.objects if scene else () for scene in predicted], kind, published_quirks, unseen_shapes
        ),
        true=object_table([scene.objects for scene in true], kind, published_quirks, unseen_shapes),
        invalid=np.array([scene is None for scene in predicted]),
    )


def read_prediction(text: str, kind: type, rotation: str) -> SceneProgram | None:
    """The scene that `text` states, or None (for `invalid_rate`) if it is no program of objects of this kind."""
    try:
        scene = parse_program(text, rotation=rotation)
    except SceneProgramError:
        return None
    return scene if all(isinstance(item, kind) for item in scene) else None


def _read_reference(index: int, text: str, rotation: str) -> SceneProgram:
    try:
        return parse_program(text, rotation=rotation)
    except SceneProgramError as error:
        raise ValueError(f"references[{index}] is not a scene program ({error}): {text!r}") from error


def _kind_of_references(scenes: Sequence[SceneProgram]) -> type:
    kinds = {type(item): index for index, scene in enumerate(scenes) for item in scene.objects[:1]}
    if len(kinds) != 1:
        found = ", ".join(f"{kind.__name__} in references[{index}]" for kind, index in kinds.items()) or "no object"
        raise ValueError(f"references must hold objects of one kind, got {found}: score each benchmark family alone")
    return next(iter(kinds))


def _numeric_places(kind: type, rotation: str) -> dict[str, int]:
    """Numeric attribute -> how many numbers every statement of this kind must have for it."""
    if kind is Point2D:
        return {"x": 1, "y": 1}
    return {"loc": 3} if kind is ClevrObject else {"loc": 3, "rotation": REPRESENTATION_SIZES[rotation]}


def object_table(
    scenes: Sequence[Sequence[SceneObject]], kind: type, raw_rotations: bool, unseen_shapes: bool
) -> ObjectTable:
    """Puts the objects of all scenes, which are of one kind, into columns.

    Args:
        scenes: the objects of each scene.
        kind: the kind of all of them.
        raw_rotations: take a 6d rotation as its two raw rows and their cross product instead of a rotation
            (METRICS, quirks of the published evaluator).
        unseen_shapes: leave `shape` out of the words.
    """
    objects = [item for scene in scenes for item in scene]
    counts = [len(scene) for scene in scenes]
    words = _words(objects, kind)
    shapes = words.get("shape", np.full(len(objects), ""))
    if unseen_shapes:
        words.pop("shape", None)
    positions = np.array([_position(item) for item in objects], dtype=np.float64).reshape(-1, 3)
    rotations = _rotations(objects, kind, raw_rotations)
    order = _canonical_order(np.repeat(np.arange(len(scenes)), counts), positions, words, rotations)
    return ObjectTable(
        starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        positions=positions[order],
        words={name: column[order] for name, column in words.items()},
        shapes=shapes[order],
        rotations=rotations[order],
    )


def _words(objects: Sequence[SceneObject], kind: type) -> dict[str, np.ndarray]:
    rows = [item.attributes() for item in objects]
    words = {name: np.array([row[name] for row in rows], dtype=str) for name in ATTRIBUTES[kind]}
    if "shape" in words:
        words["shape_class"] = np.array([str(row["shape"]).partition("_")[0] for row in rows], dtype=str)
    return words


def _position(item: SceneObject) -> tuple[float, float, float]:
    return (item.x, item.y, 0.0) if isinstance(item, Point2D) else item.loc


def _rotations(objects: Sequence[SceneObject], kind: type, raw: bool) -> np.ndarray:
    if kind is PosedObject:
        matrices = [_matrix(item.rotation, raw) for item in objects if isinstance(item, PosedObject)]
        return np.array(matrices).reshape(-1, 3, 3)
    if kind is ClevrObject:
        yaw = [item.rotation for item in objects if isinstance(item, ClevrObject)]
        return _yaw_matrices(np.array(yaw, dtype=np.float64))
    return np.full((len(objects), 3, 3), np.nan)


def _matrix(rotation: Rotation, raw: bool) -> np.ndarray:
    if not raw or rotation.representation != "6d":
        return rotation.matrix
    rows = np.reshape(rotation.values, (2, 3))
    return np.vstack([rows, np.cross(rows[0], rows[1])])


def _yaw_matrices(yaw: np.ndarray) -> np.ndarray:
    """(objects,) radians -> (objects, 3, 3) rotations about the world's z axis, NaN for NaN."""
    matrices = np.where(np.isnan(yaw)[:, None, None], np.nan, np.eye(3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(yaw)
    matrices[:, 1, 0] = np.sin(yaw)
    matrices[:, 0, 1] = -np.sin(yaw)
    return matrices


def _canonical_order(
    scene: np.ndarray, positions: np.ndarray, words: dict[str, np.ndarray], rotations: np.ndarray
) -> np.ndarray:
    """Rows by scene, then by all that an object states: a tie in a matching is settled by the objects alone."""
    keys = [scene, *positions.T, *words.values(), *rotations.reshape(-1, 9).T]
    return np.lexsort(keys[::-1])
