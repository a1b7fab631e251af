"""Pictures of all library shapes and of all textures: `python -m dataset_builders.shape_sheet --out FOLDER`.

Writes FOLDER/shape_library.jpg, two rows for each category, and FOLDER/textures.jpg, ten textures a row.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modeling_igllm import COLORS, PosedObject, Rotation

from .camera import Camera
from .lights import CLEVR_LIGHTS
from .palette import NUM_TEXTURES
from .shape_library import CATEGORIES, VARIANTS, make_shape, shape_names
from .whole_file import write_whole

if TYPE_CHECKING:
    from .rendering.session import RenderSession

GAP = 2  # pixels between pictures
JPEG_QUALITY = 85
CAMERA_OFFSET = (2.6, -1.9, 1.6)  # metres from the middle of the shape
FOCAL_LENGTH_MM = 84.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Render both sheets."""
    from .rendering.session import RenderSession  # imports bpy
    from .rendering.settings import RenderQuality
    from .rendering.stage import CLEVR_STAGE

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the two sheets")
    parser.add_argument("--side", type=int, default=100, help="pixels of one picture")
    parser.add_argument("--samples", type=int, default=16, help="Cycles samples per pixel, before denoising")
    parser.add_argument("--categories", nargs="+", choices=CATEGORIES, help="only these, and no textures")
    parsed = parser.parse_args(arguments)
    parsed.out.mkdir(parents=True, exist_ok=True)
    session = RenderSession(RenderQuality(parsed.side, parsed.side, parsed.samples), CLEVR_STAGE)
    names = [name for name in shape_names() if not parsed.categories or name.partition("_")[0] in parsed.categories]
    shapes = [render_shape(session, name, _color(number)) for number, name in enumerate(names)]
    _save(parsed.out / "shape_library.jpg", shapes, columns=VARIANTS // 2)
    if not parsed.categories:
        textures = [render_shape(session, "mug_05", "cyan", texture) for texture in range(NUM_TEXTURES)]
        _save(parsed.out / "textures.jpg", textures, columns=10)


def render_shape(session: "RenderSession", name: str, color: str, texture: int | None = None) -> np.ndarray:
    """Render one shape on the ground, front to the right: (height, width, 3) uint8."""
    middle = float(make_shape(name).size[2]) / 2
    item = PosedObject(color, name, (0.0, 0.0, middle), Rotation.from_matrix(np.eye(3), "6d"))
    x, y, z = CAMERA_OFFSET
    camera = Camera((x, y, z + middle), (0.0, 0.0, middle), FOCAL_LENGTH_MM)
    return session.render((item,), camera, CLEVR_LIGHTS, (texture,))


def _color(number: int) -> str:
    # One further in every row of eight, so that shapes of one kind differ.
    return COLORS[(number + number // len(COLORS)) % len(COLORS)]


def _save(path: Path, pictures: Sequence[np.ndarray], columns: int) -> None:
    side = len(pictures[0]) + GAP
    sheet = Image.new("RGB", (columns * side - GAP, -(-len(pictures) // columns) * side - GAP), "white")
    for number, pixels in enumerate(pictures):
        sheet.paste(Image.fromarray(pixels), (number % columns * side, number // columns * side))
    write_whole(path, lambda file: sheet.save(file, quality=JPEG_QUALITY))


if __name__ == "__main__":
    main()
