"""One target under atheris, in a process of its own: libFuzzer never gives control back. Started by `fuzz.py`."""

import argparse
import base64
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["modeling_igllm", "metrics.scene_program"]):
    from benchmarks.fuzz_targets import SEEDS, TARGETS

REPORT_EVERY = 2000
MAX_CRASHES_KEPT = 20
MAX_LENGTH = 512


class Worker:
    """Counts outcomes, keeps what crashed, and reports to a file: the process may end at any time."""

    def __init__(self, name: str, runs: int, out: Path) -> None:
        self.name, self.runs, self.out = name, runs, out
        self.inputs = 0
        self.outcomes: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.crash_inputs: dict[str, str] = {}
        self.slowest = 0.0
        self.started = time.monotonic()

    def __call__(self, data: bytes) -> None:
        if self.inputs == self.runs:
            return
        started = time.process_time()
        try:
            self.outcomes[TARGETS[self.name](data)] += 1
        except (Exception, SystemExit) as error:  # whatever comes out is a crash, to be counted and kept
            crash = f"{type(error).__name__}: {error}"[:300]
            self.crashes[crash] += 1
            if len(self.crash_inputs) < MAX_CRASHES_KEPT:
                self.crash_inputs.setdefault(crash, base64.b64encode(data).decode())
        self.slowest = max(self.slowest, time.process_time() - started)
        self.inputs += 1
        if self.inputs % REPORT_EVERY == 0 or self.inputs == self.runs:
            part = self.out.with_suffix(".part")
            part.write_text(json.dumps(self.report()))
            part.replace(self.out)  # `fuzz.py` may end this process at any time

    def report(self) -> dict[str, Any]:
        """What there is to say so far; `crashes` by message, with one input of each, in base64."""
        return {
            "inputs": self.inputs,
            "seconds": round(time.monotonic() - self.started, 1),
            "slowest_input_seconds": round(self.slowest, 4),
            "distinct_outcomes": len(self.outcomes),
            "outcomes": dict(self.outcomes.most_common(100)),
            "crashes": sum(self.crashes.values()),
            "crash_inputs": self.crash_inputs,
        }


def main() -> None:
    """Fuzz until the runs are done; does not return."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("runs", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path, help="for the seeds' corpus, report.json and what libFuzzer keeps")
    parsed = parser.parse_args()
    corpus = parsed.folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[parsed.target]):
        (corpus / f"seed{number}").write_bytes(seed)
    worker = Worker(parsed.target, parsed.runs, parsed.folder / "report.json")
    # One run more than are counted for the empty input and each of the corpus, which libFuzzer does not count.
    flags = [f"-runs={parsed.runs}", f"-seed={parsed.seed}", f"-max_len={MAX_LENGTH}", "-rss_limit_mb=4096"]
    flags.append(f"-artifact_prefix={parsed.folder}/")
    atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", str(corpus)], worker)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
