"""The trainer of the scene tower: a schedule in epochs or minutes, averaged weights, and resuming with both."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .finite_loss import FiniteLossTrainer
from .tower_dataset import TowerDataset
from .tower_pretraining import SceneTowerForPreTraining
from .whole_checkpoints import WholeCheckpointTrainer

AVERAGED_NAME = "averaged.safetensors"
PROGRESS_NAME = "tower_progress.json"


class TowerTrainer(FiniteLossTrainer, WholeCheckpointTrainer):
    """Trainer of `SceneTowerForPreTraining` that keeps an exponential moving average (EMA) of the weights.

    Each of `loss`'s parts is logged beside it as `loss_<target>`, averaged over the batches that had the target.

    Args:
        model, train_dataset, kwargs: as of `Trainer`.
        minutes: wall-clock budget of training, over all resumed runs together; the learning rate warms up over
            `warmup_steps` and falls to 0 as a cosine of the time. None: by epochs or steps, as the arguments say.
        ema_decay: of the average, per step, in [0, 1); reached step by step, (1 + n) / (10 + n), so that it does not
            keep the untrained weights. 0 keeps the last weights themselves. Batch statistics are averaged, too.
        clock: seconds, from any start.

    Raises:
        ValueError: for minutes or a decay out of range.
        CommandError: in training, if a checkpoint cannot be written (`WholeCheckpointTrainer`) or the loss is NaN
            (`FiniteLossTrainer`).
    """

    def __init__(
        self,
        model: SceneTowerForPreTraining,
        train_dataset: TowerDataset,
        minutes: float | None = None,
        ema_decay: float = 0.999,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        if minutes is not None and not 0 < minutes < math.inf:
            raise ValueError(f"minutes must be finite and above 0, got {minutes}")
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {ema_decay}")
        super().__init__(model=model, train_dataset=train_dataset, **kwargs)
        self.minutes, self.clock = minutes, clock
        self.averaged = AveragedModel(model, multi_avg_fn=_moving_average(ema_decay), use_buffers=True)
        self._seconds_before = 0.0
        self._start: float | None = None
        self._losses: dict[str, list[torch.Tensor]] = {}
        self.add_callback(_StepCallback(self, model, train_dataset))

    @property
    def averaged_model(self) -> SceneTowerForPreTraining:
        """The model with the averaged weights: to be scored and saved."""
        model = self.averaged.module
        assert isinstance(model, SceneTowerForPreTraining)  # a copy of what it was made of
        return model

    @property
    def seconds(self) -> float:
        """Time spent in training so far, that of the runs before a resume included."""
        return self._seconds_before + (0.0 if self._start is None else self.clock() - self._start)

    def start_clock(self) -> None:
        """Begin to count the time of this run."""
        self._start = self.clock()

    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self.minutes is not None and self.seconds >= 60 * self.minutes

    def row_record(self, index: int) -> dict[str, Any]:
        """The scene of a row, from which its targets are made."""
        assert isinstance(self.train_dataset, TowerDataset)
        return {"scene": self.train_dataset.scenes[index]["scene"]}

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """As of `Trainer`; with a budget of minutes, a cosine over the time."""
        if self.minutes is None:
            return super().create_scheduler(num_training_steps, optimizer)
        warmup_steps = self.args.get_warmup_steps(num_training_steps)
        budget = 60 * self.minutes

        def factor(step: int) -> float:
            warmup = min(1.0, (step + 1) / (warmup_steps + 1))
            return warmup * (1 + math.cos(math.pi * min(1.0, self.seconds / budget))) / 2

        optimizer = optimizer or self.optimizer
        assert optimizer is not None  # the trainer makes it first
        self.lr_scheduler = LambdaLR(optimizer, factor)
        return self.lr_scheduler

    def compute_loss(  # type: ignore[override]
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """As of `Trainer`; remembers the losses of the targets until they are logged."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        for name, value in outputs.losses.items():
            self._losses.setdefault(name, []).append(value.detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As of `Trainer`; adds the losses of the targets and the minutes."""
        if "loss" in logs:
            logs |= {f"loss_{name}": torch.stack(values).mean().item() for name, values in self._losses.items()}
            logs["minutes"] = self.seconds / 60
            self._losses = {}
        super().log(logs, start_time)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        folder = Path(output_dir)
        save_model(self.averaged, str(folder / AVERAGED_NAME))
        (folder / PROGRESS_NAME).write_text(json.dumps({"seconds": self.seconds}) + "\n")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            load_model(self.averaged, str(Path(checkpoint) / AVERAGED_NAME))
            self._seconds_before = json.loads((Path(checkpoint) / PROGRESS_NAME).read_text())["seconds"]


class _StepCallback(TrainerCallback):
    """What `TowerTrainer` does at the beginning of training, of every epoch, and after every step."""

    def __init__(self, trainer: TowerTrainer, model: SceneTowerForPreTraining, dataset: TowerDataset) -> None:
        self.trainer, self.model, self.dataset = trainer, model, dataset

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.trainer.start_clock()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Where a run is resumed within an epoch, the state's number is a fraction.
        self.dataset.epoch = int((state.epoch or 0) + 1e-6)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trainer.averaged.update_parameters(self.model)
        if self.trainer.is_over():
            control.should_training_stop = True


def _moving_average(decay: float) -> Callable[..., None]:
    """How `AveragedModel` takes a step's tensors in: all of one kind at once; integers (counters) are copied."""

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        steps = int(count)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + steps) / (10 + steps)))

    return update
