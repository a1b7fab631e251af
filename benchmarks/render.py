"""How fast are pictures rendered, and how good are they, beside the stock CLEVR procedure? One run, same scenes.

```bash
python -m benchmarks.render --scenes 8 --out benchmarks/results/render.json
```

Stock: one process on all cores; for every picture the base scene is made anew, then 512 samples without a denoiser and
8 bounces. Ours: one Blender session per worker, one worker per core, few samples and a denoiser. The second comparison
gives both procedures the same samples and denoiser. Figures are ratios within this run; the scaling table is seconds.
"""

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.sampled_scene import SampledScene

WIDTH, HEIGHT = 320, 240
STOCK_SAMPLES = 512
Procedure = dict[str, Any]  # keywords of RenderQuality


def render_stock(scene: SampledScene, quality: Procedure) -> np.ndarray:
    """Render one scene from a fresh Blender scene, as the stock generator does for every picture."""
    from dataset_builders.rendering.session import RenderSession
    from dataset_builders.rendering.settings import RenderQuality

    assert scene.camera is not None
    return RenderSession(RenderQuality(**quality)).render(scene.objects, scene.camera, scene.lights)


@cache
def _session(quality: tuple[tuple[str, Any], ...]) -> Any:
    from dataset_builders.rendering.session import RenderSession
    from dataset_builders.rendering.settings import RenderQuality

    return RenderSession(RenderQuality(**dict(quality)))


def render_shared(scene: SampledScene, quality: Procedure) -> np.ndarray:
    """Render one scene in this worker's one session, as `igllm build` does."""
    assert scene.camera is not None
    return _session(tuple(quality.items())).render(scene.objects, scene.camera, scene.lights)


def measure(function: Any, scenes: list[SampledScene], quality: Procedure, workers: int) -> tuple[float, np.ndarray]:
    """Return seconds per picture and the pictures (N, height, width, 3); workers warm up on one picture first."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    work = partial(function, quality={**quality, "threads": threads})
    with ProcessPoolExecutor(workers, context) as pool:
        list(pool.map(work, scenes[:1] * workers))
        start = time.perf_counter()
        pictures = list(pool.map(work, scenes))
        seconds = time.perf_counter() - start
    return seconds / len(scenes), np.stack(pictures)


def mean_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Mean structural similarity of two stacks of pictures (N, height, width, 3) uint8."""
    from skimage.metrics import structural_similarity

    return float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in zip(first, second, strict=True)]))


def compare(scenes: list[SampledScene], samples: int, workers: int) -> dict[str, float]:
    """Time the stock procedure, ours, and both at equal samples and denoiser."""
    size = {"width": WIDTH, "height": HEIGHT}
    ours = {**size, "samples": samples}
    stock = {**size, "samples": STOCK_SAMPLES, "denoise": False, "max_bounces": 8}
    stock_seconds, reference = measure(render_stock, scenes, stock, workers=1)
    our_seconds, pictures = measure(render_shared, scenes, ours, workers)
    equal_seconds, _ = measure(render_stock, scenes, ours, workers=1)
    return {
        "stock_seconds": stock_seconds,
        "our_seconds": our_seconds,
        "speedup": stock_seconds / our_seconds,
        "ssim_to_stock": mean_ssim(pictures, reference),
        "speedup_at_equal_samples": equal_seconds / our_seconds,
    }


def scaling(scenes: list[SampledScene], samples: int) -> dict[str, float]:
    """Seconds per picture by objects (fewest and most), pixels and workers, all else equal."""
    size = {"width": WIDTH, "height": HEIGHT, "samples": samples}
    by_objects = sorted(scenes, key=lambda scene: len(scene.objects))
    half = len(scenes) // 2
    few, many = by_objects[:half], by_objects[half:]
    cores = os.cpu_count() or 1
    table = {
        f"{np.mean([len(s.objects) for s in group]):.1f} objects": measure(render_shared, group, size, cores)[0]
        for group in (few, many)
    }
    for factor in (2, 4):
        smaller = {**size, "width": WIDTH // factor, "height": HEIGHT // factor}
        table[f"{WIDTH // factor}x{HEIGHT // factor} pixels"] = measure(render_shared, scenes, smaller, cores)[0]
    for workers in range(1, cores + 1):
        table[f"{workers} workers"] = measure(render_shared, scenes, size, workers)[0]
    return table


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    scenes = [sample_clevr_scene("clevr", "train", 0, index) for index in range(parsed.scenes)]
    cores = os.cpu_count() or 1
    report = {
        "scenes": parsed.scenes,
        "samples": parsed.samples,
        "cores": cores,
        **compare(scenes, parsed.samples, cores),
        "seconds_per_picture": scaling(scenes, parsed.samples),
    }
    print(json.dumps(report, indent=2))
    if parsed.out is not None:
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
