"""What a training says of itself in its log: how long it took, over all resumed runs, and how much memory."""

import resource
import sys
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SECONDS = "elapsed_seconds"
PEAK_MEMORY = "peak_memory_mb"


class RunClock(TrainerCallback):
    """Notes the seconds of training in every entry of the trainer's log, those before a kill included, and the memory.

    What was done after the last checkpoint before a kill is done again and counts once. The memory is the process's
    largest so far (`peak_memory_mb`), without that of a GPU.
    """

    def __init__(self) -> None:
        self.start = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        before = next((entry[SECONDS] for entry in reversed(state.log_history) if SECONDS in entry), 0.0)
        self.start = time.monotonic() - before

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        state.log_history[-1] |= {SECONDS: time.monotonic() - self.start, PEAK_MEMORY: peak_memory_mb()}


def peak_memory_mb() -> float:
    """The most memory that this process has held at once, in megabytes (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6  # macOS counts bytes, Linux KiB
