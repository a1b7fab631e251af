"""Ranges of the numbers in a training set, for `IGLLMConfig.number_ranges`."""

from collections.abc import Iterable

from modeling_igllm import SceneProgram, program_terminals
from modeling_igllm.vocabulary import QUANTITIES


def fit_number_ranges(scenes: Iterable[SceneProgram], rotation: str = "6d") -> dict[str, list[float]]:
    """Return quantity -> [smallest, largest value] of every quantity that occurs in `scenes`.

    A quantity that is always the same keeps its scale, in a range of 1 on both sides of that value.

    Args:
        scenes: the training scenes.
        rotation: representation in which the model writes full rotations.

    Raises:
        ValueError: if there is no number in `scenes`.
    """
    values: dict[str, list[float]] = {quantity: [] for quantity in QUANTITIES}
    for scene in scenes:
        for terminal in program_terminals(scene.with_rotation(rotation), numbers="token"):
            if terminal.quantity is not None and terminal.value is not None:
                values[terminal.quantity].append(terminal.value)
    ranges = {quantity: [min(found), max(found)] for quantity, found in values.items() if found}
    if not ranges:
        raise ValueError("cannot scale the numbers of training scenes in which there are none")
    return {name: [low, high] if low < high else [low - 1, high + 1] for name, (low, high) in ranges.items()}
