"""The `set2` family: CLEVR's scenes in eight softer colours (docs/fine_tuning.md).

The scene language has CLEVR's eight words for colours (modeling_igllm/vocabulary.py). A new palette gives these words
other values. Scene for scene, places, camera and lamps are those of `clevr` with the same seed: what two scores differ
by is the colours alone.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from dataset_builders.camera import Camera
from dataset_builders.clevr_sampler import sample_clevr_scene
from dataset_builders.families import Family
from dataset_builders.lights import CLEVR_LIGHTS
from dataset_builders.painters import Painter, PaintRequest, make_clevr_painter
from dataset_builders.palette import RGB, srgb_color
from dataset_builders.sampled_scene import SampledScene
from modeling_igllm import ClevrObject, SceneProgram

# ColorBrewer's Set2, in sRGB: each colour under the word that is nearest to what people call it.
PALETTE: dict[str, RGB] = {
    "gray": srgb_color("#b3b3b3"),
    "red": srgb_color("#fc8d62"),  # salmon
    "blue": srgb_color("#8da0cb"),  # periwinkle
    "green": srgb_color("#a6d854"),  # lime
    "brown": srgb_color("#e5c494"),  # tan
    "purple": srgb_color("#e78ac3"),  # pink
    "cyan": srgb_color("#66c2a5"),  # teal
    "yellow": srgb_color("#ffd92f"),
}


def sample_set2_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: that of `clevr`, under the name of this family."""
    return replace(sample_clevr_scene("clevr", split, seed, index), family=family)


def make_set2_painter(request: PaintRequest) -> Painter:
    """A painter of CLEVR scenes in the colours of `PALETTE`. Raises ImportError without bpy."""
    clevr = make_clevr_painter(request)
    return Painter(lambda scene: clevr.paint(replace(scene, rgbs=_rgbs(scene))), clevr.bpy_version)


def _rgbs(scene: SampledScene) -> tuple[RGB, ...]:
    return tuple(PALETTE[item.color] for item in scene.objects if isinstance(item, ClevrObject))


def draw_program(program: SceneProgram, resolution: tuple[int, int] = (320, 240), samples: int = 64) -> Image.Image:
    """Render a program, such as a predicted one, in the colours of `PALETTE`, through CLEVR's unjittered camera."""
    scene = SampledScene(program.objects, Camera(), CLEVR_LIGHTS, (), "set2", "val_id", seed=0, index=0, attempt=0)
    pixels: np.ndarray = make_set2_painter(PaintRequest(*resolution, samples)).paint(scene).pixels
    return Image.fromarray(pixels)


SET2 = Family(
    name="set2",
    resolution=(160, 120),
    split_sizes={"train": 200, "val_id": 100},
    sample=sample_set2_scene,
    make_painter=make_set2_painter,
)
