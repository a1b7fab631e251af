"""Decoding under the grammar: equal to the slow way, in few passes, and never without a program."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from accelerate import cpu_offload
from PIL import Image, ImageOps
from transformers import AutoModelForImageTextToText, LogitsProcessorList
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from benchmarks.llama_tokenizer import make_llama_tokenizer
from modeling_igllm import COLORS, IGLLMForSceneProgram, IGLLMProcessor, PosedObject, Rotation, SceneProgram
from modeling_igllm.grammar_generation import CUSTOM_GENERATE_FILE, GrammarLogitsProcessor
from modeling_igllm.scene_decoding import SceneDecodeOutput
from modeling_igllm.scene_grammar import FixedSlot, SceneGrammar

ROOM = 200
RANGES = {"x": [-3, 3], "y": [-3.0, 3.0], "z": [0, 1], "rotation": [0.0, 1.5708]}
CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "ig-llm-tiny-clevr"
PICTURE = CHECKPOINT.parent.parent / "docs" / "examples" / "clevr_scene.png"


def make_grammatical(processor: IGLLMProcessor, seed: int = 0, **fields: Any) -> IGLLMForSceneProgram:
    """A random model with the grammar of CLEVR."""
    model = tiny.make_model(processor, seed, **fields)
    if model.number_embedding is not None:
        # Random weights on sines of period 1/128 turn rounding errors into other numbers within a few of them.
        model.number_embedding.projection.weight.data.mul_(0.02)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=6))
    return model


def token_by_token(model: IGLLMForSceneProgram, inputs: Any, room: int = ROOM, **kwargs: Any) -> Any:
    """The slow way: transformers' own loop with a mask."""
    mask = GrammarLogitsProcessor(model.grammar_automaton, inputs["input_ids"].shape[1], room)
    arguments = {"do_sample": False, "max_new_tokens": room} | kwargs
    return IGLLMForSceneProgram.generate(model, **inputs, logits_processor=LogitsProcessorList([mask]), **arguments)


def assert_equal(output: SceneDecodeOutput, expected: Any) -> None:
    assert torch.equal(output.sequences, expected.sequences)
    if expected.get("numbers") is None:
        assert output.numbers is None
        return
    assert torch.equal(output.numbers.isnan(), expected.numbers.isnan())
    torch.testing.assert_close(output.numbers.nan_to_num(), expected.numbers.nan_to_num(), rtol=0, atol=1e-4)
    assert (output.number_stds is None) == (expected.number_stds is None)
    if output.number_stds is not None:
        torch.testing.assert_close(
            output.number_stds.nan_to_num(), expected.number_stds.nan_to_num(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("draft_choices", [None, 0, 1, 5, 12])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"number_head": "gaussian", "number_ranges": RANGES},
        {"feed_numbers_back": True, "number_ranges": RANGES},
        {"number_head": "none"},
    ],
    ids=["head", "gaussian", "feed_back", "digits"],
)
def test_equal_to_masked_greedy_search_token_by_token(fields: dict, seed: int, draft_choices: int | None) -> None:
    processor = tiny.make_processor(numbers="char" if fields.get("number_head") == "none" else "token")
    model = make_grammatical(processor, seed, **fields)
    inputs = processor.encode_prompt(tiny.make_images(4))
    output = model.generate_scene(**inputs, max_new_tokens=ROOM, draft_choices=draft_choices)
    assert_equal(output, token_by_token(model, inputs))


@pytest.mark.parametrize("draft_choices", [None, 0, 5])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_equal_in_batches_with_left_padding(batch_size: int, draft_choices: int | None) -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(batch_size))
    padding = torch.full((batch_size, 3), processor.tokenizer.pad_token_id)
    inputs["input_ids"] = torch.cat([padding, inputs["input_ids"]], dim=1)
    inputs["attention_mask"] = torch.cat([torch.zeros_like(padding), inputs["attention_mask"]], dim=1)
    inputs["input_ids"][0] = inputs["input_ids"][0].roll(-3)  # the first row is padded behind nothing
    inputs["attention_mask"][0] = 1
    output = model.generate_scene(**inputs, max_new_tokens=ROOM, draft_choices=draft_choices)
    assert_equal(output, token_by_token(model, inputs))


