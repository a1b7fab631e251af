"""Feed the readers of this project hostile input, by coverage (atheris), and write down what came of it.

```bash
pip install -e ".[fuzz]" -c constraints.txt
python -m benchmarks.fuzz --parser 5000000 --json 5000000 --metric 100000 --processor 20000 \
    --out benchmarks/results/fuzz.json
```

One process after another; for each target its inputs, seconds, distinct outcomes, libFuzzer's coverage and crashes
(which must be 0). Then the growth of reading time with length: the ratio of the times at 8 and 1 times a length is 8
if time is linear, and 64 if it is quadratic. `--minutes` ends a target early; what it had done by then counts. Results
of other targets that are in the file already stay there.
"""

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.fuzz_lengths import growth
from benchmarks.fuzz_targets import TARGETS
from benchmarks.reports import write_report

LENGTH = 25_000
"""Characters of the shortest of four texts; the longest is under the parser's limits."""


def fuzz(target: str, runs: int, seed: int, minutes: float | None) -> dict[str, Any]:
    """Fuzz one target in a process of its own.

    Returns:
        The report of `fuzz_worker.py`, with `coverage` and `features` as libFuzzer counts them.

    Raises:
        RuntimeError: If the process has ended without a report: then libFuzzer itself has something to say.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.fuzz_worker", target, str(runs), str(seed), folder]
        log_path = Path(folder) / "log"
        with log_path.open("w") as log:
            try:
                limit = None if minutes is None else 60 * minutes
                subprocess.run(command, stdout=log, stderr=log, timeout=limit, check=False)
            except subprocess.TimeoutExpired:
                print(f"{target}: {minutes} minutes are over", file=sys.stderr)
        log_text = log_path.read_text(errors="replace")
        report_path = Path(folder) / "report.json"
        if not report_path.is_file():
            raise RuntimeError(f"fuzzing {target} has ended without a report:\n{log_text[-2000:]}")
        report: dict[str, Any] = json.loads(report_path.read_text())
    counts = re.findall(r"cov: (\d+) ft: (\d+)", log_text)
    if counts:
        report |= {"coverage": int(counts[-1][0]), "features": int(counts[-1][1])}
    return report


def main() -> int:
    """Fuzz, measure, write; the exit code is 1 if anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for target in TARGETS:
        parser.add_argument(f"--{target}", type=int, default=0, metavar="INPUTS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="most minutes of each target (default: no limit)")
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    report: dict[str, Any] = {"targets": {}}
    if parsed.out is not None and parsed.out.is_file():
        report = json.loads(parsed.out.read_text())
    report |= {"python": platform.python_version(), "atheris": version("atheris")}
    for target in TARGETS:
        if runs := getattr(parsed, target):
            result = fuzz(target, runs, parsed.seed, parsed.minutes)
            report["targets"][target] = {"date": _today(), "seed": parsed.seed, **result}
            write_report(report, parsed.out)
    report["growth"] = {"date": _today(), **growth(LENGTH)}
    write_report(report, parsed.out)
    print(json.dumps(report, indent=2))
    return 1 if any(result["crashes"] for result in report["targets"].values()) else 0


def _today() -> str:
    return datetime.date.today().isoformat()


if __name__ == "__main__":
    sys.exit(main())
