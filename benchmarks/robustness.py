"""How much worse is a checkpoint on other renderings of the same scenes: materials, lamps, exposure, files, sizes?

```bash
python -m benchmarks.robustness checkpoints/ig-llm-tiny-clevr --scenes 100
```

Every scene is rendered plainly, as training data is, and then once for each variant with one thing changed; objects
and camera stay. Figures are differences of strict scores to the plain pictures, in points of a hundred. They go into
the checkpoint's `evaluation/robustness.json`, from which `trl_scripts/checkpoint_card.py` writes its card.

One Python holds one bpy. The same scenes rendered by another version of Blender (`igllm build` in an environment that
has it) are added to that file afterwards:

```bash
igllm build clevr --split val_id --num-scenes 100 --seed 1 --resolution 160x120 --out other_blender
python -m benchmarks.robustness checkpoints/ig-llm-tiny-clevr --built other_blender
```
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataset_builders.camera import Vector3
from dataset_builders.clevr_sampler import LIGHT_JITTER
from dataset_builders.contact_sheet import make_contact_sheet
from dataset_builders.families import find_family
from dataset_builders.rendering.materials import CLEVR_FINISH, Finish
from dataset_builders.rendering.session import RenderSession
from dataset_builders.rendering.settings import RenderQuality
from dataset_builders.sampled_scene import AreaLight, SampledScene
from modeling_igllm import SceneProgram, format_program
from trl_scripts.camera_space import scene_facts
from trl_scripts.errors import CommandError
from trl_scripts.evaluation import metric_text, score_texts, write_report
from trl_scripts.inference import Predictor
from trl_scripts.measured_files import EVALUATION
from trl_scripts.scene_rows import load_scene_rows

SHARES = ("count_exact", "size", "color", "material", "shape", "f1@0.5m", "exact")
"""The strict scores that are shares of what is right: their differences are points of a hundred."""

WIDTH, HEIGHT = 160, 120
BATCH_SIZE = 16
Relight = Callable[[AreaLight, np.random.Generator], AreaLight]


@dataclass(frozen=True)
class Variant:
    """A rendering with one thing changed: `what`, for the card.

    `quality` are keywords of `RenderQuality`, `relight` changes each lamp, `jpeg` is the quality of the file.
    """

    what: str
    quality: dict[str, Any] = field(default_factory=dict)
    finish: Finish = CLEVR_FINISH
    relight: Relight | None = None
    jpeg: int | None = None


def jitter_more(light: AreaLight, rng: np.random.Generator) -> AreaLight:
    """The lamp up to as far again from its place as training data has it."""
    x, y, z = (float(value) for value in np.add(light.location, rng.uniform(-LIGHT_JITTER, LIGHT_JITTER, 3)))
    place: Vector3 = (x, y, z)
    return replace(light, location=place)


def change_energy(light: AreaLight, rng: np.random.Generator) -> AreaLight:
    """The lamp brighter or darker by up to 0.7 stops, independently of the others."""
    return replace(light, energy=light.energy * float(2 ** rng.uniform(-0.7, 0.7)))


def soften(light: AreaLight, _: np.random.Generator) -> AreaLight:
    """The lamp with four times the side: soft shadows, wide highlights."""
    return replace(light, size=4 * light.size)


PLAIN = "plain"
VARIANTS = {
    PLAIN: Variant("as training data"),
    "samples": Variant("128 samples", {"samples": 128}),
    "480x320": Variant("480x320 pixels", {"width": 480, "height": 320}),
    "rough": Variant("rougher materials", finish=Finish(metal_roughness=(0.6, 0.25), rubber_roughness=0.85)),
    "smooth": Variant("smoother materials", finish=Finish(metal_roughness=(0.3, 0.03), rubber_roughness=0.35)),
    "lamps_moved": Variant("lamps jittered twice as far", relight=jitter_more),
    "lamps_energy": Variant("each lamp up to 0.7 stops brighter or darker", relight=change_energy),
    "lamps_soft": Variant("lamps four times as wide", relight=soften),
    "exposure_up": Variant("exposure + 0.5 stops", {"exposure": 0.5}),
    "exposure_down": Variant("exposure - 0.5 stops", {"exposure": -0.5}),
    "jpeg_60": Variant("JPEG, quality 60", jpeg=60),
    "jpeg_40": Variant("JPEG, quality 40", jpeg=40),
}


def render_variant(variant: Variant, scenes: Sequence[SampledScene], samples: int) -> list[Image.Image]:
    """The pictures of the scenes in one rendering; `samples` unless the variant has its own."""
    plain = {"width": WIDTH, "height": HEIGHT, "samples": samples}
    session = RenderSession(RenderQuality(**plain | variant.quality), finish=variant.finish)
    return [as_file(Image.fromarray(_render(session, variant, scene)), variant.jpeg) for scene in tqdm(scenes)]


def _render(session: RenderSession, variant: Variant, scene: SampledScene) -> np.ndarray:
    assert scene.camera is not None  # CLEVR's scenes have one
    lights = scene.lights
    if variant.relight is not None:
        rng = np.random.default_rng([scene.seed, scene.index])
        lights = tuple(variant.relight(light, rng) for light in lights)
    return session.render(scene.objects, scene.camera, lights)


def as_file(picture: Image.Image, jpeg: int | None) -> Image.Image:
    """The picture after a JPEG file of this quality; None leaves it as it is."""
    if jpeg is None:
        return picture
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=jpeg)
    return Image.open(buffer).convert("RGB")


def strict_scores(
    predictor: Predictor, pictures: list[Image.Image], programs: list[str], split: str
) -> dict[str, float]:
    """`SHARES` and `l2` of the pictures' predicted programs."""
    texts = [metric_text(prediction) for prediction in predictor.predict(pictures, BATCH_SIZE)]
    scores = score_texts(texts, programs, split)
    return {name: scores[f"strict/{name}"] for name in (*SHARES, "l2")}


