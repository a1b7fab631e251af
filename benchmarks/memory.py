"""Does a long build keep its memory? Resident memory of one render session over many scenes.

```bash
python -m benchmarks.memory --scenes 2000 --out benchmarks/results/memory.json
```

Growth is the mean of the last tenth of the readings over the mean of the second tenth (the first one warms up).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import psutil

from dataset_builders.families import FAMILIES
from dataset_builders.painters import PaintRequest


def resident_memory_curve(family: str, scenes: int, width: int, height: int) -> list[float]:
    """Return the resident memory of this process in MB after every scene."""
    painter = FAMILIES[family].make_painter(PaintRequest(width, height, samples=1, threads=1))
    process = psutil.Process()
    curve = []
    for index in range(scenes):
        painter.paint(FAMILIES[family].sample(family, "train", 0, index))
        curve.append(process.memory_info().rss / 1e6)
    return curve


def growth(curve: list[float]) -> float:
    """Return the relative growth from the second tenth to the last tenth."""
    tenths = np.array_split(np.array(curve), 10)
    return float(tenths[-1].mean() / tenths[1].mean() - 1)


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="clevr")
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--height", type=int, default=48)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    curve = resident_memory_curve(parsed.family, parsed.scenes, parsed.width, parsed.height)
    report = {**vars(parsed), "out": None, "growth": growth(curve), "megabytes": curve[:: max(1, len(curve) // 50)]}
    print(json.dumps(report, indent=2))
    if parsed.out is not None:
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