def test_equal_with_a_sentencepiece_tokenizer_and_the_published_wording() -> None:
    image_processor = tiny.make_processor().image_processor
    processor = IGLLMProcessor(image_processor, make_llama_tokenizer(), num_image_tokens=16)
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(2))
    output = model.generate_scene(**inputs, max_new_tokens=300)
    assert_equal(output, token_by_token(model, inputs, room=300))
    predictions = processor.decode_scene(output.sequences, output.numbers)
    assert all(prediction.error is None for prediction in predictions)
    assert any(prediction.scene for prediction in predictions)


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the bundled checkpoint is not there")
def test_equal_on_trained_weights() -> None:
    model = IGLLMForSceneProgram.from_pretrained(CHECKPOINT).eval()
    processor = IGLLMProcessor.from_pretrained(CHECKPOINT)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=10))
    # Pictures, not noise: numbers that are fed back carry rounding on, most where the model hardly knows.
    picture = Image.open(PICTURE).convert("RGB")
    inputs = processor.encode_prompt([picture, ImageOps.mirror(picture)])
    # One look at each picture, as transformers' loop has.
    output, expected = model.generate_scene(**inputs, view_shift=0), token_by_token(model, inputs, room=1024)
    assert torch.equal(output.sequences, expected.sequences)
    # A tenth of the checkpoint's mean error of place, in metres.
    torch.testing.assert_close(output.numbers.nan_to_num(), expected.numbers.nan_to_num(), rtol=0, atol=0.02)


def choices(output: SceneDecodeOutput, row: int = 0) -> int:
    assert output.word_probabilities is not None
    return sum(len(found) for found in output.word_probabilities[row])


def test_at_most_five_passes_for_each_clevr_object() -> None:
    processor = tiny.make_processor()
    for seed in range(4):
        model = make_grammatical(processor, seed)
        output = model.generate_scene(**processor.encode_prompt(tiny.make_images(1)), draft_choices=0)
        objects = len(output.word_probabilities[0])
        assert choices(output) == 5 * objects  # the object itself and four words
        assert output.num_passes <= 5 * objects + 1  # one over the prompt
        drafted = model.generate_scene(**processor.encode_prompt(tiny.make_images(1)))
        assert objects == 0 or drafted.num_passes < output.num_passes


def test_one_more_object_takes_no_pass_of_its_own_whatever_the_batch() -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(16))
    output = model.generate_scene(**inputs)
    objects = max(len(words) for words in output.word_probabilities)
    assert objects > 1
    # Four words, and one pass for the prompt and one for the last numbers.
    assert output.num_passes <= 4 * objects + 2
    assert model.generate_scene(**inputs, draft_choices=0).num_passes > 4 * objects + 2


def test_word_probabilities_are_those_of_the_masked_softmax() -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(1))
    expected = token_by_token(model, inputs, output_scores=True)
    output = model.generate_scene(**inputs, max_new_tokens=ROOM)
    scores = torch.stack(expected.scores, dim=1)[0].softmax(-1)
    answer = expected.sequences[0, inputs["input_ids"].shape[1] :]
    chosen = scores[torch.arange(len(answer)), answer]
    found = [value for words in output.word_probabilities[0] for value in words.values()]
    uncertain = chosen[chosen < 1 - 1e-6][: len(found)]  # all the others are forced
    torch.testing.assert_close(torch.tensor(found)[: len(uncertain)], uncertain, rtol=1e-4, atol=1e-5)
    assert list(output.word_probabilities[0][0]) == ["object", "size", "color", "material", "shape"]