def differences(scores: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """By score: points of a hundred above the plain pictures (below: negative); `l2` in metres."""
    return {name: (100 if name in SHARES else 1) * (scores[name] - plain[name]) for name in scores}


def measure(parsed: argparse.Namespace) -> dict[str, Any]:
    """Render and score every variant; with `--sheet`, also draw the first scene in all of them."""
    sample = find_family(parsed.family).sample
    scenes = [sample(parsed.family, parsed.split, parsed.seed, index) for index in range(parsed.scenes)]
    programs = [format_program(SceneProgram(scene.objects)) for scene in scenes]
    predictor = Predictor.load(str(parsed.checkpoint), None, "cpu", "float32")
    scores, shown = {}, []
    for name, variant in VARIANTS.items():
        pictures = render_variant(variant, scenes, parsed.samples)
        shown.append(pictures[0])
        scores[name] = strict_scores(predictor, pictures, programs, parsed.split)
        print(name, differences(scores[name], scores[PLAIN]), flush=True)
    if parsed.sheet is not None:
        make_contact_sheet(shown).save(parsed.sheet)
    variants = {
        name: {"what": VARIANTS[name].what, "difference": differences(found, scores[PLAIN])}
        for name, found in scores.items()
        if name != PLAIN
    }
    return {
        **{name: getattr(parsed, name) for name in ("family", "split", "seed", "scenes", "samples")},
        "date": datetime.now(UTC).date().isoformat(),
        "bpy_version": version("bpy"),
        "plain": scores[PLAIN],
        "variants": variants,
    }


def add_built(report: dict[str, Any], predictor: Predictor, dataset: str) -> dict[str, Any]:
    """The report with one more variant: its scenes, as another Blender has built them into a dataset.

    Raises:
        CommandError: if the dataset's scenes are others, or its Blender is the report's own.
    """
    family, split = report["family"], report["split"]
    sample = find_family(family).sample
    wanted = [SceneProgram(sample(family, split, report["seed"], i).objects) for i in range(report["scenes"])]
    rows = load_scene_rows(dataset, family, split)
    if list(rows["program"]) != [format_program(program) for program in wanted]:
        raise CommandError(
            f"{dataset} has not the {report['scenes']} scenes of {family}, {split}, seed {report['seed']}, which the "
            "others are compared on: build these"
        )
    versions = cast(list[str], scene_facts(dataset, family, split)["bpy_versions"])
    if report["bpy_version"] in (version.split()[0] for version in versions):  # without the "LTS" of some
        raise CommandError(
            f"{dataset} was built by Blender {report['bpy_version']}, as the others: build it by another"
        )
    name = " and ".join(f"Blender {version}" for version in versions)
    scores = strict_scores(predictor, list(rows["image"]), list(rows["program"]), split)
    print(name, differences(scores, report["plain"]))
    added = {name: {"what": name, "difference": differences(scores, report["plain"])}}
    return {**report, "variants": report["variants"] | added}


def main() -> int:
    """Parse, measure and write; returns the exit code: 0, or 2 after one line on the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--family", default="clevr", choices=["clevr", "clevr_cogent"])
    parser.add_argument("--split", default="val_id")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--samples", type=int, default=16, help="of all variants but the one that has its own")
    parser.add_argument("--sheet", type=Path, help="PNG: the first scene in every variant")
    parser.add_argument("--built", help="dataset of the same scenes by another Blender: added to what was measured")
    parsed = parser.parse_args()
    path = parsed.checkpoint / EVALUATION / "robustness.json"
    try:
        if parsed.built is not None and not path.is_file():
            raise CommandError(f"there is no {path}, which --built adds to: run this without --built first")
        path.parent.mkdir(exist_ok=True)
        if parsed.built is None:
            write_report(path, measure(parsed))
        else:
            predictor = Predictor.load(str(parsed.checkpoint), None, "cpu", "float32")
            write_report(path, add_built(json.loads(path.read_text()), predictor, parsed.built))
    except CommandError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
