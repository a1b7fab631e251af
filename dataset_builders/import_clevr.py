"""Import the published CLEVR_v1.0 into the columns and shards of `igllm build` (BENCHMARKS, last CLEVR rule).

Source: Johnson et al., "CLEVR: A Diagnostic Dataset for Compositional Language and Elementary Visual Reasoning", 2017.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from modeling_igllm import ClevrObject, SceneProgram, SceneProgramError, format_program
from modeling_igllm.errors import checked_number, checked_numbers, mismatch

from .dataset_card import check_card_place, write_dataset_card
from .schema import clevr_attributes
from .shards import SplitFiles, claim_folder, write_shard

SOURCE = "CLEVR_v1.0"
PUBLISHED_SPLITS = {"train": "train", "val_id": "val"}  # ours -> theirs; their test split has no scenes

_FAMILY = "clevr"
_INDEX_LIMIT = 2**63  # the column is int64
_MEND = f"unpack the whole {SOURCE}.zip again"


@dataclass(frozen=True)
class ImportPlan(SplitFiles):
    """The rows of one imported split: the scenes file of this SHA-256, its images, and nothing drawn or rendered."""

    scenes_sha256: str
    imported_from: str = SOURCE


@dataclass(frozen=True)
class _PublishedSplit:
    images: Path
    scenes_file: Path
    scenes_sha256: str
    scenes: list[Any]


def import_clevr(source: Path, out: Path, *, num_scenes: int | None = None) -> None:
    """Turn the unpacked CLEVR_v1.0 folder into the splits `train` and `val_id` of the configuration `clevr`.

    Images are copied byte for byte, and yaw is read as radians, modulo pi/2. What was not published is null: camera,
    lights, visible pixels, seed, attempt and bpy version. Complete shards of an earlier import are kept.

    Args:
        source: the folder with images/{train,val} and scenes/CLEVR_{train,val}_scenes.json.
        out: the dataset folder, which may hold splits of other families.
        num_scenes: at most this many scenes of each split, the first ones; all when None.

    Raises:
        ValueError: for a missing or damaged file of `source`, or if `out` holds one of the splits built or from
            another edition, or the README.md of something else. Shards before a damaged image are kept. Also for
            `num_scenes` below 1.
        OSError: if `out` cannot be written.
    """
    if num_scenes is not None and num_scenes < 1:
        raise ValueError(f"num_scenes must be at least 1, got {num_scenes}")
    for folder in (source, *(source / "images" / published for published in PUBLISHED_SPLITS.values())):
        if not folder.is_dir():
            raise ValueError(
                f"{folder} is no folder: give the unpacked {SOURCE} folder, with images/ and scenes/ in it"
            )
    splits = {ours: _read_split(source, theirs, num_scenes) for ours, theirs in PUBLISHED_SPLITS.items()}
    check_card_place(out)
    plans = [
        ImportPlan(out, _FAMILY, split, len(published.scenes), published.scenes_sha256)
        for split, published in splits.items()
    ]
    for plan in plans:
        claim_folder(plan)
    for plan in plans:
        _import_missing_shards(plan, splits[plan.split])
        write_dataset_card(out)


def _import_missing_shards(plan: ImportPlan, published: _PublishedSplit) -> None:
    missing = [shard for shard in range(plan.num_shards) if not plan.is_complete(shard)]
    total = sum(len(plan.shard_indices(shard)) for shard in missing)
    with tqdm(total=total, unit="img", desc=f"{_FAMILY} {plan.split}", mininterval=1.0) as progress:
        for shard in missing:
            rows = [_imported_row(published, position, plan.split) for position in plan.shard_indices(shard)]
            write_shard(plan, shard, rows)
            progress.update(len(rows))


def _read_split(source: Path, published: str, num_scenes: int | None) -> _PublishedSplit:
    path = source / "scenes" / f"CLEVR_{published}_scenes.json"
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        data = json.loads(path.read_text(encoding="utf-8"), object_hook=_without_relations)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {_MEND}") from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also what is not UTF-8 and endless nesting
        raise ValueError(f"{path} is not JSON ({error}): {_MEND}") from error
    scenes = data.get("scenes") if isinstance(data, dict) else None
    if not isinstance(scenes, list) or not scenes:
        raise ValueError(f'{path} has no list of scenes under the key "scenes": {_MEND}')
    return _PublishedSplit(source / "images" / published, path, sha256, scenes[:num_scenes])


def _without_relations(value: dict[str, Any]) -> dict[str, Any]:
    # Most of the 300 MB of the training split: dropped while parsing, before it fills the memory.
    value.pop("relationships", None)
    value.pop("directions", None)
    return value


def _imported_row(published: _PublishedSplit, position: int, split: str) -> dict[str, Any]:
    """Return one row in the layout of `schema.FEATURES`; ValueError that names the file at fault."""
    try:
        filename, index, objects = _read_scene(published.scenes[position])
        program = SceneProgram(tuple(item for item, _ in objects))
    except SceneProgramError as error:
        raise ValueError(f"{published.scenes_file}: scenes[{position}]: {error}; {_MEND}") from error
    absent = dict.fromkeys(("visible_pixels", "texture", "rgb"))
    return {
        "image": {"bytes": _checked_png(published.images / filename), "path": None},
        "scene": {
            "objects": [{**clevr_attributes(item), "pixel_coords": list(pixel), **absent} for item, pixel in objects],
            "camera": None,
            "lights": None,
            "family": _FAMILY,
            "split": split,
            "seed": None,
            "index": index,
            "attempt": None,
            "bpy_version": None,
        },
        "program": format_program(program),
        "instance_mask": None,
        "depth": None,
    }


def _read_scene(value: object) -> tuple[str, int, list[tuple[ClevrObject, tuple[float, ...]]]]:
    """Return the image's file name, its index, and objects with pixel coordinates, left to right (ties: top first)."""
    filename, index, items = _fields(value, "image_filename", "image_index", "objects")
    if not isinstance(filename, str) or Path(filename).name != filename:
        raise mismatch("the name of a file", filename, "image_filename")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _INDEX_LIMIT:
        raise mismatch("a whole number from 0", index, "image_index")
    if not isinstance(items, list):
        raise mismatch("a list", items, "objects")
    objects = [_read_object(item, number) for number, item in enumerate(items)]
    return filename, index, sorted(objects, key=lambda pair: pair[1][:2])


def _read_object(value: object, number: int) -> tuple[ClevrObject, tuple[float, ...]]:
    try:
        size, color, material, shape = _fields(value, "size", "color", "material", "shape")
        loc, pixel, rotation = _fields(value, "3d_coords", "pixel_coords", "rotation")
        x, y, z = checked_numbers(loc, 3, "3d_coords")
        # Drawn from 0 to 360 but rendered as radians (BENCHMARKS, "Known trap").
        yaw = checked_number(rotation, "rotation") % (math.pi / 2) if shape == "cube" else None
        item = ClevrObject(size, color, material, shape, (x, y, z), yaw)
        return item, checked_numbers(pixel, 3, "pixel_coords")
    except SceneProgramError as error:
        raise error.moved(f"objects[{number}]") from None


def _fields(value: object, *names: str) -> list[Any]:
    if not isinstance(value, dict) or not value.keys() >= set(names):
        raise mismatch(f"an object with the keys {', '.join(names)}", value)
    return [value[name] for name in names]


def _checked_png(path: Path) -> bytes:
    """Return the file's bytes as they are, after decoding them once."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {_MEND}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable PNG ({error}): {_MEND}") from error
