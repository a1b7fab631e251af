"""Rendering in a child process with a time limit."""

import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

SECONDS = 120.0
MAX_OBJECTS = 50
NO_BLENDER = "There is no Blender on this machine: the program, the table and the 3D view are all there is."
_SPACE = Path(__file__).parents[1]


class RenderError(Exception):
    """A scene that was not rendered; the message is for the visitor."""


def blender_is_installed() -> bool:
    """Whether `render` can work here."""
    return find_spec("bpy") is not None


def render(program: str, seconds: float = SECONDS) -> Image.Image:
    """Render a program with the camera and lamps of its family.

    Args:
        program: canonical text.
        seconds: after which the process and its own children are killed.

    Returns:
        (240, 320) RGB for CLEVR.

    Raises:
        RenderError: if it took too long or cannot be rendered.
    """
    with tempfile.TemporaryDirectory(prefix="igllm-render-") as folder:
        picture = Path(folder) / "picture.png"
        _run([sys.executable, "-m", "igllm_space.render_child", str(picture)], program, seconds)
        with Image.open(picture) as image:
            return image.convert("RGB")


def _run(command: list[str], text: str, seconds: float) -> None:
    with subprocess.Popen(
        command,
        cwd=_SPACE,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its children can be killed with it
    ) as child:
        try:
            _, errors = child.communicate(text, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise RenderError(f"Blender needed more than {seconds:g} seconds and was stopped.") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode != 0:
        print(errors, file=sys.stderr)
        reason = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {child.returncode}"
        raise RenderError(f"Blender could not render this scene: {reason}")
