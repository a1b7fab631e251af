"""Feed the readers of this project hostile input, by coverage (atheris), and write down what came of it.

```bash
pip install -e ".[fuzz]" -c constraints.txt
python -m benchmarks.fuzz --parser 5000000 --json 5000000 --metric 100000 --processor 20000 \
    --out benchmarks/results/fuzz.json
```

One process after another; for each target its inputs, seconds, distinct outcomes, libFuzzer's coverage and crashes
(which must be 0; a process that does not live to its last input is one too). Then the growth of reading time with
length: the ratio of the times at 8 and 1 times a length is 8 if time is linear, and 64 if it is quadratic.
`--minutes` ends a target early; what it had done by then counts. Results of other targets that are in the file
already stay there.
"""

import argparse
import base64
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
        The report of `fuzz_worker.py`, with `coverage` and `features` as libFuzzer counts them. A process that ends by
        itself before it is done (segmentation fault, out of memory, an input that hangs, an exit) is one more of its
        `crashes`; its input is kept where libFuzzer has kept it. One that is ended after `minutes` is none.

    Raises:
        RuntimeError: If the process has ended without a report: then libFuzzer itself has something to say.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exit_code = _run_worker(target, runs, seed, minutes, folder)
        log_text = (folder / "log").read_text(errors="replace")
        report_path = folder / "report.json"
        if not report_path.is_file():
            raise RuntimeError(f"fuzzing {target} has ended ({exit_code}) without a report:\n{log_text[-2000:]}")
        report: dict[str, Any] = json.loads(report_path.read_text())
        if exit_code is not None and (exit_code != 0 or report["inputs"] < runs):
            message = f"the process ended with exit code {exit_code}:\n{log_text[-2000:]}"
            report["crashes"] += 1
            report["crash_inputs"][message] = _kept_input(folder)
    counts = re.findall(r"cov: (\d+) ft: (\d+)", log_text)
    if counts:
        report |= {"coverage": int(counts[-1][0]), "features": int(counts[-1][1])}
    return report


def _run_worker(target: str, runs: int, seed: int, minutes: float | None, folder: Path) -> int | None:
    """Exit code of the worker, which writes to `folder`; None if it was still at work after `minutes`."""
    command = [sys.executable, "-m", "benchmarks.fuzz_worker", target, str(runs), str(seed), str(folder)]
    with (folder / "log").open("w") as log:
        try:
            limit = None if minutes is None else 60 * minutes
            return subprocess.run(command, stdout=log, stderr=log, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"{target}: {minutes} minutes are over", file=sys.stderr)
            return None


def _kept_input(folder: Path) -> str | None:
    """The input that libFuzzer has kept of the one that ended the process, in base64."""
    kept = [path for kind in ("crash", "oom", "timeout") for path in folder.glob(f"{kind}-*")]
    return base64.b64encode(kept[0].read_bytes()).decode() if kept else None


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
