"""The `tiles` family: flat arrows, flags and wedges on the ground, seen from above (docs/adding_a_family.md).

In training they point upwards in the picture (+y in the world), in `val_ood` downwards.
"""

import numpy as np
from PIL import Image, ImageDraw

from dataset_builders.camera import Camera
from dataset_builders.families import Family
from dataset_builders.painters import Painter, PaintRequest, Picture
from dataset_builders.palette import named_color
from dataset_builders.random_streams import scene_stream
from dataset_builders.sampled_scene import SampledScene
from dataset_builders.scene_builder import SceneBuilder
from modeling_igllm import COLORS, PosedObject, Rotation

# Vocabulary: a word of `shape` -> its outline in metres, pointing along its own x axis, around the place it is at.
OUTLINES = {
    "arrow": [(-0.5, -0.1), (0.1, -0.1), (0.1, -0.3), (0.5, 0.0), (0.1, 0.3), (0.1, 0.1), (-0.5, 0.1)],
    "flag": [(-0.4, -0.2), (0.5, -0.2), (0.5, 0.4), (0.3, 0.4), (0.3, 0.2), (-0.4, 0.2)],
    "wedge": [(-0.4, -0.3), (0.6, -0.1), (-0.4, 0.5)],
}
CODE = 7001  # of the family's random streams: any number from 1000 on that no other package uses
CAMERA = Camera(location=(0.0, -2.5, 9.0), focal_length_mm=50.0)
MAX_TILES = 3
MAX_PLACE = (2.2, 1.5)  # metres: x and y keep to both sides of the origin, in view
MIN_DISTANCE = 1.4  # metres between the places of two tiles: they do not touch
BACKGROUND = (200, 200, 200)
SUPERSAMPLING = 4


def sample_tiles_scene(family: str, split: str, seed: int, index: int) -> SampledScene:
    """Draw scene `index`: 1 to 3 tiles, from left to right in the picture."""
    attempt = 0
    while True:
        rng = scene_stream(CODE, split, seed, index, attempt)
        tiles = [_draw_tile(rng, split) for _ in range(rng.integers(1, MAX_TILES + 1))]
        places = np.array([tile.loc for tile in tiles])
        gaps = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(len(tiles), 1)]
        if (gaps >= MIN_DISTANCE).all():
            order = np.argsort(CAMERA.project(places, 1, 1)[:, 0])
            objects = tuple(tiles[i] for i in order)
            return SampledScene(objects, CAMERA, (), (), family, split, seed, index, attempt)
        attempt += 1


def _draw_tile(rng: np.random.Generator, split: str) -> PosedObject:
    x, y = rng.uniform(np.negative(MAX_PLACE), MAX_PLACE).tolist()
    # Some distance from 0 and pi, where the program's three decimals would lose the sign of the sine.
    angle = rng.uniform(0.01, np.pi - 0.01) + (np.pi if split == "val_ood" else 0.0)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = Rotation.from_matrix(np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), "6d")
    color, shape = COLORS[rng.integers(len(COLORS))], list(OUTLINES)[rng.integers(len(OUTLINES))]
    # Statement: add(color='red', shape='arrow', loc=(...), rotation=(...)).
    return PosedObject(color, shape, (x, y, 0.0), rotation)


def make_tiles_painter(request: PaintRequest) -> Painter:
    """A painter without Blender. ValueError if mask and depth are wanted."""
    if request.ground_truth:
        raise ValueError("the tiles family has no instance masks and no depth")

    def paint(scene: SampledScene) -> Picture:
        width, height = SUPERSAMPLING * request.width, SUPERSAMPLING * request.height
        image = Image.new("RGB", (width, height), BACKGROUND)
        draw = ImageDraw.Draw(image)
        for tile in scene.objects:
            assert isinstance(tile, PosedObject)  # what the sampler draws
            outline = np.array([(x, y, 0.0) for x, y in OUTLINES[tile.shape]])
            corners = CAMERA.project(outline @ tile.rotation.matrix.T + tile.loc, width, height)[:, :2]
            red, green, blue = (round(255 * value) for value in named_color(tile.color))
            draw.polygon([(x, y) for x, y in corners.tolist()], fill=(red, green, blue))
        return Picture(np.asarray(image.reduce(SUPERSAMPLING)))

    return Painter(paint, bpy_version=None)


TILES = Family(
    name="tiles",
    resolution=(160, 120),
    split_sizes={"train": 2000, "val_id": 200, "val_ood": 200},
    sample=sample_tiles_scene,
    make_painter=make_tiles_painter,
)


class TilesBuilder(SceneBuilder):
    """Flat shapes: `train`, `val_id`, and `val_ood`, where they point the other way."""

    FAMILY = "tiles"
