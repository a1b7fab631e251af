"""Every way of `generate`: it runs, returns what it should, and reads the numbers; or it says why it cannot."""

import copy
from typing import Any

import pytest
import tiny
import torch
from common_cases import CASES, WITH_HEAD, every_case, make_grammatical, make_model, processor_of, prompts, rows_of
from transformers import LogitsProcessorList, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from modeling_igllm import IGLLMForSceneProgram
from modeling_igllm.grammar_generation import GrammarLogitsProcessor

ROOM = 70
# Fed back, a number of one beam would have to move with it.
BEAM_CASES = tuple(name for name in WITH_HEAD if name != "scene_fed_back")
SAME_AS_GREEDY: dict[str, dict[str, Any]] = {
    "without_cache": {"use_cache": False},
    "static_cache": {"cache_implementation": "static"},
    "dynamic_cache": {"cache_implementation": "dynamic"},
    "prompt_in_chunks": {"prefill_chunk_size": 7},
    "all_logits": {"logits_to_keep": 0},
    "coldest_sample": {"do_sample": True, "top_k": 1},
}
# Of one image: the arguments, and how many programs they give.
OTHER_MODES: dict[str, tuple[dict[str, Any], int]] = {
    "sample": ({"do_sample": True, "top_k": 5, "top_p": 0.9, "temperature": 1.5}, 1),
    "several_samples": ({"do_sample": True, "num_return_sequences": 3}, 3),
    "beams": ({"num_beams": 3}, 1),
    "several_beams": ({"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.5}, 2),
    "sampled_beams": ({"num_beams": 2, "num_return_sequences": 2, "do_sample": True}, 2),
    "beams_with_static_cache": ({"num_beams": 2, "cache_implementation": "static"}, 1),
    "beams_without_cache": ({"num_beams": 2, "use_cache": False}, 1),
    "no_repetition": ({"repetition_penalty": 1.3}, 1),
}


def generate(model: IGLLMForSceneProgram, inputs: dict[str, torch.Tensor], room: int = ROOM, **kwargs: Any) -> Any:
    """Programs of the model's grammar, from transformers' own loops."""
    start = inputs["input_ids"].shape[1]
    processors = LogitsProcessorList([GrammarLogitsProcessor(model.grammar_automaton, start, room)])
    return model.generate(**inputs, logits_processor=processors, max_new_tokens=room, **{"do_sample": False} | kwargs)


def assert_numbers_are_of_one_pass(model: Any, name: str, output: Any, prompt: dict[str, torch.Tensor]) -> None:
    """Compare with a second forward pass over the finished programs; there must be some."""
    copies = len(output.sequences) // len(prompt["input_ids"])
    length = prompt["input_ids"].shape[1]
    quantities = model._number_quantities(output.sequences, length)
    read = model.read_numbers(
        output.sequences,
        number_quantities=quantities,
        pixel_values=prompt["pixel_values"].repeat_interleave(copies, dim=0),
        number_inputs=normalised(output.numbers, quantities) if name == "scene_fed_back" else None,
    )
    assert read.isfinite().any()
    torch.testing.assert_close(output.numbers, read, atol=1e-4, rtol=1e-4, equal_nan=True)


def normalised(numbers: torch.Tensor, quantities: torch.Tensor) -> torch.Tensor:
    """By hand: [low, high] of each quantity -> [-1, 1]."""
    ends = torch.tensor([*tiny.NUMBER_RANGES.values(), [torch.nan, torch.nan]])[quantities]
    return 2 * (numbers - ends[..., 0]) / (ends[..., 1] - ends[..., 0]) - 1


def assert_programs(name: str, output: Any, count: int) -> None:
    """Every row is a program with a value at each number token and nowhere else."""
    assert len(output.sequences) == count
    processor = processor_of(name)
    numbers = output.get("numbers")
    for prediction in processor.decode_scene(output.sequences, numbers):
        assert prediction.error is None
    if name in WITH_HEAD:
        assert torch.equal(numbers.isfinite(), output.sequences == processor.num_token_id)


def sees_something(model: IGLLMForSceneProgram, name: str) -> bool:
    """Whether the model writes an object for each of three images."""
    output = model.generate_scene(**prompts(name, count=3), max_new_tokens=ROOM)
    return all(output.word_probabilities)


@pytest.fixture(scope="module")
def models() -> dict[str, IGLLMForSceneProgram]:
    """Of each case the first random model that does not leave its programs empty."""
    found = {}
    for name in CASES:
        candidates = (make_grammatical(name, seed) for seed in range(100))
        found[name] = next(model for model in candidates if sees_something(model, name))
    return found


@pytest.mark.parametrize("mode", list(SAME_AS_GREEDY))
@every_case
def test_what_is_greedy_search_too_gives_the_same(models: dict, name: str, mode: str) -> None:
    model, inputs = models[name], prompts(name)
    expected = model.generate_scene(**inputs, max_new_tokens=ROOM)
    output = generate(model, inputs, **SAME_AS_GREEDY[mode])
    assert_programs(name, output, 2)
    assert torch.equal(output.sequences, expected.sequences)
    if name in WITH_HEAD:
        assert output.numbers.isfinite().any()
        torch.testing.assert_close(output.numbers, expected.numbers, atol=1e-4, rtol=1e-4, equal_nan=True)


@pytest.mark.parametrize("mode", list(OTHER_MODES))
@pytest.mark.parametrize("name", BEAM_CASES)
def test_every_other_mode_gives_programs_with_their_numbers(models: dict, name: str, mode: str) -> None:
    torch.manual_seed(0)
    arguments, count = OTHER_MODES[mode]
    inputs = prompts(name)
    output = generate(models[name], inputs, **arguments, min_new_tokens=2)  # no empty program
    assert_programs(name, output, 2 * count)
    assert_numbers_are_of_one_pass(models[name], name, output, inputs)


def test_samples_of_numbers_that_are_fed_back_are_those_of_one_pass(models: dict) -> None:
    torch.manual_seed(0)
    inputs = prompts("scene_fed_back")
    output = generate(models["scene_fed_back"], inputs, do_sample=True, num_return_sequences=2)
    assert_programs("scene_fed_back", output, 4)
    assert_numbers_are_of_one_pass(models["scene_fed_back"], "scene_fed_back", output, inputs)


@every_case
def test_a_row_does_not_depend_on_its_batch(models: dict, name: str) -> None:
    model, inputs = models[name], prompts(name, count=3)
    together = generate(model, inputs)
    for row in range(3):
        alone = generate(model, rows_of(inputs, slice(row, row + 1)))
        length = alone.sequences.shape[1]
        assert torch.equal(together.sequences[row : row + 1, :length], alone.sequences)
        assert (together.sequences[row, length:] == model.config.text_config.pad_token_id).all()


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("name", ["scene_llama", "siglip_qwen3"])
def test_scores_states_and_attentions_are_returned_on_request(models: dict, name: str, beams: int) -> None:
    model, inputs = copy.deepcopy(models[name]), prompts(name)
    model.set_attn_implementation("eager")
    wanted = ("output_scores", "output_logits", "output_hidden_states", "output_attentions")
    arguments = {"min_new_tokens": 2, **dict.fromkeys(wanted, True)}
    if beams > 1:
        arguments |= {"num_beams": beams, "length_penalty": 0.0}
    output = generate(model, inputs, room=30, **arguments)
    text, start = model.config.text_config, inputs["input_ids"].shape[1]
    steps = output.sequences.shape[1] - start
    assert steps > 1
    # Beam search may run a step whose tokens no winner has.
    for found in (output.scores, output.logits, output.hidden_states, output.attentions):
        assert steps <= len(found) <= 30
    assert output.scores[0].shape == output.logits[0].shape == (2 * beams, text.vocab_size)
    for step in (0, 1):
        fed = start if step == 0 else 1
        assert len(output.hidden_states[step]) == text.num_hidden_layers + 1
        assert output.hidden_states[step][-1].shape == (2 * beams, fed, text.hidden_size)
        assert len(output.attentions[step]) == text.num_hidden_layers
        assert output.attentions[step][0].shape == (2 * beams, text.num_attention_heads, fed, start + step)
    if beams > 1:
        assert output.sequences_scores.shape == (2,)
        scores = model.compute_transition_scores(output.sequences, output.scores, output.beam_indices)
        torch.testing.assert_close(scores.sum(-1), output.sequences_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", [{}, {"num_beams": 2}])
@every_case
def test_token_ids_alone_are_those_of_the_output(models: dict, name: str, mode: dict[str, Any]) -> None:
    if mode and name == "scene_fed_back":
        pytest.skip("beams cannot feed numbers back")
    model, inputs = models[name], prompts(name)
    tokens = generate(model, inputs, return_dict_in_generate=False, **mode)
    assert isinstance(tokens, torch.Tensor)
    assert torch.equal(tokens, generate(model, inputs, **mode).sequences)


@every_case
def test_a_generation_goes_on_from_its_cache(models: dict, name: str) -> None:
    if name == "scene_fed_back":
        pytest.skip("the values of a prompt's numbers are not known to generate")
    model, inputs = make_model(name), prompts(name)
    if model.config.number_ranges is not None:
        model = models[name]
    stop = {"eos_token_id": None, "do_sample": False}
    whole = model.generate(**inputs, max_new_tokens=8, **stop)
    first = model.generate(**inputs, max_new_tokens=5, **stop)
    going_on = {
        "input_ids": first.sequences,
        "attention_mask": torch.ones_like(first.sequences),
        "past_key_values": first.past_key_values,
    }
    second = model.generate(**going_on, max_new_tokens=3, **stop)
    assert torch.equal(second.sequences, whole.sequences)


@every_case
def test_prompts_may_come_as_embeddings(models: dict, name: str) -> None:
    model, inputs = models[name], prompts(name)
    expected = generate(model, inputs)
    ids = inputs.pop("input_ids")
    processors = LogitsProcessorList([GrammarLogitsProcessor(model.grammar_automaton, 0, ROOM)])
    embeds = model.get_input_embeddings()(ids)
    output = model.generate(
        inputs_embeds=embeds, **inputs, logits_processor=processors, max_new_tokens=ROOM, do_sample=False
    )
    assert torch.equal(output.sequences, expected.sequences[:, ids.shape[1] :])
    if name in WITH_HEAD:
        torch.testing.assert_close(
            output.numbers, expected.numbers[:, ids.shape[1] :], atol=1e-4, rtol=1e-4, equal_nan=True
        )


@pytest.mark.parametrize("beams", [1, 2])
def test_text_alone_can_be_continued(beams: int) -> None:
    model = make_model("scene_llama")
    number = model.config.num_token_id
    always = LogitsProcessorList([lambda ids, scores: scores.index_fill(1, torch.tensor([number]), 1e4)])
    ids = torch.tensor([[1, 40, 41], [1, 42, 43]])
    output = model.generate(input_ids=ids, max_new_tokens=4, num_beams=beams, logits_processor=always)
    expected = model.read_numbers(output.sequences)
    assert torch.equal(output.sequences[:, 3:], torch.full((2, 4), number))
    torch.testing.assert_close(output.numbers, expected, atol=1e-5, rtol=0, equal_nan=True)


class Recorder(BaseStreamer):
    """Keeps what is streamed."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.is_finished = False

    def put(self, value: torch.Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.is_finished = True


def test_tokens_are_streamed_as_they_come(models: dict) -> None:
    inputs, streamer = prompts("scene_llama", count=1), Recorder()
    output = generate(models["scene_llama"], inputs, streamer=streamer)
    assert streamer.tokens == output.sequences[0].tolist()
    assert streamer.is_finished


def test_generation_stops_where_it_is_told(models: dict) -> None:
    model, inputs = models["scene_llama"], prompts("scene_llama")
    length = inputs["input_ids"].shape[1] + 9
    stop = StoppingCriteriaList([lambda ids, scores: torch.full((len(ids),), ids.shape[1] >= length)])
    output = generate(model, inputs, stopping_criteria=stop)
    assert output.sequences.shape[1] == length
    assert torch.equal(output.sequences, generate(model, inputs).sequences[:, :length])


def test_allowed_tokens_can_be_given_as_a_function() -> None:
    model, inputs = make_model("scene_llama"), prompts("scene_llama")
    number = model.config.num_token_id
    allowed = {0: [number], 1: [40, 41]}
    output = model.generate(
        **inputs, prefix_allowed_tokens_fn=lambda row, _: allowed[row], max_new_tokens=4, do_sample=False
    )
    answers = output.sequences[:, inputs["input_ids"].shape[1] :]
    assert (answers[0] == number).all()
    assert torch.isin(answers[1], torch.tensor([40, 41])).all()
    assert output.numbers.isfinite().sum(-1).tolist() == [4, 0]


@pytest.mark.parametrize("assistance", ["assistant_model", "prompt_lookup_num_tokens"])
def test_assisted_decoding_would_lose_the_numbers_and_is_refused(models: dict, assistance: str) -> None:
    model = models["scene_llama"]
    help_from = {"assistant_model": model, "prompt_lookup_num_tokens": 3}[assistance]
    with pytest.raises(ValueError, match=f"{assistance}.*generate_scene"):
        model.generate(**prompts("scene_llama", count=1), max_new_tokens=4, **{assistance: help_from})


def test_digits_can_be_decoded_with_an_assistant(models: dict) -> None:
    model, inputs = make_model("scene_digits"), prompts("scene_digits", count=1)
    expected = model.generate(**inputs, max_new_tokens=10, do_sample=False)
    output = model.generate(**inputs, max_new_tokens=10, do_sample=False, assistant_model=model)
    assert torch.equal(output.sequences, expected.sequences)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive-search"),
        ({"dola_layers": "low"}, "dola"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "group-beam-search"),
    ],
)
def test_modes_that_left_transformers_are_refused(models: dict, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        models["scene_llama"].generate(**prompts("scene_llama"), max_new_tokens=4, **arguments)


def test_beams_over_embeddings_are_refused(models: dict) -> None:
    model, inputs = models["scene_llama"], prompts("scene_llama")
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    with pytest.raises(ValueError, match="num_beams=2.*pass input_ids"):
        model.generate(inputs_embeds=embeds, **inputs, num_beams=2, max_new_tokens=4)


@pytest.mark.parametrize("bad", [{"max_new_tokens": 0}, {"num_return_sequences": 2}, {"colour": 1}])
def test_bad_arguments_are_refused(models: dict, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        models["scene_llama"].generate(**prompts("scene_llama"), **{"max_new_tokens": 4, "do_sample": False} | bad)
