"""`igllm predict`: images in; program text, JSON and, if asked, a side-by-side picture out."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from modeling_igllm import ScenePrediction, SceneProgram

from .errors import CommandError
from .inference import Predictor


def run_predict(parsed: argparse.Namespace) -> int:
    """Predict every readable image; the others are reported and the exit code tells."""
    _check_stems(parsed.images)
    _make_folder(parsed.out)
    paths, images = _open_images(parsed.images)
    exit_code = 0 if len(paths) == len(parsed.images) else 2
    if not paths:
        return exit_code
    predictor = Predictor.load(parsed.model, parsed.revision, parsed.device, parsed.dtype)
    predictions = predictor.predict(images, parsed.batch_size)
    for path, image, prediction in zip(paths, images, predictions, strict=True):
        _write(parsed, path, image, prediction)
        if prediction.scene is None:
            print(f"igllm predict: {path}: the output is no program: {prediction.error}", file=sys.stderr)
            exit_code = exit_code or 1
    return exit_code


def _check_stems(paths: list[Path]) -> None:
    twice = [stem for stem, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise CommandError(
            f"several inputs are called {twice[0]!r} and would overwrite each other's results: rename one"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".igllm-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"cannot write to {folder}: {error.strerror}; choose another --out folder") from error


def _open_images(paths: list[Path]) -> tuple[list[Path], list[Image.Image]]:
    """Open every image that can be opened; each other one costs a line on standard error."""
    opened: list[tuple[Path, Image.Image]] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                image.load()
                opened.append((path, image.copy()))
        except FileNotFoundError:
            print(f"igllm predict: {path}: no such file", file=sys.stderr)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            print(f"igllm predict: {path}: not a readable image ({error})", file=sys.stderr)
    return [path for path, _ in opened], [image for _, image in opened]


def _write(parsed: argparse.Namespace, path: Path, image: Image.Image, prediction: ScenePrediction) -> None:
    result = {**prediction.to_json(), "model": parsed.model}
    target = parsed.out / path.stem
    target.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = prediction.text if prediction.program is None else prediction.program
    target.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(f"# {path}\n{text}")
    if parsed.render and prediction.scene is not None:
        side_by_side(image, prediction.scene).save(target.with_suffix(".png"))
        print(f"# picture and prediction: {target.with_suffix('.png')}\n")


def side_by_side(image: Image.Image, scene: SceneProgram, height: int = 240) -> Image.Image:
    """Return the picture and, to its right, the rendered scene, both `height` pixels high.

    Raises:
        CommandError: if bpy is not installed.
    """
    try:
        from dataset_builders.render_program import render_program

        rendered = render_program(scene, (height * 4 // 3, height))
    except ImportError as error:
        raise CommandError(f'{error}: --render needs Blender, pip install "ig-llm[render]" on Python 3.11') from error
    picture = ImageOps.exif_transpose(image).convert("RGB")
    picture = picture.resize((round(picture.width * height / picture.height), height))
    return Image.fromarray(np.concatenate([np.asarray(picture), rendered], axis=1))
