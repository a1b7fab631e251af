"""Cutting a program in terminals and tokenising each alone (SCENE_PROGRAM, "Tokens")."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_scenes import CLEVR_TEXT, CUBE, POINT, POSED, SPHERE, representation_of, scenes
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from modeling_igllm import (
    NUM_TOKEN,
    SceneProgram,
    Terminal,
    decode_terminals,
    encode_terminals,
    format_program,
    parse_program,
    program_terminals,
)
from modeling_igllm.terminals import encode_terminal, number_token_id

CLEVR = SceneProgram((SPHERE, CUBE))


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without a regex split, trained on whole lines, so that it likes to merge across terminals."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator([CLEVR_TEXT, format_program(CLEVR, numbers="token")] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    tokenizer.add_tokens([AddedToken(NUM_TOKEN, special=False, normalized=False)])
    return tokenizer


def llama_like_tokenizer() -> PreTrainedTokenizerFast:
    """Characters with Llama's dummy prefix: a "▁" before every text that is tokenised."""
    characters = sorted(set(CLEVR_TEXT + "add(x=0, y=0)+_-0123456789abcdefghijklmnopqrstuvwxyz") - {" "} | {"▁"})
    vocabulary = {"<unk>": 0, **{character: index + 1 for index, character in enumerate(characters)}}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    tokenizer.add_tokens([AddedToken(NUM_TOKEN, special=False, normalized=False)])
    return tokenizer


TOKENIZERS = {"byte-level": byte_level_tokenizer(), "llama-like": llama_like_tokenizer()}
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())
styles = pytest.mark.parametrize("numbers", ["text", "char", "token"])


def test_a_clevr_line_is_cut_in_its_maximal_fixed_texts() -> None:
    terminals = program_terminals(CLEVR, numbers="token")
    assert [(terminal.kind, terminal.text) for terminal in terminals[:17]] == [
        ("fixed", "add(size='"),
        ("word", "small"),
        ("fixed", "', color='"),
        ("word", "red"),
        ("fixed", "', material='"),
        ("word", "metal"),
        ("fixed", "', shape='"),
        ("word", "sphere"),
        ("fixed", "', loc=("),
        ("number", "[NUM]"),
        ("fixed", ", "),
        ("number", "[NUM]"),
        ("fixed", ", "),
        ("number", "[NUM]"),
        ("fixed", "))\n"),
        ("fixed", "add(size='"),
        ("word", "large"),
    ]
    assert [terminal.text for terminal in terminals[-4:]] == ["[NUM]", "), rotation=", "[NUM]", ")\n"]


def test_two_d_and_posed_lines_are_cut_the_same_way() -> None:
    point = [terminal.text for terminal in program_terminals(SceneProgram((POINT,)))]
    assert point == ["add(x=", "0.123", ", y=", "0.456", ")\n"]
    posed = [terminal.text for terminal in program_terminals(SceneProgram((POSED,)), numbers="token")]
    head = ["add(color='", "blue", "', shape='", "car_1a", "', loc=("]
    numbers = ["[NUM]", ", ", "[NUM]", ", ", "[NUM]"]
    assert posed == [*head, *numbers, "), rotation=(", *numbers, ", ", *numbers, "))\n"]


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["text", "char", "token"]), st.booleans(), st.integers(0, 1000))
def test_joined_terminals_are_the_formatted_program(
    scene: SceneProgram, numbers: str, augmented: bool, seed: int
) -> None:
    texts = []
    for function in (program_terminals, format_program):
        rng = np.random.default_rng(seed)
        texts.append(
            function(scene, numbers=numbers, rng=rng, shuffle_attributes=augmented, sample_synonyms=augmented)
        )
    terminals, text = texts
    assert "".join(terminal.text for terminal in terminals) == text
    assert all((terminal.value is None) == (terminal.kind != "number") for terminal in terminals)
    for left, right in itertools.pairwise(terminals):
        assert left.kind == "fixed" or right.kind == "fixed"
        assert {left.kind, right.kind} != {"fixed"} or left.text.endswith("\n")


