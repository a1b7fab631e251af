"""Does a long build keep its memory? Resident memory of a build's workers while it renders many scenes.

```bash
python -m benchmarks.memory --scenes 2000 --out benchmarks/results/memory.json
```

Growth is the mean of the last tenth of the readings over the mean of the second tenth (the first one warms up).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil

_READING_SECONDS = 0.5


def resident_memory_curve(family: str, scenes: int, resolution: str) -> list[float]:
    """Build one split with one worker and return the resident memory of its largest process in MB over time.

    Raises:
        subprocess.CalledProcessError: if the build fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trl_scripts.cli", "build", family, "--split", "train", "--workers", "1"]
        command += ["--num-scenes", str(scenes), "--resolution", resolution, "--samples", "1", "--out", folder]
        build = subprocess.Popen(command)
        parent = psutil.Process(build.pid)
        curve = []
        while True:
            try:
                build.wait(_READING_SECONDS)
                break
            except subprocess.TimeoutExpired:
                curve.append(_largest_child(parent))
    if build.returncode:
        raise subprocess.CalledProcessError(build.returncode, command)
    return [value for value in curve if value > 0]


def _largest_child(parent: psutil.Process) -> float:
    sizes = [0.0]
    for child in parent.children(recursive=True):
        try:
            sizes.append(child.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:  # a worker that has just been replaced
            continue
    return max(sizes)


def growth(curve: list[float]) -> float:
    """Return the relative growth from the second tenth to the last tenth."""
    tenths = np.array_split(np.array(curve), 10)
    return float(tenths[-1].mean() / tenths[1].mean() - 1)


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="clevr")
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--resolution", default="64x48")
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    curve = resident_memory_curve(parsed.family, parsed.scenes, parsed.resolution)
    report = {**vars(parsed), "out": None, "growth": growth(curve), "megabytes": curve[:: max(1, len(curve) // 50)]}
    print(json.dumps(report, indent=2))
    if parsed.out is not None:
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
