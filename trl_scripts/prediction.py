"""`igllm predict`: images in; program text, JSON and, if asked, a side-by-side picture out."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from modeling_igllm import ScenePrediction, SceneProgram
from modeling_igllm.image_files import check_image_header, read_image

from .errors import CommandError, check_blender
from .inference import Predictor

Result = TypeVar("Result")


def run_predict(parsed: argparse.Namespace) -> int:
    """Predict every readable image, a batch at a time; the others are reported and the exit code tells."""
    _check_results_are_distinct(parsed.images, parsed.out, parsed.render)
    if parsed.render:
        check_blender("leave out --render")
    _make_folder(parsed.out)
    paths = [path for path, _ in _each_readable(parsed.images, check_image_header)]
    exit_code = 0 if len(paths) == len(parsed.images) else 2
    if not paths:
        return exit_code
    predictor = Predictor.load(
        parsed.model, parsed.revision, parsed.device, parsed.dtype, not parsed.no_grammar, parsed.view_shift
    )
    for start in range(0, len(paths), parsed.batch_size):  # of photographs, all at once would be gigabytes
        exit_code = max(exit_code, _predict_batch(parsed, predictor, paths[start : start + parsed.batch_size]))
    return exit_code


def _predict_batch(parsed: argparse.Namespace, predictor: Predictor, paths: list[Path]) -> int:
    """Read, predict and write some of the images; returns the exit code that they ask for."""
    opened = list(_each_readable(paths, read_image))
    exit_code = 0 if len(opened) == len(paths) else 2
    predictions = predictor.predict([image for _, image in opened], parsed.batch_size)
    for (path, image), prediction in zip(opened, predictions, strict=True):
        try:
            _write(parsed, path, image, prediction)
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # no space, a folder in the way, a scene or Blender's fault
            _report(path, f"cannot write its results to {parsed.out}: {error}")
            exit_code = 2
        if prediction.scene is None:
            _report(path, f"the output is no program: {prediction.error}")
            exit_code = exit_code or 1
        if prediction.truncated:
            _report(path, "truncated: a limit ended the output, the model would have gone on")
    return exit_code


def result_path(folder: Path, image: Path, suffix: str) -> Path:
    """The result of an image: its stem, dots included, with another suffix."""
    return folder / f"{image.stem}{suffix}"


def _report(path: Path, message: str) -> None:
    print(f"igllm predict: {path}: {message}", file=sys.stderr)


def _check_results_are_distinct(images: list[Path], folder: Path, with_picture: bool) -> None:
    twice = [stem for stem, count in Counter(path.stem for path in images).items() if count > 1]
    if twice:
        raise CommandError(f"several inputs are called {twice[0]!r}, their results would be one file: rename one")
    inputs = {path.resolve() for path in images}
    suffixes = (".json", ".txt", ".png") if with_picture else (".json", ".txt")  # also a picture may be called a.txt
    for path in images:
        if any(result_path(folder, path, suffix).resolve() in inputs for suffix in suffixes):
            raise CommandError(f"the result of {path} would overwrite an input: choose another --out folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".igllm-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"cannot write to {folder}: {error.strerror}; choose another --out folder") from error


def _each_readable(paths: list[Path], read: Callable[[Path], Result]) -> Iterator[tuple[Path, Result]]:
    """Read every image that can be read; each other one costs a line on standard error."""
    for path in paths:
        try:
            yield path, read(path)
        except FileNotFoundError:
            _report(path, "no such file; check its name")
        except ValueError as error:
            print(f"igllm predict: {error}", file=sys.stderr)


def _write(parsed: argparse.Namespace, path: Path, image: Image.Image, prediction: ScenePrediction) -> None:
    result = {**prediction.to_json(), "model": parsed.model}
    result_path(parsed.out, path, ".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    prediction.save(result_path(parsed.out, path, ".txt"))
    print(f"# {path}\n{prediction.text if prediction.program is None else prediction.program}")
    if parsed.render and prediction.scene is not None:
        picture = result_path(parsed.out, path, ".png")
        side_by_side(image, prediction.scene).save(picture)
        print(f"# picture and prediction: {picture}\n")


def side_by_side(image: Image.Image, scene: SceneProgram, height: int = 240) -> Image.Image:
    """Return the picture (upright) and, to its right, the rendered scene, both `height` pixels high.

    Raises:
        ImportError: if bpy is not installed.
        ValueError: if the scene is not of the CLEVR families.
    """
    from dataset_builders.render_program import render_program

    rendered = render_program(scene, (height * 4 // 3, height))
    picture = image.convert("RGB")
    picture = picture.resize((max(1, round(picture.width * height / picture.height)), height))
    return Image.fromarray(np.concatenate([np.asarray(picture), rendered], axis=1))
