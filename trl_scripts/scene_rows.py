"""The rows of a built dataset that others may have made: read whole, or refused with the file or row that is wrong."""

import io
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import Dataset, Image, Value, load_dataset
from datasets.exceptions import DatasetGenerationError, SplitsVerificationError
from PIL import Image as PillowImage

from modeling_igllm import SceneProgramError, parse_program
from modeling_igllm.image_files import IMAGE_FORMATS

from .errors import CommandError, one_line

COLUMNS = ("image", "program")
MASKS = "instance_mask"
_REBUILD = "delete it and run `igllm build` again"


def load_scene_rows(
    dataset: str, config: str | None, split: str, limit: int | None = None, masks: bool = False
) -> Dataset:
    """The columns `image` and `program` of a split, every row of which has been looked at.

    Args:
        dataset, config, split, limit: as of `load_split`.
        masks: also the column `instance_mask`, of the size of the images.

    Raises:
        CommandError: as of `load_split`, or if a column is missing or of another type, an image or mask is no image or
            a program does not parse; the message names the file or row and what to do.
    """
    rows = load_split(dataset, config, split, limit)
    name = _name(dataset, split)
    _check_columns(rows, name)
    columns = list(COLUMNS)
    if masks:
        _check_masks_column(rows, name)
        columns.append(MASKS)
    rows = rows.select_columns(columns)
    encoded = rows
    for column in set(columns) - {"program"}:
        encoded = encoded.cast_column(column, Image(decode=False))
    for index, row in enumerate(encoded):
        _check_row(row, f"row {index} of {name}")
    return rows


def load_split(dataset: str, config: str | None, split: str, limit: int | None = None) -> Dataset:
    """A split with all of its columns, as it is.

    Args:
        dataset: folder or Hub repository of built scenes.
        config: family; None for the only one.
        split: also a slice, as of `load_dataset`.
        limit: only so many rows, the first ones.

    Raises:
        CommandError: if there is no such split, a shard is damaged, a build was interrupted, or there are no rows.
    """
    name = _name(dataset, split)
    try:
        rows = load_dataset(dataset, config, split=split)
    except DatasetGenerationError as error:
        reason = one_line(error if error.__cause__ is None else error.__cause__)
        raise CommandError(f"cannot load {name}: {_damaged_shard(Path(dataset)) or reason}") from error
    except SplitsVerificationError as error:
        raise CommandError(
            f"cannot load {name}: its README.md counts other rows than there are; repeat the last `igllm build`, "
            "which was interrupted"
        ) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot load {name}: {error}") from error
    if limit is not None:
        if limit < 1:
            raise CommandError(f"cannot take the first {limit} rows of {name}: take 1 or more, or all of them")
        rows = rows.select(range(min(limit, len(rows))))
    if not len(rows):
        raise CommandError(f"{name} has no rows: build it with `igllm build`")
    return rows


def _name(dataset: str, split: str) -> str:
    return f"split {split!r} of {dataset!r}"


def _check_columns(rows: Dataset, name: str) -> None:
    for column, kind in zip(COLUMNS, (Image, Value), strict=True):
        feature = rows.features.get(column)
        if feature is None:
            raise CommandError(
                f"{name} has no column {column!r}, only {', '.join(rows.column_names)}: build it with `igllm build`"
            )
        if not isinstance(feature, kind) or (isinstance(feature, Value) and feature.dtype != "string"):
            wanted = "images" if kind is Image else "text"
            raise CommandError(
                f"the column {column!r} of {name} must hold {wanted}, not {feature}: build it with `igllm build`"
            )


def _check_masks_column(rows: Dataset, name: str) -> None:
    feature = rows.features.get(MASKS)
    if not isinstance(feature, Image):
        found = (
            f"has no column {MASKS!r}" if feature is None else f"has a column {MASKS!r} of {feature}, not of images"
        )
        raise CommandError(f"{name} {found}: build it with `igllm build --ground-truth`")


def _check_row(row: dict[str, Any], place: str) -> None:
    program = row["program"]
    if row["image"] is None or program is None:
        missing = "image" if row["image"] is None else "program"
        raise CommandError(f"{place} has no {missing}: leave such rows out (clevr_rgb is for towers alone)")
    image = _check_picture(row["image"], f"the image of {place}")
    if MASKS in row:
        if row[MASKS] is None:
            raise CommandError(f"{place} has no instance mask: build with --ground-truth, or leave out --recolor")
        mask = _check_picture(row[MASKS], f"the instance mask of {place}")
        if mask.size != image.size or len(mask.getbands()) != 1:
            raise CommandError(
                f"the instance mask of {place} is of {mask.width}x{mask.height} pixels and {len(mask.getbands())} "
                f"bands, not of {image.width}x{image.height} like its image and one: {_REBUILD}"
            )
    try:
        parse_program(program)
    except SceneProgramError as error:
        raise CommandError(f"the program of {place} is none: {error}; {_REBUILD}") from error


def _check_picture(picture: dict[str, Any], name: str) -> PillowImage.Image:
    """Read an image file to its end; the closed image, for its size and bands."""
    try:
        source = picture["path"] if picture["bytes"] is None else io.BytesIO(picture["bytes"])
        with PillowImage.open(source, formats=IMAGE_FORMATS) as opened:
            if opened.format == "PNG":
                opened.verify()  # checksums: faster than decoding
            else:
                opened.load()  # of other formats `verify` looks at the header alone
    except Exception as error:  # Pillow's readers fail in a dozen ways on damaged files
        raise CommandError(f"{name} is not readable ({one_line(error)}): {_REBUILD}") from error
    return opened


def _damaged_shard(folder: Path) -> str:
    """What is wrong with the first damaged Parquet file below a folder; empty if there is none."""
    first: tuple[Path, pyarrow.Schema] | None = None
    for path in sorted(folder.rglob("*.parquet")):
        try:
            with pyarrow.parquet.ParquetFile(path) as shard:
                for _ in shard.iter_batches():
                    pass
                schema = shard.schema_arrow.remove_metadata()
        except (pyarrow.ArrowException, OSError) as error:
            return f"{path} is damaged ({one_line(error)}): {_REBUILD}"
        if first is None or path.parent != first[0].parent:
            first = path, schema
        elif schema != first[1]:
            return f"{path} has other columns or types than {first[0].name}: {_REBUILD}"
    return ""
