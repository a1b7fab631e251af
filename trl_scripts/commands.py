"""`igllm build` and `igllm render`."""

import argparse
import json
from pathlib import Path

from modeling_igllm import SceneProgram, SceneProgramError, parse_program

from .errors import CommandError


def run_build(parsed: argparse.Namespace) -> int:
    """Render a family; see `dataset_builders.build.build_family`."""
    try:
        from dataset_builders.build import build_family

        build_family(
            parsed.family,
            parsed.out,
            splits=None if parsed.split is None else (parsed.split,),
            num_scenes=parsed.num_scenes,
            seed=parsed.seed,
            resolution=parsed.resolution,
            samples=parsed.samples,
            workers=parsed.workers,
        )
    except ImportError as error:
        raise CommandError(f'{error}: rendering needs Blender, pip install "ig-llm[render]" on Python 3.11') from error
    except (ValueError, OSError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    return 0


def run_render(parsed: argparse.Namespace) -> int:
    """Render a program file into a picture or 3D file."""
    scene = read_program(parsed.program)
    try:
        from dataset_builders.render_program import save_program

        save_program(scene, parsed.out, parsed.resolution, parsed.samples)
    except ImportError as error:
        raise CommandError(f'{error}: rendering needs Blender, pip install "ig-llm[render]" on Python 3.11') from error
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    print(parsed.out)
    return 0


def read_program(path: Path) -> SceneProgram:
    """Read a scene from program text (`.txt`) or JSON (`.json`, as `predict` writes it).

    Raises:
        CommandError: if the file is missing, unreadable or no scene program; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return SceneProgram.from_json(json.loads(text))
        return parse_program(text)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8 text: {error}") from error
    except json.JSONDecodeError as error:
        raise CommandError(f"{path} is not JSON: {error}") from error
    except SceneProgramError as error:
        raise CommandError(f"{path}: {error}") from error
