"""What a model says about one image: the text, and the scene if the text is a program."""

import math
from dataclasses import dataclass, replace

from .formatting import format_program
from .parsing import parse_program
from .scene_program import ClevrObject, SceneProgram, SceneProgramError


@dataclass(frozen=True)
class ScenePrediction:
    """The prediction for one image. Exactly one of `scene` and `error` is set.

    Attributes:
        text (`str`): The answer as decoded, with `[NUM]` at the places of the numeric head.
        numbers (`tuple[float, ...]`): The head's values for those places, as they came.
        program (`str`, *optional*): Canonical text of `scene`, three decimals.
        scene (`SceneProgram`, *optional*): Full-precision numbers; the yaw of cubes is wrapped into [0, pi/2).
        error (`SceneProgramError`, *optional*): Why `text` is not a program.
    """

    text: str
    numbers: tuple[float, ...]
    program: str | None = None
    scene: SceneProgram | None = None
    error: SceneProgramError | None = None

    @classmethod
    def from_text(cls, text: str, numbers: tuple[float, ...] | None = None, rotation: str = "6d") -> "ScenePrediction":
        """Parse an answer.

        Args:
            text (`str`): Decoded answer.
            numbers (`tuple[float, ...]`, *optional*): Values for the `[NUM]` places; None if digits are written out.
            rotation (`str`): Representation of rotations in the text.
        """
        values = () if numbers is None else tuple(numbers)
        try:
            scene = _wrap_yaw(
                parse_program(text, rotation=rotation, numbers=None if numbers is None else list(values))
            )
        except SceneProgramError as error:
            return cls(text, values, error=error)
        return cls(text, values, program=format_program(scene), scene=scene)

    def to_json(self) -> dict[str, object]:
        """The file of `predict` (SCENE_PROGRAM, "JSON"): full precision in `objects`, three decimals in `program`.

        If the text did not parse: `objects` is null, `error` says why, and `text` holds what there was.
        """
        if self.scene is None:
            return {"objects": None, "error": str(self.error), "text": self.text}
        return {**self.scene.to_json(), "program": self.program}


def _wrap_yaw(scene: SceneProgram) -> SceneProgram:
    """Bring the yaw of cubes into [0, pi/2), a cube's symmetry; a numeric head may leave that range."""
    return SceneProgram(
        tuple(
            replace(item, rotation=_wrap_quarter_turn(item.rotation))
            if isinstance(item, ClevrObject) and item.rotation is not None
            else item
            for item in scene
        )
    )


def _wrap_quarter_turn(yaw: float) -> float:
    """`yaw` modulo pi/2, in radians."""
    wrapped = yaw % (math.pi / 2)
    # A tiny negative yaw comes out of the remainder as the modulus itself.
    return 0.0 if wrapped >= math.pi / 2 else wrapped


__all__ = ["ScenePrediction"]
