"""What a given time of training yields: `[NUM]` on cached features beside digits on recomputed ones.

```bash
igllm build clevr --split train --num-scenes 5000 --resolution 160x120 --out data
igllm build clevr --split val_id --num-scenes 300 --resolution 160x120 --out data
python -m benchmarks.train_equal_time --dataset data --minutes 14 --out benchmarks/results/train_equal_time.json
```

Both are trained from scratch, one after the other; the first computation of the features counts.
"""

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import evaluate as evaluate_library
import torch
from datasets import Dataset, disable_progress_bars, load_dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl

from benchmarks.reports import write_report
from benchmarks.train_arms import Arm, Setting, Training
from modeling_igllm import parse_program
from trl_scripts.evaluation import METRIC, metric_text, predict_rows
from trl_scripts.inference import Predictor

_WARMUP_STEPS = 200
SHOWN_SCORES = (
    "strict/l2",
    "published/l2",
    "strict/f1@0.5m",
    "strict/count_exact",
    "strict/exact",
    "strict/invalid_rate",
)


class _Deadline(TrainerCallback):
    """Ends training when the time is up, and counts the steps."""

    def __init__(self, start: float, seconds: float) -> None:
        self.start, self.seconds, self.steps = start, seconds, 0

    @property
    def elapsed(self) -> float:
        """Share of the time that has passed, at most 1."""
        return min(1.0, (time.monotonic() - self.start) / self.seconds)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        self.steps += 1
        control.should_training_stop = self.elapsed >= 1

    def learning_rate_factor(self, step: int) -> float:
        """Warm-up by steps, then a cosine over the time: both arms come to its end."""
        return min(1.0, (step + 1) / _WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * self.elapsed))


def train_for(
    minutes: float, setting: Setting, arm: Arm, train_rows: Dataset, eval_rows: Dataset
) -> dict[str, float | None]:
    """Train from scratch for `minutes`, in which tower features are computed, too, and score the model.

    Returns:
        Scores of the project's metric over `eval_rows` (None where there is nothing to score), `steps` and `scenes`
        seen.
    """
    with tempfile.TemporaryDirectory() as folder:
        deadline = _Deadline(time.monotonic(), minutes * 60)
        training = Training(setting, arm, train_rows, Path(folder) / "features")
        trainer = training.trainer(folder, deadline, max_steps=10**6)
        trainer.lr_scheduler = LambdaLR(trainer.create_optimizer(), deadline.learning_rate_factor)
        trainer.train()
    model, processor = training.model.eval(), training.processor
    scenes = [parse_program(program) for program in train_rows["program"]]
    model.set_grammar(processor.make_grammar(scenes))
    texts = [metric_text(prediction) for prediction in predict_rows(Predictor(model, processor), eval_rows, 16)]
    scores = evaluate_library.load(str(METRIC)).compute(predictions=texts, references=eval_rows["program"][:])
    shown = {name: None if math.isnan(scores[name]) else scores[name] for name in SHOWN_SCORES}
    return {"steps": deadline.steps, "scenes": deadline.steps * setting.step_size, **shown}


def main() -> None:
    """Parse, train both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="data", help="folder or Hub repository of built CLEVR scenes")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/ig-llm-tiny-clevr"))
    parser.add_argument("--minutes", type=float, default=14, help="training time of each model")
    parser.add_argument("--eval-scenes", type=int, default=200)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    disable_progress_bars()
    rows = load_dataset(parsed.dataset, "clevr", split="train").remove_columns("scene")
    eval_rows = load_dataset(parsed.dataset, "clevr", split="val_id").select_columns(["image", "program"])
    eval_rows = eval_rows.select(range(min(len(eval_rows), parsed.eval_scenes)))
    setting = Setting(parsed.checkpoint, "scene", "own", step_size=32, timed_steps=0)
    report: dict[str, Any] = {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "minutes": parsed.minutes,
        "train_scenes": len(rows),
        "eval_scenes": len(eval_rows),
        "models": {},
    }
    for arm in (Arm("token", cached=True), Arm("char", cached=False)):
        report["models"][arm.name] = train_for(parsed.minutes, setting, arm, rows, eval_rows)
        print(arm.name, json.dumps(report["models"][arm.name]), flush=True)
    write_report(report, parsed.out)


if __name__ == "__main__":
    main()
