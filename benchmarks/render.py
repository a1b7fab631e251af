"""How fast are pictures rendered, and how good are they, beside the stock CLEVR procedure? One run, same scenes.

```bash
python -m benchmarks.render --scenes 8 --out benchmarks/results/render.json
```

Stock: one process on all cores; for every picture the base scene is made anew and rendered once in flat colours to
count visible pixels, then 512 samples without a denoiser, 8 bounces and else Blender's own settings. Ours: one Blender
session per worker, one worker per core, few samples, a denoiser and the settings of `RenderQuality`. The second
comparison gives the stock procedure our samples and denoiser and nothing else. Figures are ratios within this run; the
scaling table is seconds.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reports import write_report
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.sampled_scene import SampledScene

WIDTH, HEIGHT = 320, 240
STOCK_SAMPLES = 512
# Eight bounces as the stock script sets them, and what a new Blender scene has.
STOCK_SETTINGS = {
    "max_bounces": 8,
    "diffuse_bounces": 4,
    "glossy_bounces": 4,
    "use_light_tree": True,
    "sampling_pattern": "AUTOMATIC",
}
Procedure = dict[str, Any]  # keywords of RenderQuality


def render_stock(index: int, quality: Procedure, visibility_render: bool) -> np.ndarray:
    """Sample and render one scene from a fresh Blender scene, as the stock generator does for every picture.

    With `visibility_render` the scene is first rendered once in flat colours, by which the stock generator counts the
    visible pixels of each object. Sampling is ours and already knows them, so the stock procedure pays for both.
    """
    from dataset_builders.rendering.ground_truth import render_ground_truth
    from dataset_builders.rendering.session import RenderSession
    from dataset_builders.rendering.settings import RenderQuality

    scene = _sample(index)
    assert scene.camera is not None
    session = RenderSession(RenderQuality(**quality))
    if visibility_render:
        session.place(scene.objects, scene.camera, scene.lights)
        render_ground_truth()
    return session.render(scene.objects, scene.camera, scene.lights)


@cache
def _session(quality: tuple[tuple[str, Any], ...]) -> Any:
    from dataset_builders.rendering.session import RenderSession
    from dataset_builders.rendering.settings import RenderQuality

    return RenderSession(RenderQuality(**dict(quality)))


def render_shared(index: int, quality: Procedure) -> np.ndarray:
    """Sample and render one scene in this worker's one session, as `igllm build` does."""
    scene = _sample(index)
    assert scene.camera is not None
    return _session(tuple(quality.items())).render(scene.objects, scene.camera, scene.lights)


def _sample(index: int) -> SampledScene:
    return sample_clevr_scene("clevr", "train", 0, index)


def measure(function: Any, scenes: Sequence[int], quality: Procedure, workers: int) -> tuple[float, np.ndarray]:
    """Return seconds per picture and the pictures (N, height, width, 3); workers warm up on one picture first."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    work = partial(function, quality={**quality, "threads": threads})
    with ProcessPoolExecutor(workers, context) as pool:
        list(pool.map(work, [scenes[0]] * workers))
        start = time.perf_counter()
        pictures = list(pool.map(work, scenes))
        seconds = time.perf_counter() - start
    return seconds / len(scenes), np.stack(pictures)


def mean_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Mean structural similarity of two stacks of pictures (N, height, width, 3) uint8."""
    from skimage.metrics import structural_similarity

    return float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in zip(first, second, strict=True)]))


def compare(scenes: Sequence[int], samples: int, workers: int) -> dict[str, float]:
    """Time the stock procedure, ours, and both at equal samples and denoiser."""
    size = {"width": WIDTH, "height": HEIGHT}
    ours = {**size, "samples": samples}
    stock = {**size, **STOCK_SETTINGS, "samples": STOCK_SAMPLES, "denoise": False}
    stock_at_ours = {**ours, **STOCK_SETTINGS}
    whole_stock, bare_stock = (partial(render_stock, visibility_render=shown) for shown in (True, False))
    stock_seconds, reference = measure(whole_stock, scenes, stock, workers=1)
    our_seconds, pictures = measure(render_shared, scenes, ours, workers)
    equal_seconds, equal_pictures = measure(whole_stock, scenes, stock_at_ours, workers=1)
    bare_seconds, _ = measure(bare_stock, scenes, stock_at_ours, workers=1)
    our_seconds_again, _ = measure(render_shared, scenes, ours, workers)
    our_seconds = (our_seconds + our_seconds_again) / 2  # before and after: the machine's speed drifts
    return {
        "stock_seconds": stock_seconds,
        "our_seconds": our_seconds,
        "speedup": stock_seconds / our_seconds,
        "ssim_to_stock": mean_ssim(pictures, reference),
        "stock_seconds_at_our_samples": equal_seconds,
        "speedup_at_equal_samples": equal_seconds / our_seconds,
        "speedup_at_equal_samples_without_visibility_render": bare_seconds / our_seconds,
        "ssim_of_stock_at_our_samples": mean_ssim(equal_pictures, reference),
    }


def scaling(scenes: Sequence[int], samples: int) -> dict[str, float]:
    """Seconds per picture by objects (the fewer and the more half), pixels and workers, all else equal."""
    size = {"width": WIDTH, "height": HEIGHT, "samples": samples}
    cores = os.cpu_count() or 1
    table = {
        f"{np.mean([len(_sample(index).objects) for index in half]):.1f} objects": measure(
            render_shared, half, size, cores
        )[0]
        for half in _by_objects(scenes)
    }
    for factor in (2, 4):
        smaller = {**size, "width": WIDTH // factor, "height": HEIGHT // factor}
        table[f"{WIDTH // factor}x{HEIGHT // factor} pixels"] = measure(render_shared, scenes, smaller, cores)[0]
    for workers in range(1, cores + 1):
        table[f"{workers} workers"] = measure(render_shared, scenes, size, workers)[0]
    return table


def _by_objects(scenes: Sequence[int]) -> tuple[list[int], list[int]]:
    ordered = sorted(scenes, key=lambda index: len(_sample(index).objects))
    return ordered[: len(scenes) // 2], ordered[len(scenes) // 2 :]


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    scenes = range(parsed.scenes)
    cores = os.cpu_count() or 1
    report = {
        "scenes": parsed.scenes,
        "samples": parsed.samples,
        "cores": cores,
        **compare(scenes, parsed.samples, cores),
        "seconds_per_picture": scaling(scenes, parsed.samples),
    }
    print(json.dumps(report, indent=2))
    write_report(report, parsed.out)


if __name__ == "__main__":
    main()
