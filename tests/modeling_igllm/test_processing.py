"""Promises of the processor, the tiny tokenizer and the prediction it decodes to."""

import json

import numpy as np
import pytest
import tiny
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from modeling_igllm import IGLLMProcessor, Point2D, SceneProgram, format_program, program_terminals
from modeling_igllm.processing_igllm import PUBLISHED_ANSWER_PREFIX, PUBLISHED_PROMPT


def sentencepiece_like_tokenizer() -> PreTrainedTokenizerFast:
    """Like Llama's: every text begins with a space of its own, which decoding strips."""
    characters = sorted({chr(code) for code in range(32, 127)} | {"\n", "▁"})
    specials = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "[NUM]"]
    vocabulary = {token: index for index, token in enumerate(specials + characters)}
    merges = [("▁", "r"), ("▁r", "e"), ("▁re", "d")]
    vocabulary |= {left + right: len(vocabulary) + index for index, (left, right) in enumerate(merges)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    backend.add_tokens(["[NUM]"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )


def test_every_fixed_text_and_word_is_one_token(processor: IGLLMProcessor) -> None:
    tokenizer = processor.tokenizer
    rng = np.random.default_rng(1)
    for scene in (tiny.LONG_SCENE, SceneProgram((Point2D(0.5, 0.25),))):
        for augmentation in ({}, {"shuffle_attributes": True, "sample_synonyms": True}):
            for terminal in program_terminals(scene, numbers="token", rng=rng, **augmentation):
                assert len(tokenizer(terminal.text, add_special_tokens=False)["input_ids"]) == 1, terminal


def test_any_text_survives_the_tiny_tokenizer(processor: IGLLMProcessor) -> None:
    text = "héllo [NUM] add(x=1.5)\n漢字"
    ids = processor.tokenizer(text)["input_ids"]
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_training_inputs_hold_prompt_answer_and_end(processor: IGLLMProcessor) -> None:
    batch = tiny.make_batch(processor)
    answer, values, quantities, _ = processor.encode_answer(tiny.SHORT_SCENE)
    assert values == tiny.SHORT_SCENE.numbers
    prompt = [processor.tokenizer.bos_token_id] + 16 * [processor.image_token_id]
    end = len(prompt) + len(answer)
    assert batch["input_ids"][0, :end].tolist() == prompt + answer
    assert answer[-1] == processor.tokenizer.eos_token_id
    assert batch["labels"][0].tolist() == 17 * [-100] + answer + (batch["labels"].shape[1] - end) * [-100]
    assert batch["attention_mask"][0].sum() == end
    assert (batch["input_ids"][0, end:] == processor.tokenizer.pad_token_id).all()
    is_number = batch["labels"] == processor.num_token_id
    assert torch.equal(batch["number_labels"].isfinite(), is_number)
    assert batch["number_labels"][is_number].tolist() == pytest.approx(
        tiny.SHORT_SCENE.numbers + tiny.LONG_SCENE.numbers
    )
    assert batch["pixel_values"].shape == (2, 3, tiny.HEIGHT, tiny.WIDTH)
    assert batch["number_quantities"][0].tolist() == 17 * [-1] + quantities + (batch["labels"].shape[1] - end) * [-1]
    assert torch.equal(batch["number_quantities"] >= 0, is_number)
    assert batch["number_quantities"][is_number].tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3]


def test_training_prompt_is_the_generation_prompt(processor: IGLLMProcessor) -> None:
    prompt = processor.encode_prompt(tiny.make_images(2))
    batch = tiny.make_batch(processor)
    length = prompt["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"][:, :length], prompt["input_ids"])
    assert (batch["labels"][:, :length] == -100).all()
    assert torch.equal(batch["pixel_values"], prompt["pixel_values"])


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("numbers", ["token", "char", "text"])
def test_decoding_the_training_answer_gives_the_scene(published: bool, numbers: str) -> None:
    wording = {"prompt": PUBLISHED_PROMPT, "answer_prefix": PUBLISHED_ANSWER_PREFIX, "answer_suffix": "```"}
    processor = tiny.make_processor(numbers=numbers, **(wording if published else {}))
    batch = tiny.make_batch(processor)
    predictions = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    for prediction, scene in zip(predictions, (tiny.SHORT_SCENE, tiny.LONG_SCENE), strict=True):
        assert prediction.error is None
        assert prediction.scene == scene
        assert prediction.program == format_program(scene)
        assert prediction.text.startswith(processor.answer_prefix)


def test_sentencepiece_spaces_do_not_reach_the_words() -> None:
    processor = IGLLMProcessor(tiny.make_processor().image_processor, sentencepiece_like_tokenizer())
    batch = processor.encode_training(None, [tiny.LONG_SCENE])
    (prediction,) = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    assert prediction.scene == tiny.LONG_SCENE


def test_standard_call_expands_the_image_placeholder(processor: IGLLMProcessor) -> None:
    inputs = processor(images=tiny.make_images(1), text="<image>what?", return_tensors="pt")
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 16
    assert inputs["pixel_values"].shape == (1, 3, tiny.HEIGHT, tiny.WIDTH)


def test_augmentation_reaches_the_answer(processor: IGLLMProcessor) -> None:
    rng = np.random.default_rng(0)
    batch = processor.encode_training(None, [tiny.LONG_SCENE] * 3, rng=rng, shuffle_attributes=True)
    plain = processor.encode_training(None, [tiny.LONG_SCENE] * 3)
    predictions = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    assert [prediction.scene for prediction in predictions] == [tiny.LONG_SCENE] * 3
    assert not torch.equal(batch["input_ids"], plain["input_ids"])


