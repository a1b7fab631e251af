"""What `generate_scene` is compared with decodes every kind of model, also one that feeds its numbers back."""

from typing import Any

import pytest
import tiny

from benchmarks import decode
from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor

ROOM = 200


def decode_one_picture(
    processor: IGLLMProcessor, monkeypatch: pytest.MonkeyPatch, **config: Any
) -> tuple[Any, Any, int]:
    """What stock and `generate_scene` give for a picture, and how often stock read numbers in a second pass."""
    monkeypatch.setattr(decode, "ROOM", ROOM)
    model = tiny.make_model(processor, **config)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=2))
    second_passes = []
    read_numbers = IGLLMForSceneProgram.read_numbers

    def count_and_read(*arguments: Any, **images: Any) -> Any:
        second_passes.append(arguments)
        return read_numbers(*arguments, **images)

    monkeypatch.setattr(IGLLMForSceneProgram, "read_numbers", count_and_read)
    inputs = processor.encode_prompt(tiny.make_images(1))
    return decode.stock(model, inputs), decode.generate_scene(model, inputs), len(second_passes)


@pytest.mark.parametrize(("feeds_back", "second_passes"), [(False, 1), (True, 0)])
def test_stock_reads_numbers_in_a_second_pass_unless_it_had_them_all_along(
    feeds_back: bool, second_passes: int, processor: IGLLMProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, ours, passes = decode_one_picture(processor, monkeypatch, feed_numbers_back=feeds_back)
    assert passes == second_passes
    assert stock.sequences.tolist() == ours.sequences.tolist()
