"""What a million scenes take, on paper: from measured seconds per picture and the bytes of a built folder.

```bash
igllm build clevr --split train --num-scenes 40 --out DATA
python -m benchmarks.million_scenes --dataset DATA/clevr --out benchmarks/results/million_scenes.json  # measures
python -m benchmarks.million_scenes > docs/million_scenes.md  # computes
```
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.render import HEIGHT, WIDTH
from benchmarks.reports import write_report
from dataset_builders.build import plan_build
from dataset_builders.render_pool import render_shards
from dataset_builders.shards import SHARD_SIZE, count_rows

RESULTS = Path(__file__).resolve().parent / "results"
SCENES = 1_000_000
CORES = (2, 32, 256, 1000)
STARTS = 3
TEXT = """# A million scenes

Written by `python -m benchmarks.million_scenes > docs/million_scenes.md`: on paper, never built. A task renders one
shard of {shard_size} CLEVR scenes on one core.

| measured | value | file in `benchmarks/results` |
|---|---|---|
| core-seconds for one picture, {pixels} | {core_seconds:.2f} | `render.json` |
| seconds to start Blender, for each task | {startup:.1f} | `million_scenes.json` |
| bytes for one row | {row_bytes:,.0f} | `million_scenes.json`, {rows} rows |
| memory of a Blender process, 64x48 pixels: the highest reading kept | about {megabytes:.0f} MB | `memory.json` |

| for a million scenes | |
|---|---|
| tasks, and files | {tasks:,} |
| seconds for one task | {task_seconds:.0f} |
| core-hours | {core_hours:,.0f}, of which {startup_share:.1%} for starting Blender |
| storage | {gigabytes:,.1f} GB |

| cores | hours | memory at 2 GB a core |
|---|---|---|
{table}

The cores are taken to be as fast as the measured ones, all of which were busy, and the file system to keep up: on
{most_cores:,} cores {megabytes_second:.1f} MB are written each second.
"""


@dataclass(frozen=True)
class Cost:
    """What one scene takes on one core; `startup` seconds are added for each shard."""

    core_seconds: float
    startup: float
    row_bytes: float

    @property
    def task_seconds(self) -> float:
        """Seconds of a task of one shard on one core."""
        return self.startup + SHARD_SIZE * self.core_seconds

    def core_hours(self, scenes: int) -> float:
        """Core-hours for so many scenes, rounded up to whole shards."""
        return -(-scenes // SHARD_SIZE) * self.task_seconds / 3600

    def hours(self, scenes: int, cores: int) -> float:
        """Hours on so many cores: whole rounds of tasks."""
        shards = -(-scenes // SHARD_SIZE)
        return -(-shards // cores) * self.task_seconds / 3600


def row_bytes(folder: Path) -> tuple[float, int]:
    """Bytes on disk for one row, and rows, of a family's Parquet files.

    Raises:
        ValueError: if there is none in `folder`, one is damaged, or they have other pixels than the timed pictures.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise ValueError(f"there are no Parquet files in {folder}: build some scenes first")
    for path in folder.glob("*.build.json"):
        parameters = json.loads(path.read_text())
        if (parameters["width"], parameters["height"]) != (WIDTH, HEIGHT):
            raise ValueError(f"{path}: the pictures that were timed have {WIDTH}x{HEIGHT} pixels, build such ones")
    rows = sum(count_rows(path) for path in files)
    return sum(path.stat().st_size for path in files) / rows, rows


def startup_seconds() -> float:
    """Seconds that one scene of 16x16 pixels takes in a worker of its own: nearly all of it is starting Blender.

    The least of `STARTS` runs.
    """
    settings: dict[str, Any] = {"num_scenes": 1, "resolution": (16, 16), "samples": 1}
    seconds = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            (plan,) = plan_build("clevr", Path(folder), splits=("train",), **settings)
            start = time.perf_counter()
            render_shards(plan, [0], threads=1)
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def report() -> str:
    """The text of docs/million_scenes.md."""
    rendering, memory, measured = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("render", "memory", "million_scenes")
    )
    cores = rendering["cores"]
    core_seconds = cores * rendering["seconds_per_picture"][f"{cores} workers"]
    cost = Cost(core_seconds, measured["startup_seconds"], measured["row_bytes"])
    table = [f"| {count:,} | {cost.hours(SCENES, count):,.1f} | {2 * count:,} GB |" for count in CORES]
    return TEXT.format(
        pixels=f"{WIDTH}x{HEIGHT} pixels, {rendering['samples']} samples",
        core_seconds=core_seconds,
        startup=cost.startup,
        row_bytes=cost.row_bytes,
        rows=measured["rows"],
        megabytes=max(memory["clevr"]["megabytes"]),
        shard_size=SHARD_SIZE,
        tasks=-(-SCENES // SHARD_SIZE),
        task_seconds=cost.task_seconds,
        core_hours=cost.core_hours(SCENES),
        startup_share=cost.startup / cost.task_seconds,
        gigabytes=SCENES * cost.row_bytes / 1e9,
        table="\n".join(table),
        megabytes_second=CORES[-1] * SHARD_SIZE * cost.row_bytes / cost.task_seconds / 1e6,
        most_cores=CORES[-1],
    )


def main() -> None:
    """Measure and write the figures, or print the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help=f"a family's folder of Parquet files at {WIDTH}x{HEIGHT} pixels")
    parser.add_argument("--out", type=Path, help="JSON file for what is measured")
    parsed = parser.parse_args()
    if parsed.dataset is None:
        print(report(), end="")
        return
    size, rows = row_bytes(parsed.dataset)
    measured = {"rows": rows, "row_bytes": size, "startup_seconds": startup_seconds()}
    print(json.dumps(measured, indent=2))
    write_report(measured, parsed.out)


if __name__ == "__main__":
    main()
