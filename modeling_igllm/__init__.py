"""IG-LLM: the scene-program language and the model that writes it.

The model's classes are imported when they are asked for: the language alone needs no torch, and a render worker that
only formats programs starts in a fraction of the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import SceneProgramError
from .formatting import format_program
from .parsing import parse_predicted_program, parse_program
from .rotations import REPRESENTATION_SIZES, Rotation, nearest_rotation
from .scene_program import ClevrObject, Point2D, PosedObject, SceneObject, SceneProgram
from .terminals import Terminal, decode_terminals, encode_terminals, program_terminals
from .vocabulary import COLORS, MATERIALS, NUM_TOKEN, SHAPES, SIZES

if TYPE_CHECKING:
    from .configuration_igllm import IGLLMConfig, SceneTowerConfig
    from .grammar_generation import GrammarLogitsProcessor
    from .image_processing_igllm import IGLLMImageProcessor
    from .modeling_igllm import IGLLMForSceneProgram
    from .modeling_scene_tower import SceneTowerModel
    from .pipeline_igllm import ImageToScenePipeline
    from .processing_igllm import IGLLMProcessor
    from .scene_decoding import SceneDecodeOutput
    from .scene_grammar import SceneGrammar
    from .scene_prediction import ScenePrediction

_MODULES = {
    "GrammarLogitsProcessor": "grammar_generation",
    "IGLLMConfig": "configuration_igllm",
    "IGLLMForSceneProgram": "modeling_igllm",
    "IGLLMImageProcessor": "image_processing_igllm",
    "IGLLMProcessor": "processing_igllm",
    "ImageToScenePipeline": "pipeline_igllm",
    "SceneDecodeOutput": "scene_decoding",
    "SceneGrammar": "scene_grammar",
    "ScenePrediction": "scene_prediction",
    "SceneTowerConfig": "configuration_igllm",
    "SceneTowerModel": "modeling_scene_tower",
}

__all__ = [
    "COLORS",
    "MATERIALS",
    "NUM_TOKEN",
    "REPRESENTATION_SIZES",
    "SHAPES",
    "SIZES",
    "ClevrObject",
    "GrammarLogitsProcessor",
    "IGLLMConfig",
    "IGLLMForSceneProgram",
    "IGLLMImageProcessor",
    "IGLLMProcessor",
    "ImageToScenePipeline",
    "Point2D",
    "PosedObject",
    "Rotation",
    "SceneDecodeOutput",
    "SceneGrammar",
    "SceneObject",
    "ScenePrediction",
    "SceneProgram",
    "SceneProgramError",
    "SceneTowerConfig",
    "SceneTowerModel",
    "Terminal",
    "decode_terminals",
    "encode_terminals",
    "format_program",
    "nearest_rotation",
    "parse_predicted_program",
    "parse_program",
    "program_terminals",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
