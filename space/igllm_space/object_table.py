"""A prediction as a table: one row for each object, words with the model's probability for them."""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

from modeling_igllm import ClevrObject, SceneProgram

Confidences = Sequence[Mapping[str, float]]


class ObjectTable(TypedDict):
    """What `gradio.Dataframe` takes."""

    headers: list[str]
    data: list[list[str]]


def object_table(scene: SceneProgram, confidences: Confidences | None) -> ObjectTable:
    """Lay out a scene.

    Args:
        scene: N objects of one kind.
        confidences: for each object attribute -> probability, under "object" that it is there at all
            (`ScenePrediction.confidences`); None for a program that a person has written.

    Returns:
        A column for the number, for each attribute (metres, degrees), and, with confidences, for "object".
    """
    certain: Confidences = [{} for _ in scene] if confidences is None else confidences
    attributes = list(dict.fromkeys(name for item in scene for name in item.attributes()))
    shown = ["object"] if confidences is not None else []
    headers = ["#", *shown, *(_header(name, scene) for name in attributes)]
    rows = []
    for number, (item, words) in enumerate(zip(scene, certain, strict=True), start=1):
        values = item.attributes()
        there = [_percent(words["object"])] if confidences is not None else []
        cells = [_cell(name, values[name], words.get(name)) if name in values else "" for name in attributes]
        rows.append([str(number), *there, *cells])
    return ObjectTable(headers=headers, data=rows)


def _header(name: str, scene: SceneProgram) -> str:
    if name == "rotation" and any(isinstance(item, ClevrObject) for item in scene):
        return "yaw"
    return "x, y, z (m)" if name == "loc" else name


def _cell(name: str, value: str | float | tuple[float, ...], confidence: float | None) -> str:
    if isinstance(value, str):
        return value if confidence is None else f"{value} {_percent(confidence)}"
    if isinstance(value, tuple):
        return ", ".join(f"{number:.2f}" for number in value)
    return f"{math.degrees(value):.0f}°" if name == "rotation" else f"{value:.3f}"


def _percent(probability: float) -> str:
    """Rounded down: only certainty is 100 %."""
    return f"{math.floor(probability * 1000) / 10:.1f} %"
