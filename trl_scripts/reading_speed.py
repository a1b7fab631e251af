"""How long a checkpoint takes to read a picture, and how much memory: measured in a process that does nothing else.

```bash
python -m trl_scripts.reading_speed CHECKPOINT PICTURE...
```
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from modeling_igllm.image_files import read_image

from .errors import CommandError
from .inference import Predictor
from .run_clock import peak_memory_mb


def measure_in_own_process(checkpoint: Path, pictures: list[Path]) -> dict[str, Any]:
    """`measure` in a fresh Python, whose memory is that of reading alone.

    Raises:
        CommandError: if it fails; the message is the last line of its errors.
    """
    command = [sys.executable, "-m", "trl_scripts.reading_speed", str(checkpoint.resolve())]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [*command, *(str(path.resolve()) for path in pictures)], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandError(f"cannot time {checkpoint}: {(done.stderr.splitlines() or ['no output'])[-1]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(checkpoint: Path, pictures: list[Path]) -> dict[str, Any]:
    """Read pictures one by one, from file to program in float32 on the CPU, then all at a time.

    Returns:
        `pictures`; of one at a time (after one that warms up) `median_seconds`, `slowest_seconds` and
        `median_cpu_seconds`, the process's own time on all its threads; `seconds_in_batch` for one of all;
        `peak_memory_mb` of the process before the batch; `cores`, `threads`, `system`, and `load_average` of the
        machine's last minute at the start: far above 0, it was busy otherwise.
    """
    load_average = os.getloadavg()[0]
    predictor = Predictor.load(str(checkpoint), None, "cpu", "float32")
    _read(predictor, pictures[:1])
    seconds, cpu_seconds = zip(*(_read(predictor, [path]) for path in pictures), strict=True)
    peak = peak_memory_mb()
    return {
        "pictures": len(pictures),
        "median_seconds": statistics.median(seconds),
        "slowest_seconds": max(seconds),
        "median_cpu_seconds": statistics.median(cpu_seconds),
        "seconds_in_batch": _read(predictor, pictures)[0] / len(pictures),
        "peak_memory_mb": peak,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": load_average,
    }


def _read(predictor: Predictor, pictures: list[Path]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    start, cpu_start = time.monotonic(), time.process_time()
    list(predictor.predict([read_image(path) for path in pictures], batch_size=len(pictures)))
    return time.monotonic() - start, time.process_time() - cpu_start


def main() -> None:
    """Parse, measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parsed = parser.parse_args()
    print(json.dumps(measure(parsed.checkpoint, parsed.pictures)))


if __name__ == "__main__":
    main()
