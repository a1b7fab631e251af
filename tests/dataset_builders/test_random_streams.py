"""Random streams: reproducible for ever, and no two alike."""

import itertools

import pytest

from dataset_builders.random_streams import FAMILY_CODES, SPLIT_CODES, scene_stream


def draw(*arguments: object) -> list[int]:
    return scene_stream(*arguments).integers(2**32, size=3).tolist()  # type: ignore[arg-type]


def test_streams_are_those_of_the_published_scenes() -> None:
    assert draw("clevr", "train", 0, 0) == [3127938266, 595397071, 902680732]
    assert draw("shapenet", "val_ood_shape", 1, 2, 3) == [1962786105, 2231459290, 267443773]


def test_same_arguments_give_the_same_numbers() -> None:
    assert draw("so3", "val_id", 7, 100, 2) == draw("so3", "val_id", 7, 100, 2)


def test_any_argument_changes_the_stream() -> None:
    streams = [
        tuple(draw(*arguments))
        for arguments in itertools.product(FAMILY_CODES, SPLIT_CODES, (0, 1, 2**32 - 1), (0, 1), (0, 1))
    ]
    assert len(set(streams)) == len(streams)


def test_codes_are_distinct() -> None:
    assert len(set(FAMILY_CODES.values())) == len(FAMILY_CODES)
    assert len(set(SPLIT_CODES.values())) == len(SPLIT_CODES)


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (2**32, 0, 0), (0, 2**32, 0), (0, 0, 2**32)])
def test_numbers_out_of_range_are_refused_and_quoted(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"{max(numbers, key=abs)}"):
        scene_stream("clevr", "train", *numbers)


@pytest.mark.parametrize(("family", "split"), [("clevrr", "train"), ("clevr", "val-ood")])
def test_unknown_names_are_refused(family: str, split: str) -> None:
    with pytest.raises(KeyError):
        scene_stream(family, split, 0, 0)
