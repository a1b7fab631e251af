"""Seconds that the metric takes for 10,000 CLEVR scenes: texts in, all scores and their intervals out.

```bash
python -m benchmarks.metric --out benchmarks/results/metric.json
```

True scenes have 3 to 10 CLEVR objects anywhere on the ground; predictions are copies of them with objects moved,
misnamed, left out and made up. Making them is not timed. The whole is timed twice, by the plain function and through
`evaluate` as users call it, and its phases once more alone. `cpu_seconds` do not count the time that other programs
had the core.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import evaluate
import numpy as np

from benchmarks.reports import write_report
from metrics.scene_program.bootstrap import pooled_scores
from metrics.scene_program.matching import match_by_distance
from metrics.scene_program.programs import read_corpus
from metrics.scene_program.published_scores import published_scores
from metrics.scene_program.scoring import score_programs
from metrics.scene_program.strict_scores import RADIUS, strict_ratios
from modeling_igllm import COLORS, MATERIALS, SHAPES, SIZES, ClevrObject, SceneProgram, format_program

METRIC = Path(__file__).resolve().parent.parent / "metrics" / "scene_program"
MISSING, EXTRA, MISNAMED = 0.05, 0.05, 0.1
"""Shares of the true objects."""

SHIFT = 0.2
"""Standard deviation along each axis, metres."""


def make_texts(scenes: int) -> tuple[list[str], list[str]]:
    """Predicted and true programs."""
    rng = np.random.default_rng(0)
    truths = [[_random_object(rng) for _ in range(rng.integers(3, 11))] for _ in range(scenes)]
    predicted = [[_mistaken(item, rng) for item in _miscounted(objects, rng)] for objects in truths]
    return [_text(objects) for objects in predicted], [_text(objects) for objects in truths]


def _text(objects: list[ClevrObject]) -> str:
    return format_program(SceneProgram(tuple(objects)))


def _random_object(rng: np.random.Generator) -> ClevrObject:
    size, color, material, shape = (str(rng.choice(words)) for words in (SIZES, COLORS, MATERIALS, SHAPES))
    x, y, yaw = (float(value) for value in rng.uniform([-3, -3, 0], [3, 3, np.pi / 2]))
    return ClevrObject(size, color, material, shape, (x, y, RADIUS[size]), yaw if shape == "cube" else None)


def _miscounted(objects: list[ClevrObject], rng: np.random.Generator) -> list[ClevrObject]:
    kept = [item for item in objects if rng.random() >= MISSING]
    return kept + [item for item in objects if rng.random() < EXTRA]


def _mistaken(item: ClevrObject, rng: np.random.Generator) -> ClevrObject:
    x, y, z = (float(value) for value in np.array(item.loc) + rng.normal(0, SHIFT, 3))
    color = str(rng.choice(COLORS)) if rng.random() < MISNAMED else item.color
    return dataclasses.replace(item, loc=(x, y, z), color=color)


def measure_phases(predictions: list[str], references: list[str]) -> dict[str, float]:
    """Seconds of the steps of `score_programs`, one after the other."""
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = step(*arguments)
        seconds[name] = time.perf_counter() - start
        return result

    corpus = timed("parse", read_corpus, predictions, references, "6d")
    pairs = timed("match", match_by_distance, corpus.predicted, corpus.true)
    timed("published", published_scores, corpus, pairs, False)
    ratios = timed("strict", strict_ratios, corpus, pairs)
    timed("bootstrap", pooled_scores, ratios)
    return seconds


def measure(scenes: int) -> dict[str, Any]:
    """Time everything; a first run over few scenes warms up imports and caches."""
    predictions, references = make_texts(scenes)
    metric = evaluate.load(str(METRIC))
    metric.compute(predictions=predictions[:10], references=references[:10])
    score_programs(predictions[:10], references[:10])
    start, cpu_start = time.perf_counter(), time.process_time()
    scores = score_programs(predictions, references)
    whole, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    start = time.perf_counter()
    metric.compute(predictions=predictions, references=references)
    through_evaluate = time.perf_counter() - start
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "scenes": scenes,
        "true_objects": sum(text.count("add(") for text in references),
        "seconds": whole,
        "cpu_seconds": cpu_seconds,
        "seconds_through_evaluate": through_evaluate,
        "seconds_by_phase": measure_phases(predictions, references),
        "strict/f1@0.5m": scores["strict/f1@0.5m"],
    }


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    report = measure(parsed.scenes)
    print(json.dumps(report, indent=2))
    write_report(report, parsed.out)


if __name__ == "__main__":
    main()
