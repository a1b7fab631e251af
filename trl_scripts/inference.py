"""A checkpoint and its processor, and batched prediction with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from safetensors import SafetensorError
from transformers.utils import ModelOutput

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ScenePrediction

from .errors import CommandError, one_line


@dataclass(frozen=True)
class Predictor:
    """A loaded model with its processor."""

    model: IGLLMForSceneProgram
    processor: IGLLMProcessor

    @classmethod
    def load(cls, source: str, revision: str | None, device: str, dtype: str) -> "Predictor":
        """Load a checkpoint with this package's own classes: no code of the repository is run.

        Raises:
            CommandError: if there is no such checkpoint, it is damaged, or the device does not exist.
        """
        _check_device(device)
        if _names_a_folder(source) and not (Path(source) / "config.json").is_file():
            raise CommandError(f"{source} is no checkpoint folder: there is no {Path(source) / 'config.json'}")
        try:
            model = IGLLMForSceneProgram.from_pretrained(
                source, revision=revision or "main", dtype=getattr(torch, dtype)
            )
            processor = IGLLMProcessor.from_pretrained(source, revision=revision or "main")
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise CommandError(
                f"cannot load the model {source!r}: {one_line(error)} "
                "(--model: a checkpoint folder or a Hub repository)"
            ) from error
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps it without its signature
        return cls(model.eval(), processor)

    @torch.inference_mode()
    def predict(self, images: Sequence[Image.Image], batch_size: int) -> Iterator[ScenePrediction]:
        """Predict one scene per image, greedily, `batch_size` images at a time."""
        for start in range(0, len(images), batch_size):
            inputs = self.processor.encode_prompt(list(images[start : start + batch_size]))
            output = cast(ModelOutput, self.model.generate(**inputs.to(self.model.device), do_sample=False))
            # Without a numeric head there are no numbers in the output.
            yield from self.processor.decode_scene(output["sequences"], output.get("numbers"))


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a build of torch without CUDA asserts
        raise CommandError(f"cannot use --device {device!r}: {one_line(error)}; cpu works everywhere") from error


def _names_a_folder(source: str) -> bool:
    """Whether `source` can only be meant as a folder here; `name` and `user/name` may be Hub repositories."""
    folder = Path(source)
    has_parent_here = folder.parent.name != "" and folder.parent.is_dir()
    return folder.exists() or source.startswith((".", "/", "~")) or has_parent_here
