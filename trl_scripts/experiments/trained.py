"""What every kind of training hands to the evaluation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        answer: split -> one program text for each of its scenes, rotations in 6d.
        parameters: those of the frozen tower included.
        steps: of the optimiser.
        minutes: of training.
        losses: step -> name -> value, as logged.
        curve: step -> split -> score -> value, of a recipe that asks for it.
    """

    answer: Callable[[str], list[str]]
    parameters: int
    steps: int
    minutes: float
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    curve: dict[str, Any] = field(default_factory=dict)
