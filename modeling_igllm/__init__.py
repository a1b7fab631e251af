"""IG-LLM: the scene-program language and the model that writes it."""

from .errors import SceneProgramError
from .formatting import format_program
from .parsing import parse_program
from .rotations import REPRESENTATION_SIZES, Rotation
from .scene_program import ClevrObject, Point2D, PosedObject, SceneObject, SceneProgram
from .terminals import Terminal, decode_terminals, encode_terminals, program_terminals
from .vocabulary import COLORS, MATERIALS, NUM_TOKEN, SHAPES, SIZES

__all__ = [
    "COLORS",
    "MATERIALS",
    "NUM_TOKEN",
    "REPRESENTATION_SIZES",
    "SHAPES",
    "SIZES",
    "ClevrObject",
    "Point2D",
    "PosedObject",
    "Rotation",
    "SceneObject",
    "SceneProgram",
    "SceneProgramError",
    "Terminal",
    "decode_terminals",
    "encode_terminals",
    "format_program",
    "parse_program",
    "program_terminals",
]
