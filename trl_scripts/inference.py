"""A checkpoint and its processor, and batched prediction with them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor, ScenePrediction
from modeling_igllm.processor_fit import check_processor_fits

from .errors import CommandError, one_line

# What `decode_scene` takes of an output; which of them there are depends on the decoder and the numeric head.
ANSWER_FIELDS = ("sequences", "numbers", "number_stds", "truncated", "word_probabilities")


@dataclass(frozen=True)
class Predictor:
    """A loaded model with its processor.

    `use_grammar`: decode by `generate_scene`, which writes scene programs only, else by transformers' `generate`.
    """

    model: IGLLMForSceneProgram
    processor: IGLLMProcessor
    use_grammar: bool = True

    @classmethod
    def load(
        cls,
        source: str,
        revision: str | None,
        device: str,
        dtype: str | None,
        use_grammar: bool = True,
        view_shift: int | None = None,
    ) -> "Predictor":
        """Load a checkpoint as `load_checkpoint` does; `dtype` is a word of its `from_pretrained`.

        A checkpoint without a grammar is decoded freely whatever `use_grammar` says, and a line on standard error
        says so. `view_shift` takes the place of `config.view_shift`.

        Raises:
            CommandError: as `load_checkpoint`, if the device does not exist, or for a `view_shift` without a grammar.
        """
        check_device(device)
        model, processor = load_checkpoint(source, revision or "main", dtype=dtype)
        cast(torch.nn.Module, model).to(torch.device(device))
        if use_grammar and model.config.grammar is None:
            print(
                f"{source} has no grammar (config.grammar): its answers are unconstrained and may be no programs. "
                "To give it one: model.set_grammar(processor.make_grammar(training_scenes)), then save the model",
                file=sys.stderr,
            )
        use_grammar = use_grammar and model.config.grammar is not None
        if view_shift is not None:
            if view_shift and not use_grammar:
                raise CommandError(
                    f"{source} is not decoded by a grammar, and --view-shift {view_shift} needs one: leave out "
                    "--view-shift, or give the model a grammar"
                )
            model.config.view_shift = view_shift
        return cls(model.eval(), processor, use_grammar)

    @property
    def view_shift(self) -> int:
        """Pixels by which more views of a picture are shifted, 0 where it is read once."""
        return self.model.config.view_shift if self.use_grammar else 0

    @torch.inference_mode()
    def predict(self, images: Sequence[Image.Image], batch_size: int) -> Iterator[ScenePrediction]:
        """Predict one scene per image, greedily, `batch_size` images at a time.

        Raises:
            CommandError: if the model's outputs are not finite, or it cannot be decoded in this way.
        """
        generate: Any = self.model.generate_scene if self.use_grammar else self.model.generate
        for start in range(0, len(images), batch_size):
            inputs = self.processor.encode_prompt(list(images[start : start + batch_size]))
            try:
                output = generate(**inputs.to(self.model.device), do_sample=False)
            except ValueError as error:
                raise CommandError(f"the model cannot answer: {one_line(error)}") from error
            yield from self.processor.decode_scene(**{name: output[name] for name in ANSWER_FIELDS if name in output})


def load_checkpoint(source: str, revision: str, **loading: Any) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """Load a model and its processor with this package's own classes: no code of the repository is run.

    Args:
        source: folder or Hub repository.
        revision: of a Hub repository.
        loading: of the model's `from_pretrained`.

    Raises:
        CommandError: if there is no such checkpoint, it is damaged, or its processor does not fit its model.
    """
    if _names_a_folder(source) and not (Path(source) / "config.json").is_file():
        raise CommandError(f"{source} is no checkpoint folder: there is no {Path(source) / 'config.json'}")
    try:
        model = IGLLMForSceneProgram.from_pretrained(source, revision=revision, **loading)
        processor = IGLLMProcessor.from_pretrained(source, revision=revision)
        check_processor_fits(model.config, processor)
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(
            f"cannot load the model {source!r}: {one_line(error)} (give a checkpoint folder or a Hub repository)"
        ) from error
    return model, processor


def check_device(device: str) -> None:
    """Raise CommandError for a device that is not there."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a build of torch without CUDA asserts
        raise CommandError(f"cannot use --device {device!r}: {one_line(error)}; cpu works everywhere") from error


def _names_a_folder(source: str) -> bool:
    """Whether `source` can only be meant as a folder here; `name` and `user/name` may be Hub repositories."""
    folder = Path(source)
    has_parent_here = folder.parent.name != "" and folder.parent.is_dir()
    return folder.exists() or source.startswith((".", "/", "~")) or has_parent_here
