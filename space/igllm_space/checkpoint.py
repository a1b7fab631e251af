"""Which checkpoint the Space reads pictures with."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ImageToScenePipeline

VARIABLE = "IGLLM_MODEL"
BUNDLED = Path(__file__).parents[2] / "checkpoints" / "ig-llm-tiny-clevr"
_PINNED = re.compile(r"(?P<repo_id>[^@\s/]+/[^@\s/]+)@(?P<revision>[0-9a-f]{40})")


@dataclass(frozen=True)
class CheckpointSource:
    """A folder, or a Hub repository at one commit.

    Attributes:
        name: the folder's path, or USER/NAME.
        revision: the commit's 40 hexadecimal digits; None for a folder.
    """

    name: str
    revision: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "CheckpointSource":
        """Read `IGLLM_MODEL`: a folder or USER/NAME@COMMIT; the project's own checkpoint where it is not set.

        Raises:
            ValueError: if it is neither, or if there is no such folder.
        """
        value = environment.get(VARIABLE)
        if value is None and (BUNDLED / "config.json").is_file():
            return cls(str(BUNDLED))
        if value is None:
            raise ValueError(f"{VARIABLE} is not set: name a checkpoint as USER/NAME@COMMIT or as a folder")
        if pinned := _PINNED.fullmatch(value):
            return cls(pinned["repo_id"], pinned["revision"])
        if (Path(value) / "config.json").is_file():
            return cls(value)
        raise ValueError(
            f"{VARIABLE}={value!r} is neither a checkpoint folder nor USER/NAME@COMMIT with the commit's 40 digits"
        )


def load_reader(source: CheckpointSource) -> ImageToScenePipeline:
    """Load a checkpoint with the classes beside this package: no code of its repository is run.

    Returns:
        A pipeline: Pillow image in, `ScenePrediction` out.

    Raises:
        OSError: if there is no such checkpoint.
        ValueError: if it has no grammar, so that its answers might be no programs.
    """
    revision = source.revision or "main"
    model = IGLLMForSceneProgram.from_pretrained(source.name, revision=revision)
    if model.config.grammar is None:
        raise ValueError(f"{source.name} has no grammar (config.grammar): its answers might be no programs")
    processor = IGLLMProcessor.from_pretrained(source.name, revision=revision)
    return ImageToScenePipeline(model=model.eval(), processor=processor, device="cpu")
