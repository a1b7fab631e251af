"""What a model says about one image: the text, the scene if the text is a program, and how sure the model is."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from PIL import Image

from .formatting import format_program
from .parsing import parse_predicted_program
from .scene_program import ClevrObject, PosedObject, SceneProgram, SceneProgramError

TEXT_SUFFIXES = (".json", ".txt")
BLENDER_SUFFIXES = (".png", ".blend", ".glb", ".usd")


@dataclass(frozen=True)
class ScenePrediction:
    """The prediction for one image. Exactly one of `scene` and `error` is set.

    Attributes:
        text (`str`): The answer as decoded, with `[NUM]` at the places of the numeric head.
        numbers (`tuple[float, ...]`):
            The head's values for those places, as they came, in the order of `text`. Empty if digits are written out.
        program (`str`, *optional*): Canonical text of `scene`, three decimals.
        scene (`SceneProgram`, *optional*):
            Full-precision numbers. The yaw of cubes is wrapped into [0, pi/2), and rotations are as
            `nearest_rotation` reads them.
        error (`SceneProgramError`, *optional*):
            Why `text` is not a program. Answers of `generate_scene` always are.
        number_stds (`tuple[float, ...]`, *optional*): Standard deviations of `numbers`, where the head has them.
        confidences (`tuple[dict[str, float], ...]`, *optional*):
            For each object: attribute -> probability of its word among those that the grammar allows, and under
            "object" the probability that there is this object, given those before it. Only `generate_scene` has them.
        truncated (`bool`): Whether a limit of tokens or objects ended the answer, and the model would have gone on.
    """

    text: str
    numbers: tuple[float, ...]
    program: str | None = None
    scene: SceneProgram | None = None
    error: SceneProgramError | None = None
    number_stds: tuple[float, ...] | None = None
    confidences: tuple[dict[str, float], ...] | None = None
    truncated: bool = False

    @classmethod
    def from_text(
        cls,
        text: str,
        numbers: Sequence[float] | None = None,
        rotation: str = "6d",
        *,
        number_stds: Sequence[float] | None = None,
        confidences: Sequence[Mapping[str, float]] | None = None,
        truncated: bool = False,
    ) -> "ScenePrediction":
        """Parse an answer.

        Args:
            text (`str`): Decoded answer.
            numbers (`Sequence[float]`, *optional*): Values for the `[NUM]` places; None if digits are written out.
            rotation (`str`): Representation of rotations in the text.
            number_stds, confidences, truncated: As in the attributes.
        """
        values = None if numbers is None else list(numbers)
        prediction = cls(
            text,
            () if values is None else tuple(values),
            number_stds=None if number_stds is None else tuple(number_stds),
            confidences=None if confidences is None else tuple(dict(words) for words in confidences),
            truncated=truncated,
        )
        try:
            scene = _wrap_yaw(parse_predicted_program(text, rotation=rotation, numbers=values))
        except SceneProgramError as error:
            return replace(prediction, error=error)
        return replace(prediction, scene=scene, program=format_program(scene))

    def to_json(self) -> dict[str, object]:
        """The file of `predict` (SCENE_PROGRAM, "JSON"): full precision in `objects`, three decimals in `program`.

        Beside them `truncated`, and `confidences` and `number_stds` where there are any. If the text did not parse:
        `objects` is null, `error` says why, and `text` holds what there was.
        """
        more: dict[str, object] = {"truncated": self.truncated}
        if self.confidences is not None:
            more["confidences"] = [dict(words) for words in self.confidences]
        if self.number_stds is not None:
            more["number_stds"] = list(self.number_stds)
        if self.scene is None:
            return {"objects": None, "error": str(self.error), "text": self.text, **more}
        return {**self.scene.to_json(), "program": self.program, **more}

    def render(self, width: int = 320, height: int = 240) -> Image.Image:
        """The scene as a picture, rendered by Blender as `igllm render` does.

        Args:
            width, height (`int`): In pixels.

        Raises:
            `ImportError`: If Blender is not installed; the message says how to.
            `ValueError`: If there is no scene, or one that cannot be rendered.
        """
        module, scene = self._for_blender("rendered")
        return Image.fromarray(module.render_program(scene, (width, height)))

    def save(self, path: str | Path) -> None:
        """Write `.json` ([`to_json`]) or `.txt` (the program, or the text that is none), or by Blender `.png`
        (rendered), `.blend`, `.glb` or `.usd`.

        Raises:
            `ImportError`, `ValueError`: As `render`, for what Blender writes; `ValueError` also for another suffix.
            `OSError`: If the file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        elif path.suffix == ".txt":
            path.write_text(self.text if self.program is None else self.program, encoding="utf-8")
        elif path.suffix in BLENDER_SUFFIXES:
            module, scene = self._for_blender(f"saved as {path.suffix}")
            module.save_program(scene, path)
        else:
            suffixes = ", ".join(TEXT_SUFFIXES + BLENDER_SUFFIXES)
            raise ValueError(f"cannot write {str(path)!r}: the suffix must be one of {suffixes}")

    def _for_blender(self, purpose: str) -> tuple[ModuleType, SceneProgram]:
        """The module that renders, and the scene as an object of the installed package.

        A model from the Hub has its own copies of the scene's classes, which the package does not know.
        """
        if self.scene is None:
            raise ValueError(f"a prediction that is no scene program cannot be {purpose}: {self.error}")
        rotations = (item.rotation.representation for item in self.scene if isinstance(item, PosedObject))
        try:
            import dataset_builders.rendering  # noqa: F401  # fails without Blender, which the next one does not need
            from dataset_builders import render_program
            from modeling_igllm import SceneProgram as PackagedProgram
        except ImportError as error:
            raise ImportError(
                f"{error}; pictures and 3D files need Blender: pip install 'ig-llm[render]' on Python 3.11"
            ) from error
        return render_program, PackagedProgram.from_json(self.scene.to_json(), next(rotations, "6d"))


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


__all__ = ["BLENDER_SUFFIXES", "TEXT_SUFFIXES", "ScenePrediction"]