def test_limits_are_said_and_the_program_still_parses() -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(4))
    free = model.generate_scene(**inputs, max_new_tokens=ROOM)
    counts = [len(words) for words in free.word_probabilities]
    assert max(counts) > 1
    for room in (1, 20, 40, 60):
        output = model.generate_scene(**inputs, max_new_tokens=room)
        predictions = processor.decode_scene(output.sequences, output.numbers)
        for prediction, truncated, count in zip(predictions, output.truncated.tolist(), counts, strict=True):
            assert prediction.error is None
            assert len(prediction.scene) < 6  # tokens are the only limit here
            assert truncated == (len(prediction.scene) < count)
    assert output.sequences.shape[1] <= inputs["input_ids"].shape[1] + 60


@pytest.mark.parametrize("number_head", ["tanh_mlp_gelu", "none"])
def test_every_sample_of_random_weights_parses(number_head: str) -> None:
    processor = tiny.make_processor(numbers="char" if number_head == "none" else "token")
    generator = torch.Generator().manual_seed(0)
    programs = set()
    for seed in range(8):
        model = make_grammatical(processor, seed, number_head=number_head)
        inputs = processor.encode_prompt(tiny.make_images(4))
        output = model.generate_scene(**inputs, do_sample=True, temperature=2.0, generator=generator)
        for prediction in processor.decode_scene(output.sequences, output.numbers):
            assert prediction.error is None, prediction.text
            programs.add(prediction.program)
    assert len(programs) > 10


