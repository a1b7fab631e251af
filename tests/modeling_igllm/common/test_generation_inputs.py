"""What goes into `generate` besides a prompt of tokens, what stops it, and what it refuses."""

from typing import Any

import pytest
import torch
from common_cases import CASES, ROOM, WITH_HEAD, every_case, generate, make_model, prompts
from transformers import LogitsProcessorList, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from modeling_igllm.grammar_generation import GrammarLogitsProcessor


# Not the one that feeds numbers back: `generate` does not know those of the first part.
@pytest.mark.parametrize("name", [name for name in CASES if name != "scene_fed_back"])
def test_a_generation_goes_on_from_its_cache(models: dict, name: str) -> None:
    model, inputs = models[name], prompts(name)
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
    output = model.generate(
        input_ids=ids, mm_encoder_outputs=None, max_new_tokens=4, num_beams=beams, logits_processor=always
    )
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
    with pytest.raises(ValueError, match=r"num_beams=2.*pass input_ids"):
        model.generate(inputs_embeds=embeds, **inputs, num_beams=2, max_new_tokens=4)


@pytest.mark.parametrize("bad", [{"max_new_tokens": 0}, {"num_return_sequences": 2}, {"colour": 1}])
def test_bad_arguments_are_refused(models: dict, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        models["scene_llama"].generate(**prompts("scene_llama"), **{"max_new_tokens": 4, "do_sample": False} | bad)
