"""Does a long build keep its memory? Resident memory of a build's workers while it renders many scenes.

```bash
python -m benchmarks.memory --scenes 2000 --out benchmarks/results/memory.json
python -m benchmarks.memory --family shapenet --resolution 64x64 --scenes 600 --out benchmarks/results/memory.json
```

The file holds a report for each family; those of other families stay.

Growth is the mean of the last tenth of the readings over the mean of the second tenth (the first one warms up). A
build starts a new worker every 300 scenes: `peaks` are the most that each of them had.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil

from benchmarks.reports import write_report

_READING_SECONDS = 0.5


def resident_memory_curve(family: str, scenes: int, resolution: str) -> list[tuple[int, float]]:
    """Build one split with one worker at a time and return the worker's process id and resident MB over time.

    Raises:
        subprocess.CalledProcessError: if the build fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trl_scripts.cli", "build", family, "--split", "train", "--workers", "1"]
        command += ["--num-scenes", str(scenes), "--resolution", resolution, "--samples", "1", "--out", folder]
        build = subprocess.Popen(command)
        parent = psutil.Process(build.pid)
        curve: list[tuple[int, float]] = []
        while True:
            try:
                build.wait(_READING_SECONDS)
                break
            except subprocess.TimeoutExpired:
                curve += _workers(parent)
    if build.returncode:
        raise subprocess.CalledProcessError(build.returncode, command)
    return curve


def _workers(parent: psutil.Process) -> list[tuple[int, float]]:
    found = []
    for child in parent.children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):  # not Python's resource tracker
                found.append((child.pid, child.memory_info().rss / 1e6))
        except psutil.NoSuchProcess:  # a worker that has just been replaced
            continue
    return found


def growth(curve: list[float]) -> float:
    """Return the relative growth from the second tenth to the last tenth."""
    tenths = np.array_split(np.array(curve), 10)
    return float(tenths[-1].mean() / tenths[1].mean() - 1)


def peaks(curve: list[tuple[int, float]]) -> list[float]:
    """Return the highest reading of each worker, in the order in which they came."""
    highest: dict[int, float] = {}
    for pid, megabytes in curve:
        highest[pid] = max(megabytes, highest.get(pid, 0.0))
    return list(highest.values())


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="clevr")
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--resolution", default="64x48")
    parser.add_argument("--out", type=Path, help="JSON file to put the family's report into")
    parsed = parser.parse_args()
    curve = resident_memory_curve(parsed.family, parsed.scenes, parsed.resolution)
    readings = [megabytes for _, megabytes in curve]
    report = {
        "scenes": parsed.scenes,
        "resolution": parsed.resolution,
        "growth": growth(readings),
        "peaks": peaks(curve),
        "megabytes": readings[:: max(1, len(readings) // 50)],
    }
    print(json.dumps(report, indent=2))
    others = json.loads(parsed.out.read_text()) if parsed.out is not None and parsed.out.exists() else {}
    write_report({**others, parsed.family: report}, parsed.out)


if __name__ == "__main__":
    main()
