"""The arguments of a run that may be killed: it goes on with those it was begun with, or not at all."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainingArguments

from dataset_builders.whole_file import write_whole

from .errors import CommandError, one_line

# All of `TrainingArguments` that decides what the weights become, but for how long is trained.
_NOTED = (
    "seed",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "optim",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "bf16",
    "fp16",
)


def trainer_settings(arguments: TrainingArguments) -> dict[str, Any]:
    """What a run that goes on must have of `TrainingArguments` as it was: all but how long is trained and logged."""
    return {name: getattr(arguments, name) for name in _NOTED}


def rows_digest(rows: Dataset, column: str) -> str:
    """SHA-256 of a column's values and the first picture's size: of the same rows in another folder it is the same."""
    digest = hashlib.sha256(repr(rows[0]["image"].size).encode())
    for value in rows[column]:
        digest.update(json.dumps(value, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def check_begun_with(
    path: Path, used: dict[str, Any], changeable: Collection[str] = (), places: Collection[str] = ()
) -> None:
    """See that a run that goes on has the arguments that `note_arguments` has written for it.

    What was not noted then passes, and so does a folder without the file.

    Args:
        path: the JSON file, in the folder of the run.
        used: every argument of today's run.
        changeable: names of those that may be others than then.
        places: names of those that are folders or Hub repositories: `model` is `./model`.

    Raises:
        CommandError: if one of the others differs, or the file cannot be read.
    """
    if not path.is_file():
        return
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise CommandError(f"{path} is damaged: {one_line(error)}; choose another --output_dir") from error
    for name, value in json.loads(json.dumps(used)).items():  # as they come back from the file
        if name not in begun or name in changeable or begun[name] == value:
            continue
        if name not in places or _absolute(begun[name]) != _absolute(value):
            raise CommandError(
                f"{path.parent} was begun with {name}={begun[name]!r}, now it is {value!r}: go on with the same, or "
                "choose another --output_dir"
            )


def _absolute(place: str | None) -> Path | None:
    return None if place is None else Path(place).resolve()


def note_arguments(path: Path, used: dict[str, Any]) -> None:
    """Write what a run was begun with, or is gone on with, for `check_begun_with` and for readers."""
    text = json.dumps(used, indent=2) + "\n"
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))
