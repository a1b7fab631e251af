"""Several views of a picture: the answer is that of their mean, for every row and in every way of decoding."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from test_generate_scene import RANGES, ROOM, assert_equal, make_grammatical

from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.grammar_automaton import ProgramCursor
from modeling_igllm.image_views import NUM_VIEWS, shifted_views
from modeling_igllm.pipeline_igllm import ImageToScenePipeline

# Fields of the model, and a seed with which its programs differ in length.
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "head": (1, {}),
    "feed_back": (10, {"feed_numbers_back": True, "number_ranges": RANGES}),
    "digits": (6, {"number_head": "none"}),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[IGLLMProcessor, IGLLMForSceneProgram]:
    seed, fields = KINDS[request.param]
    processor = tiny.make_processor(numbers="char" if "number_head" in fields else "token")
    return processor, make_grammatical(processor, seed, **fields)


def test_views_are_the_picture_and_four_shifted_ones_with_repeated_edges() -> None:
    image = torch.arange(24.0).reshape(1, 1, 4, 6)
    same, right, left, bottom, top = shifted_views(torch.cat([image, -image]), 2)[:NUM_VIEWS, 0]
    assert torch.equal(same, image[0, 0])
    for moved, column in ((right, 2), (left, -2)):
        kept = moved.roll(-column, 1)[:, :4] if column > 0 else moved[:, :4]
        assert torch.equal(kept, same[:, :4] if column > 0 else same[:, 2:])
    assert torch.equal(right[:, 0], same[:, 0]) and torch.equal(right[:, 1], same[:, 0])
    assert torch.equal(left[:, 5], same[:, 5]) and torch.equal(left[:, 4], same[:, 5])
    assert torch.equal(bottom, same[[0, 0, 0, 1]]) and torch.equal(top, same[[2, 3, 3, 3]])
    assert torch.equal(
        shifted_views(torch.cat([image, -image]), 2)[NUM_VIEWS:, 0], -torch.stack([same, right, left, bottom, top])
    )


def test_equal_views_say_what_one_says(kind: tuple[IGLLMProcessor, IGLLMForSceneProgram]) -> None:
    processor, model = kind
    inputs = processor.encode_prompt(tiny.make_images(3))
    inputs["pixel_values"] = inputs["pixel_values"][..., :1, :1].expand(-1, -1, *inputs["pixel_values"].shape[2:])
    one = model.generate_scene(**inputs, max_new_tokens=ROOM)
    assert_equal(model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=3), one)


@pytest.mark.parametrize("draft_choices", [None, 0])
def test_a_batch_says_what_its_pictures_say_alone(
    kind: tuple[IGLLMProcessor, IGLLMForSceneProgram], draft_choices: int | None
) -> None:
    """Rows end at different times: the views of those that go on must stay with them."""
    processor, model = kind
    images = tiny.make_images(4)
    together = model.generate_scene(
        **processor.encode_prompt(images), max_new_tokens=ROOM, view_shift=2, draft_choices=draft_choices
    )
    lengths = set()
    for row, image in enumerate(images):
        alone = model.generate_scene(**processor.encode_prompt([image]), max_new_tokens=ROOM, view_shift=2)
        length = alone.sequences.shape[1]
        lengths.add(length)
        assert torch.equal(together.sequences[row, :length], alone.sequences[0])
        if alone.numbers is not None:
            numbers = together.numbers[row : row + 1, :length].nan_to_num()
            torch.testing.assert_close(numbers, alone.numbers.nan_to_num(), rtol=0, atol=1e-4)
    assert len(lengths) > 1, "all programs are of one length: nothing is dropped"


def test_a_choice_is_made_by_the_mean_of_the_views_logits(processor: IGLLMProcessor) -> None:
    model = make_grammatical(processor, seed=11)
    inputs = processor.encode_prompt(tiny.make_images(1))
    output = model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=4)
    automaton = model.grammar_automaton
    prompt, answer = inputs["input_ids"], output.sequences[:, inputs["input_ids"].shape[1] :]
    run, cursor = ProgramCursor.begin(automaton, ROOM).forced_run()
    allowed = list(cursor.state.transitions)
    ids = torch.cat([prompt, torch.tensor([run], dtype=torch.long)], dim=1).repeat(NUM_VIEWS, 1)
    with torch.no_grad():
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=shifted_views(inputs["pixel_values"], 4),
        ).logits[:, -1, allowed]
    chances = logits.mean(0).softmax(-1)
    assert not torch.allclose(logits[0].softmax(-1), chances, atol=1e-4), "the views say the same: nothing is averaged"
    assert answer[0, len(run)] == allowed[int(chances.argmax())]
    noted = output.word_probabilities[0]
    assert noted and noted[0]["object"] == pytest.approx(float(chances.max()), abs=1e-5)


def test_numbers_are_read_from_the_mean_of_the_views_states(processor: IGLLMProcessor) -> None:
    model = make_grammatical(processor, seed=11)
    inputs = processor.encode_prompt(tiny.make_images(1))
    output = model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=4)
    assert output.sequences is not None and output.numbers is not None and model.numeric_head is not None
    ids = output.sequences.repeat(NUM_VIEWS, 1)
    with torch.no_grad():
        states = model.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=shifted_views(inputs["pixel_values"], 4),
            return_dict=True,
        ).last_hidden_state.mean(0)
        places = output.numbers[0].isfinite().nonzero().flatten()
        values, _ = model.numeric_head.read(model.numeric_head(states[places - 1]))
    assert len(places)
    torch.testing.assert_close(output.numbers[0, places], values, rtol=0, atol=1e-4)


def test_padded_prompts_say_the_same(kind: tuple[IGLLMProcessor, IGLLMForSceneProgram]) -> None:
    processor, model = kind
    inputs = processor.encode_prompt(tiny.make_images(2))
    expected = model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=2)
    padding = torch.full((2, 3), processor.tokenizer.pad_token_id)
    inputs["input_ids"] = torch.cat([padding, inputs["input_ids"]], dim=1)
    inputs["attention_mask"] = torch.cat([torch.zeros_like(padding), inputs["attention_mask"]], dim=1)
    padded = model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=2)
    assert expected.sequences is not None and padded.sequences is not None
    assert torch.equal(padded.sequences[:, 3:], expected.sequences)


def test_the_configuration_says_what_is_done_by_default(processor: IGLLMProcessor, tmp_path: Path) -> None:
    model = make_grammatical(processor, seed=1)
    model.config.view_shift = 3
    model.save_pretrained(tmp_path)
    read = IGLLMForSceneProgram.from_pretrained(tmp_path).eval()
    inputs = processor.encode_prompt(tiny.make_images(2))
    default = read.generate_scene(**inputs, max_new_tokens=ROOM)
    given, without = (model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=shift) for shift in (3, 0))
    assert_equal(default, given)
    assert default.word_probabilities != without.word_probabilities
    assert read.generate_by_grammar(**inputs, max_new_tokens=ROOM).word_probabilities == default.word_probabilities
    to_scene = ImageToScenePipeline(model=read, processor=processor)
    image = tiny.make_images(1)[0]
    confidences = [to_scene(image, max_new_tokens=ROOM, **shift).confidences for shift in ({}, {"view_shift": 0})]
    assert confidences[0] != confidences[1]


def test_what_has_no_views_is_refused(processor: IGLLMProcessor) -> None:
    model = make_grammatical(processor)
    inputs = processor.encode_prompt(tiny.make_images(1))
    for shift in (-1, 40, 100_000, 1.5):
        with pytest.raises(ValueError, match=f"smaller than the model's images of 64x40, got {shift}: 0 reads each"):
            model.generate_scene(**inputs, view_shift=shift)  # type: ignore[arg-type]  # a wrong one, too
    two_images = {**inputs, "pixel_values": inputs["pixel_values"].repeat(2, 1, 1, 1)}
    with pytest.raises(ValueError, match="view_shift=2 needs one image for each prompt, got 2 for 1"):
        model.generate_scene(**two_images, view_shift=2)
    with pytest.raises(ValueError, match=r"view_shift=2 is for generate_scene, which has no \['num_beams'\]"):
        model.generate_by_grammar(**inputs, view_shift=2, num_beams=2, max_new_tokens=ROOM)
    assert model.generate_by_grammar(**inputs, view_shift=0, num_beams=2, max_new_tokens=ROOM).sequences is not None
    with pytest.raises(
        StrictDataclassClassValidationError, match="view_shift must be 0 or a number of pixels, got -2"
    ):
        IGLLMConfig(vision_config=model.config.vision_config, num_token_id=5, view_shift=-2)
    model.config.view_shift = 2
    features = model.encode_images(inputs.pop("pixel_values"))
    with pytest.raises(ValueError, match="view_shift=2 pixels, and image_features are of the picture as it is"):
        model.generate_scene(**inputs, image_features=features)
    assert model.generate_scene(**inputs, image_features=features, view_shift=0).sequences is not None