def test_sampling_does_not_depend_on_drafts() -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor, seed=1)
    inputs = processor.encode_prompt(tiny.make_images(1))

    def sample(draft_choices: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return model.generate_scene(
            **inputs, do_sample=True, generator=generator, draft_choices=draft_choices
        ).sequences

    assert torch.equal(sample(0), sample(7))
    assert not torch.equal(sample(0), model.generate_scene(**inputs).sequences)


def test_damaged_weights_are_no_program() -> None:
    processor = tiny.make_processor()
    for name, message in (("lm_head", "logits are not finite"), ("numeric_head", "numbers are not finite")):
        model = make_grammatical(processor)
        for parameter in model.get_submodule(name).parameters():
            parameter.data.fill_(torch.nan)
        if name == "numeric_head":
            model.lm_head.weight.data.zero_()  # an object in every other program
        with pytest.raises(ValueError, match=message):
            for seed in range(20):
                generator = torch.Generator().manual_seed(seed)
                model.generate_scene(
                    **processor.encode_prompt(tiny.make_images(1)), do_sample=True, generator=generator
                )


def test_a_model_without_grammar_says_what_to_do(processor: IGLLMProcessor, model: IGLLMForSceneProgram) -> None:
    with pytest.raises(ValueError, match="set_grammar"):
        model.generate_scene(**processor.encode_prompt(tiny.make_images(1)))


def test_a_word_that_begins_another_has_a_probability_of_its_own() -> None:
    processor = tiny.make_processor()
    rotation = Rotation((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "6d")
    scene = SceneProgram(tuple(PosedObject("red", shape, (0.0, 0.0, 0.0), rotation) for shape in ("mug", "mug_1")))
    model = tiny.make_model(processor, seed=1)
    model.set_grammar(processor.make_grammar([scene]))
    model.lm_head.weight.data.zero_()  # every choice is between equals
    seen = set()
    for seed in range(8):
        output = model.generate_scene(
            **processor.encode_prompt(tiny.make_images(1)),
            do_sample=True,
            generator=torch.Generator().manual_seed(seed),
        )
        for words in output.word_probabilities[0]:
            assert words == pytest.approx({"object": 0.5, "color": 1 / len(COLORS), "shape": 0.5})
        (prediction,) = processor.decode_scene(output.sequences, output.numbers)
        seen |= {item.shape for item in prediction.scene}
    assert seen == {"mug", "mug_1"}


def test_a_word_without_an_alternative_is_certain() -> None:
    processor = tiny.make_processor()
    rotation = Rotation((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "6d")
    model = tiny.make_model(processor, seed=1)
    model.set_grammar(
        processor.make_grammar([SceneProgram((PosedObject("red", "mug", (0.0, 0.0, 0.0), rotation),))], max_objects=4)
    )
    model.lm_head.weight.data.zero_()
    generator = torch.Generator().manual_seed(0)
    inputs = processor.encode_prompt(tiny.make_images(4))
    output = model.generate_scene(**inputs, do_sample=True, generator=generator)
    found = [words for row in output.word_probabilities for words in row]
    assert found == len(found) * [{"object": 0.5, "color": 1 / len(COLORS), "shape": 1.0}] != []


@pytest.mark.parametrize("fields", [{}, {"number_head": "gaussian"}, {"feed_numbers_back": True}])
def test_offloaded_weights_give_the_same(processor: IGLLMProcessor, fields: dict) -> None:
    model, inputs = make_grammatical(processor, seed=1, **fields), processor.encode_prompt(tiny.make_images(1))
    expected = model.generate_scene(**inputs)
    cpu_offload(model, execution_device=torch.device("cpu"))
    assert model.lm_head.weight.is_meta
    output = model.generate_scene(**inputs)
    assert torch.equal(output.sequences, expected.sequences)
    torch.testing.assert_close(output.numbers, expected.numbers, equal_nan=True)


def test_a_grammar_beyond_the_vocabulary_is_refused_and_changes_nothing(processor: IGLLMProcessor) -> None:
    model, grammar = tiny.make_model(processor), processor.make_grammar([tiny.LONG_SCENE])
    for part, value in (("suffix", (9999,)), ("prefix", (9999,)), ("forms", ((FixedSlot("add(", (3, 9999)),),))):
        with pytest.raises(ValueError, match=f"token 9999, the model's vocabulary {len(processor.tokenizer)}"):
            model.set_grammar(dataclasses.replace(grammar, **{part: value}))
    assert model.config.grammar is None


def test_no_prompt_at_all_is_refused(processor: IGLLMProcessor) -> None:
    with pytest.raises(ValueError, match=r"needs prompts, .* \(0, 17\)"):
        make_grammatical(processor).generate_scene(**processor.encode_prompt([]))


def test_checkpointing_in_training_would_lose_the_cache_and_is_refused(processor: IGLLMProcessor) -> None:
    model, inputs = make_grammatical(processor, seed=1), processor.encode_prompt(tiny.make_images(1))
    model.model.vision_tower.requires_grad_(False)  # it keeps its batch statistics in training
    expected = model.generate_scene(**inputs).sequences
    model.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match=r"gradient checkpointing .* model\.eval\(\)"):
        model.train().generate_scene(**inputs)
    assert torch.equal(model.eval().generate_scene(**inputs).sequences, expected)


def test_a_grammar_of_another_kind_of_numbers_is_refused(processor: IGLLMProcessor) -> None:
    grammar = tiny.make_processor(numbers="char").make_grammar([tiny.LONG_SCENE])
    with pytest.raises(ValueError, match="num_token_id=None does not fit"):
        tiny.make_model(processor).set_grammar(grammar)


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"temperature": float("nan")}])
def test_bad_temperature_is_quoted(bad: dict) -> None:
    processor = tiny.make_processor()
    with pytest.raises(ValueError, match=str(bad["temperature"])):
        make_grammatical(processor).generate_scene(
            **processor.encode_prompt(tiny.make_images(1)), do_sample=True, **bad
        )


