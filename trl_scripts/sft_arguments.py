"""What `sft.py` trains on what, and whether a training that was begun may go on with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from datasets import Dataset
from transformers import TrainingArguments
from trl import ModelConfig

from modeling_igllm import REPRESENTATION_SIZES, IGLLMForSceneProgram, IGLLMProcessor

from .begun_run import check_begun_with, note_arguments, rows_digest, trainer_settings
from .errors import CommandError
from .lora import model_settings
from .option_ranges import NOT_NEGATIVE, check_ranges
from .tiny_model import NumberHead
from .whole_checkpoints import one_line_if_unwritable

ARGUMENTS_FILE = "scene_arguments.json"
"""In the output folder: what the training was begun with."""

_RANGES = {
    "float_w": NOT_NEGATIVE,
    "rotation_w": NOT_NEGATIVE,
    "number_token_loss_weight": NOT_NEGATIVE,
    "number_head_learning_rate": NOT_NEGATIVE,
}
_WORDS: dict[str, tuple[str, ...]] = {"number_head": get_args(NumberHead), "rotation": tuple(REPRESENTATION_SIZES)}
# Where scenes and features are kept and what is looked at: of no weight that is there already.
_CHANGEABLE = {"dataset", "feature_cache", "eval_split", "max_eval_scenes"}


@dataclass
class SceneArguments:
    """What is trained on what.

    `recolor` adds every training scene once more in random colours, whose names are not asked for (recolored_rows.py),
    `mirror` then the mirror image of each (mirrored_rows.py), and with `fair_pairs` colours and shapes are told from
    those alone that the object's shape or colour has in these scenes (fair_pairs.py); these are for CLEVR's families.
    Scenes of `eval_split` are looked at if `eval_strategy` is not "no" (the default).
    `feature_cache` is a folder for the frozen tower's features (computed once; `feature_copies` differently augmented
    versions of every image); without it images go through the tower in every step. `number_head`, `scale_numbers`
    (each quantity by its range in the training scenes; "binned" needs it), `feed_numbers_back` and `rotation` are for
    a new model. `float_w` is the weight of the number loss and `rotation_w` that of a rotation's numbers in it, by
    default the model's own (1.0 of a new one);
    `number_token_loss_weight` is for digit text; `number_head_learning_rate` is `learning_rate` by default.
    `train_number_token` is for LoRA where the number token was added to the vocabulary (lora.py).

    Of TRL's model arguments, `attn_implementation` is the language model's: in bfloat16 on a CPU, "eager" is faster
    than "sdpa" (the default) up to a few hundred tokens, prompt included (benchmarks/train.py).
    """

    dataset: str = field(metadata={"help": "Folder or Hub repository of built scenes."})
    tower: str | None = None
    dataset_config: str = "clevr"
    train_split: str = "train"
    eval_split: str = "val_id"
    max_train_scenes: int | None = None
    recolor: bool = False
    fair_pairs: bool = False
    mirror: bool = False
    max_eval_scenes: int | None = 200
    number_head: NumberHead = "tanh_mlp_gelu"
    scale_numbers: bool = False
    feed_numbers_back: bool = False
    rotation: str = "6d"
    float_w: float | None = None
    rotation_w: float | None = None
    number_token_loss_weight: float = 0.0
    number_head_learning_rate: float | None = None
    train_number_token: bool = False
    feature_cache: str | None = None
    feature_copies: int = 1
    shuffle_attributes: bool = False
    sample_synonyms: bool = False

    def check(self) -> None:
        """Raise `CommandError` for a number out of range, an unknown word, or copies that would not be made."""
        options = asdict(self)
        check_ranges(options, _RANGES)
        for name, words in _WORDS.items():
            if options[name] not in words:
                raise CommandError(f"--{name} must be one of {', '.join(words)}, got {options[name]!r}")
        if self.feature_copies > 1 and self.feature_cache is None:
            raise CommandError(
                f"--feature_copies {self.feature_copies} are copies in the cache: give the folder of one "
                "(--feature_cache), or --feature_copies 1"
            )
        if self.fair_pairs and self.sample_synonyms:
            raise CommandError("--fair_pairs knows each colour and shape by one word: leave out --sample_synonyms")


def used_settings(
    arguments: SceneArguments,
    model_arguments: ModelConfig,
    model: IGLLMForSceneProgram,
    processor: IGLLMProcessor,
    train_rows: int,
) -> dict[str, Any]:
    """What is trained on what, by name: for the card, and for `check_and_note`.

    A fine-tune says numbers as its base does, whatever the arguments say.

    Args:
        train_rows: their number, recoloured and mirrored ones included.
    """
    numbers = {
        "number_head": model.config.number_head,
        "scale_numbers": model.config.number_ranges is not None,
        "feed_numbers_back": model.config.feed_numbers_back,
        "rotation": processor.rotation,
    }
    used = {**asdict(arguments), **numbers, **model_settings(model_arguments)}
    used["train_scenes"] = train_rows // ((1 + arguments.recolor) * (1 + arguments.mirror))
    return used


def check_and_note(
    used: Mapping[str, Any], rows: Dataset, training_arguments: TrainingArguments, last: str | None
) -> None:
    """Compare what is used with what the run that `last` is of was begun with, and write it to the output folder.

    Args:
        used: as of `used_settings`.
        rows: what is trained on; it may lie elsewhere than then.
        last: the checkpoint that the training goes on from, if it does.

    Raises:
        CommandError: if something else was used then, or the folder cannot be written to.
    """
    used = {**used, **trainer_settings(training_arguments), "train_rows_sha256": rows_digest(rows, "program")}
    if last is not None:
        check_begun_with(Path(last).parent / ARGUMENTS_FILE, used, _CHANGEABLE, ("tower", "model_name_or_path"))
    output = Path(str(training_arguments.output_dir))
    with one_line_if_unwritable(output):
        note_arguments(output / ARGUMENTS_FILE, used)