def test_save_and_load_keeps_wording_and_tokens(tmp_path) -> None:
    processor = tiny.make_processor(answer_prefix="Here:\n", rotation="quat")
    processor.save_pretrained(tmp_path)
    loaded = IGLLMProcessor.from_pretrained(tmp_path)
    for name in ("prompt", "answer_prefix", "answer_suffix", "rotation", "numbers", "num_image_tokens"):
        assert getattr(loaded, name) == getattr(processor, name)
    before, after = tiny.make_batch(processor), tiny.make_batch(loaded)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0, equal_nan=True)


def test_unparsable_answer_is_an_error_with_its_text(processor: IGLLMProcessor) -> None:
    batch = processor.encode_training(None, [tiny.SHORT_SCENE])
    cut = batch["input_ids"][:, :-4]
    (prediction,) = processor.decode_scene(cut, batch["number_labels"][:, :-4])
    assert prediction.scene is None
    assert prediction.error is not None
    written = json.loads(json.dumps(prediction.to_json()))
    assert written["objects"] is None
    assert written["text"] == prediction.text
    assert str(prediction.error) == written["error"]


def test_number_that_is_not_finite_is_an_error_of_the_prediction(processor: IGLLMProcessor) -> None:
    batch = processor.encode_training(None, [tiny.SHORT_SCENE])
    (prediction,) = processor.decode_scene(batch["input_ids"], torch.full_like(batch["number_labels"], torch.nan))
    assert prediction.error is not None


def test_foreign_prompt_needs_its_length(processor: IGLLMProcessor) -> None:
    batch = processor.encode_training(None, [tiny.SHORT_SCENE])
    sequences = torch.cat([torch.full((1, 2), 50), batch["input_ids"]], dim=1)
    numbers = torch.nn.functional.pad(batch["number_labels"], (2, 0))
    with pytest.raises(ValueError, match="prompt_length"):
        processor.decode_scene(sequences, numbers)
    assert processor.decode_scene(sequences, numbers, prompt_length=19)[0].scene == tiny.SHORT_SCENE
    with pytest.raises(ValueError, match="prompt_length"):
        processor.decode_scene(batch["input_ids"][:, :3], batch["number_labels"][:, :3])


def test_missing_inputs_are_refused(processor: IGLLMProcessor) -> None:
    batch = tiny.make_batch(processor)
    with pytest.raises(ValueError, match="numbers"):
        processor.decode_scene(batch["input_ids"])
    with pytest.raises(ValueError, match="1 images for 2 scenes"):
        processor.encode_training(tiny.make_images(1), [tiny.SHORT_SCENE, tiny.LONG_SCENE])
    with pytest.raises(ValueError, match="batch_size"):
        processor.encode_prompt(None)


def test_a_batch_of_no_prompt_is_empty(processor: IGLLMProcessor) -> None:
    for inputs in (processor.encode_prompt(None, batch_size=0), processor.encode_prompt([])):
        assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (0, 17)


@pytest.mark.parametrize("name", ["pad_token", "eos_token"])
def test_a_tokenizer_without_pad_or_end_token_is_refused(name: str) -> None:
    processor = tiny.make_processor()
    setattr(processor.tokenizer, name, None)
    with pytest.raises(ValueError, match=f"no {name}"):
        IGLLMProcessor(processor.image_processor, processor.tokenizer)


@pytest.mark.parametrize(
    ("field", "value", "quoted"),
    [
        ("numbers", "roman", "'roman'"),
        ("prompt", "no image", "'no image'"),
        ("prompt", "<image><image>", "<image><image>"),
        ("num_image_tokens", 0, "got 0"),
        ("image_token", "<picture>", "<picture>"),
    ],
)
def test_a_bad_setting_is_refused_and_quoted(field: str, value: object, quoted: str) -> None:
    with pytest.raises(ValueError, match=quoted):
        tiny.make_processor(**{"prompt": "<image>"} | {field: value})


def test_output_of_the_decoder_goes_into_the_predictions(processor: IGLLMProcessor) -> None:
    batch = tiny.make_batch(processor)
    words = [[{"object": 0.5, "color": 0.25}], 3 * [{"object": 1.0}]]
    short, long = processor.decode_scene(
        batch["input_ids"],
        batch["number_labels"],
        number_stds=batch["number_labels"].abs() / 10,
        truncated=torch.tensor([False, True]),
        word_probabilities=words,
    )
    assert short.number_stds == pytest.approx([abs(number) / 10 for number in short.numbers])
    assert len(long.number_stds) == len(long.numbers) == 11
    assert (short.truncated, long.truncated) == (False, True)
    assert (short.confidences, long.confidences) == (tuple(words[0]), tuple(words[1]))


def test_an_answer_without_an_end_is_truncated(processor: IGLLMProcessor) -> None:
    batch = processor.encode_training(None, [tiny.SHORT_SCENE])
    (whole,) = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    (cut,) = processor.decode_scene(batch["input_ids"][:, :-1], batch["number_labels"][:, :-1])
    assert (whole.truncated, cut.truncated) == (False, True)
    assert whole.number_stds is whole.confidences is None


@pytest.mark.parametrize("rare", ["<rare>", "!"])
def test_a_reused_rare_token_is_read_as_a_number_whatever_its_text(rare: str) -> None:
    tokenizer = sentencepiece_like_tokenizer()
    tokenizer.add_tokens([rare])
    processor = IGLLMProcessor(tiny.make_processor().image_processor, tokenizer, num_token=rare)
    batch = processor.encode_training(None, [tiny.LONG_SCENE])
    assert processor.num_token_id not in (None, tokenizer.convert_tokens_to_ids("[NUM]"))
    (prediction,) = processor.decode_scene(batch["input_ids"], batch["number_labels"])
    assert prediction.scene == tiny.LONG_SCENE
    assert prediction.text.count("[NUM]") == 11
    assert rare not in prediction.text
