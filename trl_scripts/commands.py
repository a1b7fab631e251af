"""`igllm build`, `igllm import-clevr` and `igllm render`."""

import argparse
import errno
import json
from pathlib import Path
from typing import Any

from modeling_igllm import SceneProgram, SceneProgramError, parse_program

from .errors import NO_BLENDER, CommandError


def run_build(parsed: argparse.Namespace) -> int:
    """Render a family; see `dataset_builders.build.build_family`."""
    try:
        from dataset_builders.build import build_family

        arguments = {"workers": parsed.workers, "picture_seconds": parsed.picture_seconds, **scene_arguments(parsed)}
        build_family(parsed.family, parsed.out, **arguments)
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}") from error
    except OSError as error:
        raise cannot_write(parsed.out, error) from error
    except (ValueError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    return 0


def scene_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `igllm build` and `igllm cluster` pass on alike, as keywords of `plan_build`."""
    return {
        "splits": None if parsed.split is None else (parsed.split,),
        "num_scenes": parsed.num_scenes,
        "seed": parsed.seed,
        "resolution": parsed.resolution,
        "samples": parsed.samples,
        "ground_truth": parsed.ground_truth,
        "meshes": parsed.meshes,
    }


def run_import_clevr(parsed: argparse.Namespace) -> int:
    """Import the published CLEVR; see `dataset_builders.import_clevr.import_clevr`."""
    try:
        from datasets import disable_progress_bars

        from dataset_builders.import_clevr import import_clevr

        disable_progress_bars()  # one bar for every shard would hide the import's own
        import_clevr(parsed.source, parsed.out, num_scenes=parsed.num_scenes)
    except ImportError as error:
        raise CommandError(f'{error}; importing needs pip install "ig-llm[render]"') from error
    except OSError as error:
        raise cannot_write(parsed.out, error) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    return 0


def cannot_write(out: Path, error: OSError) -> CommandError:
    """The error of a dataset folder that cannot be written, with what to do about it."""
    advice = "choose another --out folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "make room and run the command again: finished shards are kept"
    return CommandError(f"cannot write to {out}: {error}; {advice}")


def run_render(parsed: argparse.Namespace) -> int:
    """Render a program file into a picture or 3D file."""
    scene = read_program(parsed.program)
    try:
        from dataset_builders.render_program import save_program

        save_program(scene, parsed.out, parsed.resolution, parsed.samples, parsed.family, parsed.meshes)
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}") from error
    except OSError as error:
        raise CommandError(f"cannot write {parsed.out}: {error.strerror or error}; choose another --out") from error
    except (ValueError, RuntimeError) as error:
        raise CommandError(f"{parsed.program}: {error}") from error
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
        raise CommandError(f"cannot read {path}: {error.strerror}; give a .txt or .json file") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8 text: {error}; give a .txt or .json file") from error
    except SceneProgramError as error:
        raise CommandError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits and endless nesting
        raise CommandError(f"{path} is not JSON: {error}; a program text must end in .txt") from error
