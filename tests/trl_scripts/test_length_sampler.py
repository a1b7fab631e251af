"""Steps are random, and within a step scenes of like length come together."""

import pytest

from trl_scripts.length_sampler import StepwiseLengthSampler

STEP = 32
LENGTHS = [3 + (7 * index) % 8 for index in range(3 * STEP)]


@pytest.fixture
def sampler() -> StepwiseLengthSampler:
    """Three steps."""
    return StepwiseLengthSampler(LENGTHS, STEP, seed=0)


def steps(sampler: StepwiseLengthSampler) -> list[list[int]]:
    order = list(sampler)
    return [order[start : start + STEP] for start in range(0, len(order), STEP)]


def test_every_scene_comes_once_in_an_epoch(sampler: StepwiseLengthSampler) -> None:
    assert sorted(sampler) == list(range(len(LENGTHS)))
    assert len(sampler) == len(LENGTHS)


def test_a_step_holds_all_lengths_and_begins_with_its_longest(sampler: StepwiseLengthSampler) -> None:
    for step in steps(sampler):
        lengths = [LENGTHS[index] for index in step]
        assert len(set(lengths)) > 5
        assert lengths == sorted(lengths, reverse=True)


def test_micro_batches_need_little_padding(sampler: StepwiseLengthSampler) -> None:
    def padded(order: list[int], size: int) -> int:
        return sum(size * max(LENGTHS[i] for i in order[at : at + size]) for at in range(0, len(order), size))

    assert padded(list(sampler), 8) < 1.15 * sum(LENGTHS) < 1.4 * sum(LENGTHS) < padded(list(sampler), STEP)


def test_epochs_differ_and_can_be_repeated(sampler: StepwiseLengthSampler) -> None:
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first != second


def test_the_seed_decides_the_order(sampler: StepwiseLengthSampler) -> None:
    assert list(StepwiseLengthSampler(LENGTHS, STEP, seed=5)) != list(sampler)
