"""What a run reports while it trains: lines of progress, and scores along the way."""

import sys
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Scores = dict[str, float | None]
CURVE = "curve"
_SECONDS_BETWEEN_LINES = 30.0


class ProgressLines(TrainerCallback):
    """A line on standard error now and then: several runs side by side would draw over each other's bars."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start = self.last = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        now = time.monotonic()
        if now - self.last < _SECONDS_BETWEEN_LINES and state.global_step < state.max_steps:
            return
        self.last = now
        loss = next((f", loss {entry['loss']:.3f}" for entry in reversed(state.log_history) if "loss" in entry), "")
        done = f"step {state.global_step} of {state.max_steps}"
        print(f"{self.name}: {done}, {(now - self.start) / 60:.1f} minutes{loss}", file=sys.stderr, flush=True)


class CurveScores(TrainerCallback):
    """Scores the model every `every` steps and at the end of training, into the trainer's log.

    Args:
        score: takes the model, in evaluation mode, and its processor; returns split -> scores.
    """

    def __init__(self, every: int, score: Callable[[Any, Any], dict[str, Scores]]) -> None:
        self.every = every
        self.score = score

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs["model"]
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        model.eval()
        scores = self.score(model, kwargs["processing_class"])
        model.train()
        entry: dict[str, Any] = {"step": state.global_step, CURVE: scores}
        state.log_history.append(entry)
