"""Checkpoints of a training that may be killed, or run out of disk, at any moment."""

import contextlib
import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .errors import CommandError, one_line

# All that tells a failed write of `torch.save` from other RuntimeErrors: it has lost the system's error number.
_TORCH_WRITER = "inline_container.cc"
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR)


class WholeCheckpointTrainer(Trainer):
    """Trainer whose run goes on, after a kill, with the log of an undisturbed one.

    Raises:
        CommandError: if a checkpoint cannot be written (what there is of it is removed, which makes room; the older
            ones stay), or if training would go on from one of `save_only_model`, with another learning rate.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(_LogBeforeSaving())

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As of `Trainer`."""
        if isinstance(resume_from_checkpoint, str) and not (Path(resume_from_checkpoint) / SCHEDULER_NAME).is_file():
            raise CommandError(
                f"{resume_from_checkpoint} holds no state of optimizer and schedule, without which training cannot go "
                "on as it was: leave out --save_only_model and choose another --output_dir"
            )
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        output = Path(str(self.args.output_dir))
        folder = output / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            with one_line_if_unwritable(output):
                super()._save_checkpoint(model, trial)
        except CommandError:
            if folder.is_dir() and not _is_whole(folder):
                shutil.rmtree(folder)
            raise


class _LogBeforeSaving(TrainerCallback):
    """Logs at every checkpoint: a logged loss is a mean since the last entry, and a checkpoint does not hold its sum.

    `Trainer` logs before it saves.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_log |= control.should_save

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_log |= control.should_save


def last_whole_checkpoint(output: Path) -> str | None:
    """The latest checkpoint in `output` that was written to its end, None if there is none.

    `Trainer` would go on from the latest folder and fail on what a kill has left of it.
    """
    folders = {}
    for folder in output.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = folder.name.rpartition("-")[2]
        if step.isdecimal() and _is_whole(folder):
            folders[int(step)] = str(folder)
    return folders[max(folders)] if folders else None


@contextlib.contextmanager
def one_line_if_unwritable(output: Path) -> Iterator[None]:
    """Turn the errors of writing a model into `output`, by Python, torch or safetensors, into a `CommandError`."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _TORCH_WRITER not in str(error):
            raise
        last = last_whole_checkpoint(output)
        kept = "there is no checkpoint yet" if last is None else f"{last} is whole, training goes on from there"
        # A full disk is not always told by its number: safetensors and torch have lost it.
        is_refused = isinstance(error, OSError) and error.errno in _REFUSALS
        advice = "let it be written to, or choose another --output_dir," if is_refused else "make room"
        raise CommandError(
            f"cannot write to {output}: {one_line(error)}; {advice} and run the command again: {kept}"
        ) from error


def make_output_folder(output: Path) -> None:
    """Make the folder of a training and see that it can be written to: before anything that takes long.

    Raises:
        CommandError: if it cannot.
    """
    with one_line_if_unwritable(output):
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass


def _is_whole(folder: Path) -> bool:
    """Whether a checkpoint has its trainer's state, which is written last, to the last bracket."""
    try:
        json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True
