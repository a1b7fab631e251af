"""From a scene to canonical text (SCENE_PROGRAM)."""

import numpy as np

from .scene_program import SceneProgram
from .terminals import program_terminals


def format_program(
    scene: SceneProgram,
    *,
    numbers: str = "text",
    rng: np.random.Generator | None = None,
    shuffle_attributes: bool = False,
    sample_synonyms: bool = False,
) -> str:
    """The program of `scene`, one line (ending in LF) per object in the order of the scene; arguments and errors as
    in `program_terminals`. The default is the canonical text: `format_program(parse_program(t)) == t` for it."""
    terminals = program_terminals(
        scene, numbers=numbers, rng=rng, shuffle_attributes=shuffle_attributes, sample_synonyms=sample_synonyms
    )
    return "".join(terminal.text for terminal in terminals)
