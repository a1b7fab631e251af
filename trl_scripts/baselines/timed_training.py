"""A training loop that resumes after a kill and whose schedule ends with its steps or its time, whichever is first."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_NAME

from trl_scripts.finite_loss import NonFiniteLossError

MAX_GRAD_NORM = 5.0
SAVE_SECONDS = 60.0
CLOCK_FILE = "training.json"
"""Beside a finished model: `step` and `seconds` of its training."""

BatchLoss = Callable[[Any, torch.Tensor], torch.Tensor]
"""(model, example numbers (B,) int64) -> loss, a scalar."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps at most.
        seconds: of training at most, those before a kill included; None for no limit.
        warmup_steps: of linear warm-up; a cosine to zero follows.
        precision: "bf16" (autocast) or "no".
        seed: of the order of the examples.
        report_to: a tracker of accelerate ("tensorboard", "trackio", ...) for the loss, or None.
    """

    steps: int
    seconds: float | None
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup_steps: int = 50
    precision: str = "no"
    seed: int = 0
    report_to: str | None = None


class TrainingClock:
    """Steps and seconds of a run, which a checkpoint keeps (accelerate's `register_for_checkpointing`)."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self.step = 0
        self.seconds_before = 0.0
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training up to now."""
        return self.seconds_before + time.monotonic() - self.start

    @property
    def progress(self) -> float:
        """Share of the plan that is done, in [0, 1]."""
        by_time = 0.0 if self.plan.seconds is None else self.seconds / self.plan.seconds
        return min(1.0, max(self.step / self.plan.steps, by_time))

    def learning_rate_factor(self, step: int) -> float:
        """Warm-up by steps, then a cosine over what limits the run."""
        warm = min(1.0, (step + 1) / (self.plan.warmup_steps + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint; the time in between does not count."""
        self.step, self.seconds_before, self.start = int(state["step"]), state["seconds"], time.monotonic()


def fit(model: PreTrainedModel, num_examples: int, batch_loss: BatchLoss, plan: TrainingPlan, folder: Path) -> None:
    """Train `model` and save it in `folder`; nothing is done where a finished model is there.

    Checkpoints are kept in the same folder until the model is finished, and one found there is gone on from. Without a
    limit of time, the result depends on the plan and the model's first weights alone.

    Args:
        num_examples: batches are drawn from 0 ... num_examples - 1, each at most once in an epoch; not fewer than
            the batch size.
        batch_loss: called with the model in training mode; its forward pass is under autocast if the plan says so.

    Raises:
        NonFiniteLossError: before a step whose loss or gradient is NaN or infinite. `non_finite_step_<N>.json` in the
            folder has the numbers of its examples; the last checkpoint is kept.
    """
    if is_finished(folder):
        return
    accelerator = Accelerator(mixed_precision=plan.precision, log_with=plan.report_to, project_dir=folder)
    accelerator.init_trackers(folder.name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    clock = TrainingClock(plan)
    scheduler = LambdaLR(optimizer, clock.learning_rate_factor)
    prepared, optimizer = accelerator.prepare(model.train(), optimizer)
    accelerator.register_for_checkpointing(clock, scheduler)
    checkpoint = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if checkpoint is not None:
        accelerator.load_state(checkpoint)
    saved = clock.seconds
    with tqdm(total=plan.steps, initial=clock.step, desc=folder.name, unit="step") as bar:
        while clock.progress < 1:
            indices = batch_indices(clock.step, num_examples, plan)
            loss = batch_loss(prepared, indices.to(accelerator.device))
            accelerator.backward(loss)
            gradient = accelerator.clip_grad_norm_(prepared.parameters(), MAX_GRAD_NORM)
            for what, value in {"loss": loss.item(), "gradient": float(gradient)}.items():
                if not math.isfinite(value):
                    _stop(what, value, clock.step + 1, indices, folder)
            optimizer.step()
            optimizer.zero_grad()
            clock.step += 1
            scheduler.step()
            accelerator.log({"loss": loss.item()}, step=clock.step)
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", minutes=f"{clock.seconds / 60:.1f}")
            if clock.seconds - saved > SAVE_SECONDS:
                _save_checkpoint(accelerator, folder, clock.step)
                saved = clock.seconds
    accelerator.end_training()
    _save_finished(model.eval(), clock, folder)


def is_finished(folder: Path) -> bool:
    """Whether `fit` has saved its model there."""
    return (folder / SAFE_WEIGHTS_NAME).is_file()


def training_seconds(folder: Path) -> float:
    """How long the finished model in `folder` was trained, before kills included."""
    return float(json.loads((folder / CLOCK_FILE).read_text(encoding="utf-8"))["seconds"])


def batch_indices(step: int, num_examples: int, plan: TrainingPlan) -> torch.Tensor:
    """The examples of a step, (batch_size,): a seeded shuffle for every epoch, so any step can be redone."""
    steps_per_epoch = num_examples // plan.batch_size
    epoch, place = divmod(step, steps_per_epoch)
    generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
    order = torch.randperm(num_examples, generator=generator)
    return order[place * plan.batch_size : (place + 1) * plan.batch_size]


def _stop(what: str, value: float, step: int, examples: torch.Tensor, folder: Path) -> NoReturn:
    """Write the examples of a step down and raise `NonFiniteLossError`."""
    path = folder / f"non_finite_step_{step}.json"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"step": step, what: str(value), "examples": examples.tolist()}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    checkpoint = get_last_checkpoint(str(folder))
    kept = f"{folder} holds no checkpoint yet" if checkpoint is None else f"{checkpoint} is kept"
    raise NonFiniteLossError(
        f"the {what} of step {step} is {value}: training has stopped before it; {kept}, the numbers of the step's "
        f"examples are in {path}. Look at them, or train with a lower learning rate in another --output_dir"
    )


def _save_checkpoint(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Write a checkpoint under another name first, so that one with the right name is always whole."""
    older = list(folder.glob("checkpoint-*"))
    accelerator.save_state(str(folder / "unfinished"))
    os.replace(folder / "unfinished", folder / f"checkpoint-{step}")
    _remove(older)


def _save_finished(model: PreTrainedModel, clock: TrainingClock, folder: Path) -> None:
    """Write model, steps and seconds; the weights, which say that it is finished, appear last and whole."""
    unfinished = folder / "unfinished"
    model.save_pretrained(unfinished)
    (folder / CLOCK_FILE).write_text(json.dumps(clock.state_dict()) + "\n", encoding="utf-8")
    for name in (CONFIG_NAME, SAFE_WEIGHTS_NAME):
        os.replace(unfinished / name, folder / name)
    _remove([unfinished, *folder.glob("checkpoint-*")])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)
