"""docs/memory.md is what its command writes, and its figures add up."""

from pathlib import Path

import pytest

from benchmarks import training_memory
from benchmarks.training_memory import GIB, Memory

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "memory.md"


def test_the_document_is_what_its_command_writes() -> None:
    assert DOCUMENT.read_text() == training_memory.report() + "\n"


def test_trained_parameters_are_counted_and_sharding_divides_all_but_activations() -> None:
    one = training_memory.training_memory("published_7b.yaml", batch_size=1)
    eight = training_memory.training_memory("published_7b.yaml", batch_size=1, gpus=8)
    for part in ("frozen", "trained", "gradients", "optimizer"):
        assert getattr(eight, part) == pytest.approx(getattr(one, part) / 8)
    assert eight.activations > one.activations  # two gathered layers
    trained = 319_815_680 + 16_785_409 + 4_198_400  # float32, with the two states of Adam
    assert (one.trained, one.gradients, one.optimizer) == (4 * trained, 4 * trained, 8 * trained)


def test_rows_end_with_the_sum() -> None:
    memory = Memory(1 * GIB, 2 * GIB, 3 * GIB, 4 * GIB, 0.5 * GIB)
    assert memory.row("x") == "| x | 1.0 | 2.0 | 3.0 | 4.0 | 0.5 | 10.5 |"