def test_images_are_given_once() -> None:
    processor = tiny.make_processor()
    model = make_grammatical(processor)
    inputs = processor.encode_prompt(tiny.make_images(1))
    features = model.encode_images(inputs["pixel_values"])
    with pytest.raises(ValueError, match="one of pixel_values and image_features"):
        model.generate_scene(**inputs, image_features=features)
    without_images = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    cached = model.generate_scene(**without_images, image_features=features)
    assert torch.equal(cached.sequences, model.generate_scene(**inputs).sequences)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with a grammar."""
    processor = tiny.make_processor()
    make_grammatical(processor, seed=1).save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_both_ways_of_loading_generate_programs(folder: Path, tmp_path: Path) -> None:
    model = IGLLMForSceneProgram.from_pretrained(folder).eval()
    processor = IGLLMProcessor.from_pretrained(folder)
    inputs = processor.encode_prompt(tiny.make_images(1))
    free = model.generate(**inputs, max_new_tokens=40)  # of the package: transformers' own
    assert processor.decode_scene(free.sequences, free.numbers)[0].error is not None
    torch.save(dict(inputs), tmp_path / "inputs.pt")
    script = (
        "import sys, torch; sys.path[:] = [p for p in sys.path if p]\n"
        "from transformers import AutoModelForImageTextToText\n"
        "folder, inputs, resaved = sys.argv[1:]\n"
        "inputs = torch.load(inputs, weights_only=True)\n"
        "model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True).eval()\n"
        "output = model.generate(**inputs, max_new_tokens=200)\n"
        "assert torch.equal(output.sequences, model.generate_scene(**inputs, max_new_tokens=200).sequences)\n"
        "positional = model.generate(inputs['input_ids'], pixel_values=inputs['pixel_values'], max_new_tokens=200)\n"
        "assert torch.equal(positional.sequences, output.sequences)\n"
        "beams = model.generate(**inputs, max_new_tokens=200, num_beams=3)\n"
        "stock = type(model).generate(model, **inputs, max_new_tokens=200)\n"
        "assert not torch.equal(stock.sequences, output.sequences)\n"
        "model.save_pretrained(resaved)\n"
        "torch.save([[o.sequences, o.numbers] for o in (output, beams)], inputs_out)\n"
    ).replace("inputs_out", "sys.argv[3] + '.pt'")
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "inputs.pt"), str(tmp_path / "resaved")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for sequences, numbers in torch.load(tmp_path / "resaved.pt", weights_only=True):
        assert processor.decode_scene(sequences, numbers)[0].error is None
    assert (tmp_path / "resaved" / CUSTOM_GENERATE_FILE).read_text() == (folder / CUSTOM_GENERATE_FILE).read_text()


def test_a_grammar_of_the_checkpoints_own_code_is_taken(folder: Path) -> None:
    model, processor = IGLLMForSceneProgram.from_pretrained(folder), IGLLMProcessor.from_pretrained(folder)
    inputs = processor.encode_prompt(tiny.make_images(1))
    expected = model.generate_scene(**inputs).sequences
    foreign: Any = get_class_from_dynamic_module("scene_grammar.SceneGrammar", folder)
    assert foreign is not SceneGrammar
    model.set_grammar(foreign.from_dict(model.config.grammar))
    assert torch.equal(model.generate_scene(**inputs).sequences, expected)


def test_a_fine_tune_keeps_its_grammar_and_its_generate(folder: Path, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)
    model.save_pretrained(tmp_path / "tuned")
    assert (tmp_path / "tuned" / CUSTOM_GENERATE_FILE).is_file()
    assert IGLLMForSceneProgram.from_pretrained(tmp_path / "tuned").config.grammar == model.config.grammar


def test_a_checkpoint_without_grammar_gets_no_custom_generate(model: IGLLMForSceneProgram, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert not (tmp_path / CUSTOM_GENERATE_FILE).exists()


def test_a_model_without_grammar_takes_away_what_one_with_a_grammar_left(
    model: IGLLMForSceneProgram, folder: Path
) -> None:
    model.save_pretrained(folder)
    assert not (folder / CUSTOM_GENERATE_FILE).exists()
    (folder / CUSTOM_GENERATE_FILE).write_text("# of somebody else")
    model.save_pretrained(folder)
    assert (folder / CUSTOM_GENERATE_FILE).read_text() == "# of somebody else"
