"""`python -m igllm_space.render_child OUT.png < program.txt`: the process in which Blender runs.

Blender never enters the server: a scene that crashes or hangs it costs this process alone, and one that has loaded
torch and bpy does not always end.
"""

import os
import sys
from pathlib import Path

from modeling_igllm import parse_program


def main() -> None:
    """Render standard input as `igllm render` does; a scene that cannot be rendered ends in one line and code 1."""
    from dataset_builders.render_program import save_program

    scene = parse_program(sys.stdin.read())
    try:
        save_program(scene, Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the picture is on disk: nothing is left for Blender to clean up