def test_number_terminals_carry_the_unrounded_value() -> None:
    scene = parse_program("add(x=[NUM], y=[NUM])", numbers=[0.12345678, -0.00001])
    for numbers, texts in [("text", ["0.123", "0.000"]), ("token", ["[NUM]", "[NUM]"])]:
        places = [t for t in program_terminals(scene, numbers=numbers) if t.kind == "number"]
        assert [terminal.text for terminal in places] == texts
        assert [terminal.value for terminal in places] == [0.12345678, -0.00001]


@tokenizers
@styles
def test_each_terminal_is_tokenised_alone(tokenizer: PreTrainedTokenizerFast, numbers: str) -> None:
    terminals = program_terminals(CLEVR, numbers=numbers)
    ids = encode_terminals(terminals, tokenizer).ids
    alone = [tokenizer(terminal.text, add_special_tokens=False)["input_ids"] for terminal in terminals]
    number_id = tokenizer.convert_tokens_to_ids(NUM_TOKEN)
    alone = [[number_id] if t.text == NUM_TOKEN else part for t, part in zip(terminals, alone, strict=True)]
    assert ids == [token_id for part in alone for token_id in part]


def test_nothing_is_merged_across_a_boundary() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    whole = tokenizer(CLEVR_TEXT, add_special_tokens=False)["input_ids"]
    ids = encode_terminals(program_terminals(CLEVR), tokenizer).ids
    assert len(ids) > len(whole)  # the tokenizer would merge, if it were let
    assert tokenizer.decode(ids) == tokenizer.decode(whole) == CLEVR_TEXT


@tokenizers
def test_values_and_number_tokens_go_in_pairs(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, values, _, _ = encode_terminals(program_terminals(CLEVR, numbers="token"), tokenizer)
    assert ids.count(number_token_id(tokenizer)) == len(values) == 7
    assert values == CLEVR.numbers
    for numbers in ("text", "char"):
        ids, values, _, _ = encode_terminals(program_terminals(CLEVR, numbers=numbers), tokenizer)
        assert number_token_id(tokenizer) not in ids and values == []


def test_shuffled_values_follow_the_text() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        terminals = program_terminals(CLEVR, numbers="token", rng=rng, shuffle_attributes=True)
        values = encode_terminals(terminals, TOKENIZERS["byte-level"]).values
        assert parse_program("".join(terminal.text for terminal in terminals), numbers=values) == CLEVR


@tokenizers
@styles
def test_decoded_terminals_join_to_the_program(tokenizer: PreTrainedTokenizerFast, numbers: str) -> None:
    terminals = program_terminals(CLEVR, numbers=numbers)
    pieces = [encode_terminal(terminal, tokenizer) for terminal in terminals]
    assert decode_terminals(pieces, tokenizer) == format_program(CLEVR, numbers=numbers)
    assert [token_id for piece in pieces for token_id in piece] == encode_terminals(terminals, tokenizer).ids


@settings(max_examples=20, deadline=None)
@given(scenes())
def test_any_scene_comes_back_from_its_tokens(scene: SceneProgram) -> None:
    tokenizer = TOKENIZERS["byte-level"]
    terminals = program_terminals(scene, numbers="token")
    values = encode_terminals(terminals, tokenizer).values
    text = decode_terminals([encode_terminal(terminal, tokenizer) for terminal in terminals], tokenizer)
    assert parse_program(text, rotation=representation_of(scene), numbers=values) == scene


def test_an_empty_program_has_no_tokens() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    assert program_terminals(SceneProgram(())) == []
    assert encode_terminals([], tokenizer) == ([], [], [], [])
    assert decode_terminals([], tokenizer) == ""


def test_a_tokenizer_without_the_number_token_is_refused() -> None:
    for unknown in ("<unk>", None):
        core = Tokenizer(models.WordLevel({"<unk>": 0, "add": 1}, unk_token=unknown))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token=unknown)
        with pytest.raises(ValueError, match=r"\[NUM\].*add_tokens"):
            number_token_id(tokenizer)
        with pytest.raises(ValueError, match=r"\[NUM\].*add_tokens"):
            encode_terminals([Terminal("number", NUM_TOKEN, 0.5)], tokenizer)


def test_a_terminal_without_tokens_is_refused() -> None:
    silent = Tokenizer(models.BPE())  # no vocabulary and no unknown token: every text is lost
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=silent)
    with pytest.raises(ValueError, match="'red'"):
        encode_terminal(Terminal("word", "red"), tokenizer)
