"""What `generate` is for a checkpoint with a grammar: limits and prompts in every form that `generate` takes."""

import pytest
import tiny
import torch
from transformers import BatchFeature, GenerationConfig, LogitsProcessorList

from modeling_igllm import GrammarLogitsProcessor, IGLLMForSceneProgram, IGLLMProcessor
from modeling_igllm.generation_igllm import SceneBeamOutput
from modeling_igllm.scene_decoding import SceneDecodeOutput

ROOM = 40


@pytest.fixture(scope="module")
def writer(processor: IGLLMProcessor) -> IGLLMForSceneProgram:
    """A random model whose programs are longer than `ROOM` tokens if nothing stops them."""
    model = tiny.make_model(processor, seed=1)
    model.set_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=6))
    return model


@pytest.fixture
def prompt(processor: IGLLMProcessor) -> BatchFeature:
    return processor.encode_prompt(tiny.make_images(1))


def program_of(processor: IGLLMProcessor, output: dict[str, torch.Tensor], prompt_length: int) -> str | None:
    """The program of the first row; None if it does not parse."""
    return processor.decode_scene(output["sequences"], output["numbers"], prompt_length)[0].program


def test_a_limit_in_a_generation_config_closes_the_program(processor, writer, prompt) -> None:
    length = prompt["input_ids"].shape[1]
    assert writer.generate_by_grammar(**prompt).sequences.shape[1] > length + ROOM
    limits = {"max_new_tokens": ROOM}, {"generation_config": GenerationConfig(max_new_tokens=ROOM, do_sample=False)}
    programs = set()
    for limit in limits:
        output = writer.generate_by_grammar(**prompt, **limit, use_cache=True)  # transformers' own loop
        assert output.sequences.shape[1] <= length + ROOM
        programs.add(program_of(processor, output, length))
    assert programs == {program_of(processor, writer.generate_scene(**prompt, max_new_tokens=ROOM), length)}
    assert None not in programs


def test_without_a_limit_the_models_own_one_counts(processor, writer, prompt) -> None:
    length, greedy = prompt["input_ids"].shape[1], GenerationConfig(do_sample=False)
    output = writer.generate_by_grammar(**prompt, generation_config=greedy)
    assert torch.equal(output.sequences, writer.generate_scene(**prompt).sequences)
    assert program_of(processor, output, length) is not None


def test_without_any_limit_the_published_one_counts(processor, writer, prompt, monkeypatch) -> None:
    expected = writer.generate_scene(**prompt).sequences
    monkeypatch.setattr(writer.generation_config, "max_new_tokens", None)
    assert torch.equal(writer.generate_scene(**prompt).sequences, expected)
    assert torch.equal(writer.generate_by_grammar(**prompt, use_cache=True).sequences, expected)


def test_the_models_own_generation_config_counts(processor, writer, prompt, monkeypatch) -> None:
    greedy = writer.generate_by_grammar(**prompt)
    assert isinstance(greedy, SceneDecodeOutput)
    assert isinstance(writer.generate_by_grammar(**prompt, num_beams=1), SceneDecodeOutput)
    with monkeypatch.context() as patch:
        patch.setattr(writer.generation_config, "num_beams", 3)
        beams = writer.generate_by_grammar(**prompt)
        assert isinstance(beams, SceneBeamOutput)
        assert torch.equal(writer.generate_by_grammar(**prompt, num_beams=1).sequences, greedy.sequences)
    assert program_of(processor, beams, prompt["input_ids"].shape[1]) is not None
    with monkeypatch.context() as patch:
        patch.setattr(writer.generation_config, "do_sample", True)
        torch.manual_seed(0)
        samples = {writer.generate_by_grammar(**prompt).sequences for _ in range(3)}
        assert not all(torch.equal(sample, greedy.sequences) for sample in samples)
        assert torch.equal(writer.generate_by_grammar(**prompt, do_sample=False).sequences, greedy.sequences)


def test_prompts_may_be_embeddings(processor, writer, prompt) -> None:
    expected = writer.generate_scene(**prompt, max_new_tokens=ROOM).sequences[:, prompt["input_ids"].shape[1] :]
    embeds = writer.get_input_embeddings()(prompt.pop("input_ids"))
    output = writer.generate_by_grammar(inputs_embeds=embeds, **prompt, max_new_tokens=ROOM)
    assert torch.equal(output.sequences, expected)


def test_a_logits_processor_can_be_used_again(writer, prompt) -> None:
    grammar = GrammarLogitsProcessor(writer.grammar_automaton, prompt["input_ids"].shape[1], ROOM)
    first, second = (
        writer.generate(**prompt, logits_processor=LogitsProcessorList([grammar]), max_new_tokens=ROOM).sequences
        for _ in range(2)
    )
    assert torch.equal(first, second)
