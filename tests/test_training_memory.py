"""docs/memory.md is what its command writes, and its figures add up."""

from pathlib import Path

import pytest
import torch

from benchmarks import training_memory
from benchmarks.saved_activations import PeakBytes, peak_bytes_of_the_loss
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


def test_logits_are_counted_where_they_are_needed() -> None:
    length, positions = training_memory.sequence_lengths()
    assert 576 + positions < length  # neither the image nor the prompt
    model = training_memory.published_model()
    logits = positions * model.config.text_config.vocab_size
    # In float32 their logarithms, the gradients of these and their own; beside them the numeric head is small.
    assert 12 < peak_bytes_of_the_loss(model, positions) / logits < 15
    more = peak_bytes_of_the_loss(model, 2 * positions)
    assert more == pytest.approx(2 * peak_bytes_of_the_loss(model, positions), rel=0.01)


def test_only_what_is_there_at_once_is_a_peak() -> None:
    weight = torch.ones(100)
    with PeakBytes([weight]) as count:
        first = weight.view(10, 10) + 1
        del first
        second = weight * 2
    assert (count.peak, count.now) == (400, 400)
    del second
    assert count.now == 0


def test_rows_end_with_the_sum() -> None:
    memory = Memory(1 * GIB, 2 * GIB, 3 * GIB, 4 * GIB, 0.5 * GIB)
    assert memory.row("x") == "| x | 1.0 | 2.0 | 3.0 | 4.0 | 0.5 | 10.5 |"
