"""The README.md of a built folder: a view of the shards on disk, so that later builds merge by themselves."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData
from PIL import Image

from .contact_sheet import PICTURES, make_contact_sheet
from .schema import FEATURES
from .shards import PARAMETERS_SUFFIX, count_rows
from .whole_file import remove_leftovers, write_whole

_SHEETS = "contact_sheets"  # folder of the pictures in the card
_TITLE = "# IG-LLM scenes\n"
_BODY = """
{title}
Pictures of synthetic scenes with the scene program that rebuilds each of them, in the layout of the open reference
implementation of IG-LLM. Columns: `image`, `scene` (objects with all attributes, pixel coordinates and, in CLEVR,
visible pixel counts; camera in OpenCV axes, lamps, seed and index), `program`, and where the build was asked for them
`instance_mask` (0 background, i + 1 object i) and `depth` (metres along the optical axis).

```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder", "{config}", split="{split}")
```

| configuration | split | scenes | seed | pixels | samples | bpy | origin |
|---|---|---|---|---|---|---|---|
{rows}

{families}

{origins}
{licence}

{sheets}
"""
_FAMILIES = {
    "clevr": "CLEVR's rules, every shape in every colour.",
    "clevr_cogent": "CLEVR's rules. In `train` and `val_id` cubes are gray, blue, brown or yellow and cylinders red, "
    "green, purple or cyan; in `val_ood` it is the other way around. Spheres are of any colour.",
    "two_d": "A red disc on white. `train` and `val_id` use a quarter of the cells of an 8x8 checkerboard, `val_ood` "
    "the whole square.",
    "so3": "One airplane in all rotations, but for those within 30 degrees of 24 centres; `val_ood` is within 20 "
    "degrees of these.",
    "six_dof": "The airplane of `so3` in any rotation, anywhere in view, 2 to 6 m away.",
    "shapenet": "3 to 5 objects of several categories on the ground, of any yaw. The texture of each multiplies its "
    "colour and is not in the program. `val_ood_texture` has textures that are neither in `train` nor in `val_id`; "
    "`val_ood_shape` has such textures, and shapes that are in no other split.",
    "clevr_rgb": "CLEVR's rules in random colours that have no names: `program` is null.",
}
_RENDERED = """Splits built by `igllm build` with a version of bpy are rendered with Blender (Cycles on the CPU); the
same command makes the same scenes and, on the same bpy version, the same pixels.
"""
_DRAWN = """Splits built by `igllm build` for which bpy is not used are drawn without Blender; the same command makes
the same scenes.
"""
_IMPORTED = """Splits imported from CLEVR_v1.0 by `igllm import-clevr` are the published CLEVR dataset of Johnson et
al. (2017), <https://cs.stanford.edu/people/jcjohns/clevr/>, licence CC BY 4.0: its pictures byte for byte, its scenes
in this layout. Camera, lamps, visible pixel counts, seed and attempt are null.
"""
_WITH_MESHES = """The shapes of splits built from own meshes came from a folder of the builder's; the `meshes.json`
beside the shards says which file each shape was.
"""
_LICENCE = "Licence{of}: CC BY 4.0."
_MESH_LICENCE = "Licence{of}: CC BY 4.0, as far as the meshes' own licences allow it: see to them before you publish."
_UNKNOWN_LICENCE = "Of {families}, of another package, no licence is known here: see to it before you publish."


def check_card_place(out: Path) -> None:
    """Raise ValueError if `out` holds a README.md that `write_dataset_card` did not write: it would be overwritten."""
    card = out / "README.md"
    if card.exists() and _TITLE not in card.read_text():
        raise ValueError(f"{card} is not the card of a dataset built here: use another --out folder")


def write_dataset_card(out: Path) -> None:
    """Write `out`/README.md with the YAML `configs` and `dataset_info` of every split found below `out`.

    `dataset_info` carries sizes: without it `datasets` would serve stale rows from its cache after a rebuild.
    """
    by_family = {folder.name: _splits_on_disk(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    found = {family: splits for family, splits in by_family.items() if splits}
    parts = [(family, split, files) for family, splits in found.items() for split, files in splits.items()]
    has_meshes = any("meshes" in _parameters(split, files) for _, split, files in parts)
    licence = "other" if has_meshes or found.keys() - _FAMILIES.keys() else "cc-by-4.0"
    data = DatasetCardData(license=licence, task_categories=["image-to-text"], tags=["inverse-graphics", "3d"])
    configs = {family: {"data_files": _data_files(family, splits)} for family, splits in found.items()}
    MetadataConfigs(configs).to_dataset_card_data(data)
    infos = {family: _dataset_info(family, splits) for family, splits in found.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    versions = [_bpy_versions(split, files) for _, split, files in parts]
    rows = "\n".join(_table_row(*part, used) for part, used in zip(parts, versions, strict=True))
    origins = sorted(set().union(*map(_origins, versions))) + [_WITH_MESHES] * has_meshes
    remove_leftovers(out / _SHEETS, "*.jpg")
    sheets = "\n\n".join(_write_contact_sheet(out, *part) for part in parts)
    body = _BODY.format(
        title=_TITLE,
        config=parts[0][0],
        split=parts[0][1],
        rows=rows,
        families="\n".join(f"- `{family}`: {_FAMILIES[family]}" for family in found if family in _FAMILIES),
        origins="\n".join(origins),
        licence=_licence(list(found), has_meshes),
        sheets=sheets,
    )
    card = str(DatasetCard(f"---\n{data.to_yaml()}\n---\n{body}"))
    remove_leftovers(out, "README.md")
    write_whole(out / "README.md", lambda path: path.write_text(card))


def _splits_on_disk(folder: Path) -> dict[str, list[Path]]:
    names = sorted(path.name.removesuffix(PARAMETERS_SUFFIX) for path in folder.glob(f"[!.]*{PARAMETERS_SUFFIX}"))
    by_split = {split: sorted(folder.glob(f"{split}-*.parquet")) for split in names}
    return {split: files for split, files in by_split.items() if files}


def _data_files(family: str, splits: dict[str, list[Path]]) -> list[dict[str, str]]:
    return [{"split": split, "path": f"{family}/{split}-*.parquet"} for split in splits]


def _dataset_info(family: str, splits: dict[str, list[Path]]) -> DatasetInfo:
    sizes = SplitDict(dataset_name=family)
    for split, files in splits.items():
        num_bytes, num_rows = sum(file.stat().st_size for file in files), sum(count_rows(file) for file in files)
        sizes.add(SplitInfo(split, num_bytes=num_bytes, num_examples=num_rows))
    total = sum(info.num_bytes for info in sizes.values())
    return DatasetInfo(config_name=family, features=FEATURES, splits=sizes, download_size=total, dataset_size=total)


def _parameters(split: str, files: list[Path]) -> dict[str, Any]:
    return dict(json.loads((files[0].parent / f"{split}{PARAMETERS_SUFFIX}").read_text()))


def _bpy_versions(split: str, files: list[Path]) -> set[str | None]:
    """The versions that rendered the rows of a split, None for a row drawn without; empty if they are imported."""
    if "imported_from" in _parameters(split, files):
        return set()
    tables = [pq.ParquetFile(file).read(["scene.bpy_version"]) for file in files]
    return {row["bpy_version"] for table in tables for row in table["scene"].to_pylist()}


def _origins(versions: set[str | None]) -> set[str]:
    if not versions:
        return {_IMPORTED}
    return {_DRAWN if version is None else _RENDERED for version in versions}


def _licence(families: list[str], has_meshes: bool) -> str:
    """The project's licence for its own families alone: another package's may be under any."""
    own, others = ([f"`{name}`" for name in families if (name in _FAMILIES) is mine] for mine in (True, False))
    sentences = []
    if own:
        of = f" of {', '.join(own)}" if others else ""
        sentences.append((_MESH_LICENCE if has_meshes else _LICENCE).format(of=of))
    if others:
        sentences.append(_UNKNOWN_LICENCE.format(families=", ".join(others)))
    return " ".join(sentences)


def _write_contact_sheet(out: Path, family: str, split: str, files: list[Path]) -> str:
    """Save the first pictures of a split as one, and return the Markdown that shows it."""
    first = next(pq.ParquetFile(files[0]).iter_batches(PICTURES, columns=["image"])).to_pylist()
    pictures = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in first]
    path = Path(_SHEETS) / f"{family}_{split}.jpg"
    (out / path.parent).mkdir(exist_ok=True)
    write_whole(out / path, make_contact_sheet(pictures).save)
    return f"![The first {len(pictures)} pictures of {family}, {split}]({path})"


def _table_row(family: str, split: str, files: list[Path], versions: set[str | None]) -> str:
    parameters = _parameters(split, files)
    scenes = sum(count_rows(file) for file in files)
    if "imported_from" in parameters:
        return f"| {family} | {split} | {scenes} | | | | | imported from {parameters['imported_from']} |"
    pixels = f"{parameters['width']}x{parameters['height']}"
    # Several versions if a split was resumed after an upgrade.
    bpy = ", ".join(sorted(version or "not used" for version in versions))
    origin = "built from own meshes" if "meshes" in parameters else "built"
    values = (family, split, scenes, parameters["seed"], pixels, parameters["samples"], bpy, origin)
    return "| " + " | ".join(str(value) for value in values) + " |"
