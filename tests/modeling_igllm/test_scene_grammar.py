"""The grammar accepts what training writes, and nothing that does not parse."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import tiny
from transformers import PreTrainedTokenizerBase

from benchmarks.llama_tokenizer import RARE_TOKEN, make_llama_tokenizer
from dataset_builders.families import FAMILIES
from modeling_igllm import REPRESENTATION_SIZES, IGLLMProcessor, Point2D, SceneProgram, parse_program
from modeling_igllm.grammar_automaton import GrammarAutomaton, ProgramCursor
from modeling_igllm.scene_grammar import SceneGrammar
from modeling_igllm.terminals import decode_terminals
from trl_scripts.tiny_tokenizer import build_tiny_tokenizer

UNLIMITED = 100_000
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "tiny": build_tiny_tokenizer,
    "llama": make_llama_tokenizer,
}


def family_scenes(family: str, count: int = 3) -> list[SceneProgram]:
    """Scenes as the dataset builders write them."""
    sample = FAMILIES[family].sample
    return [SceneProgram(sample(family, "train", 0, index).objects) for index in range(count)]


def make_processor(tokenizer: str, **fields: object) -> IGLLMProcessor:
    processor = tiny.make_processor()
    wording = {"num_image_tokens": 16, "prompt": "<image>\nWhat is it?"}
    return IGLLMProcessor(processor.image_processor, TOKENIZERS[tokenizer](), **wording | fields)


def read(automaton: GrammarAutomaton, tokens: list[int]) -> ProgramCursor:
    cursor = ProgramCursor.begin(automaton, UNLIMITED)
    for token in tokens:
        cursor = cursor.advance(token)
    return cursor


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("numbers", ["token", "char", "text"])
@pytest.mark.parametrize("family", ["clevr", "two_d", "so3"])
@pytest.mark.parametrize("wording", [{}, {"answer_prefix": "", "answer_suffix": ""}], ids=["published", "bare"])
def test_training_answers_are_in_the_grammar(family: str, numbers: str, tokenizer: str, wording: dict) -> None:
    processor = make_processor(tokenizer, numbers=numbers, **wording)
    scenes = family_scenes(family)
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar(scenes))
    for scene in scenes:
        answer = processor.encode_answer(scene)
        cursor = read(automaton, answer.ids)
        assert cursor.state.is_end and cursor.num_objects == len(scene)
        if numbers == "token":
            assert automaton.quantities(answer.ids) == answer.quantities


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize(
    ("family", "numbers"), [("clevr", "token"), ("clevr", "char"), ("two_d", "text"), ("so3", "char")]
)
def test_random_walks_through_the_grammar_parse(family: str, numbers: str, tokenizer: str) -> None:
    processor = make_processor(tokenizer, numbers=numbers)
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar(family_scenes(family), max_objects=4))
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(50):
        cursor, tokens = ProgramCursor.begin(automaton, UNLIMITED), []
        while not cursor.state.is_end:
            tokens.append(int(rng.choice(list(cursor.state.transitions))))
            cursor = cursor.advance(tokens[-1])
        num_token_id = automaton.grammar.num_token_id
        text = "".join(
            "[NUM]" if token == num_token_id else decode_terminals([[token]], processor.tokenizer)
            for token in tokens[:-1]
        )
        values = None if num_token_id is None else [0.5] * tokens.count(num_token_id)
        scene = parse_program(text, numbers=values)
        assert len(scene) == cursor.num_objects <= 4
        lengths.add(len(scene))
    assert {0, 1, 4} <= lengths


def test_grammar_survives_json(processor: IGLLMProcessor) -> None:
    for numbers in ("token", "char"):
        grammar = tiny.make_processor(numbers=numbers).make_grammar([tiny.LONG_SCENE])
        assert SceneGrammar.from_dict(json.loads(json.dumps(grammar.to_dict()))) == grammar


@pytest.mark.parametrize(
    "damage", [{"forms": None}, {"forms": [[{"fixed": "add("}]]}, {"suffix": []}, {"max_objects": 0}]
)
def test_damaged_grammar_is_refused(processor: IGLLMProcessor, damage: dict) -> None:
    data = processor.make_grammar([tiny.LONG_SCENE]).to_dict()
    with pytest.raises(ValueError, match=r"grammar|max_objects"):
        SceneGrammar.from_dict(data | damage)


def test_scenes_without_a_cube_still_allow_cubes(processor: IGLLMProcessor) -> None:
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar([tiny.SHORT_SCENE]))
    assert read(automaton, processor.encode_answer(SceneProgram((tiny.CUBE,))).ids).state.is_end


def test_cubes_without_a_yaw_get_none(processor: IGLLMProcessor) -> None:
    without = dataclasses.replace(tiny.CUBE, rotation=None)
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar([SceneProgram((without, tiny.SPHERE))]))
    assert read(automaton, processor.encode_answer(SceneProgram((without, tiny.SPHERE))).ids).state.is_end
    with pytest.raises(KeyError):
        read(automaton, processor.encode_answer(SceneProgram((tiny.CUBE,))).ids)


def test_cubes_with_and_without_a_yaw_have_no_statement_in_common(processor: IGLLMProcessor) -> None:
    without = SceneProgram((dataclasses.replace(tiny.CUBE, rotation=None),))
    with pytest.raises(ValueError, match=r"1 of 3 cubes have no yaw .* give each of them one, or none"):
        processor.make_grammar([without, tiny.LONG_SCENE])


def test_scenes_without_objects_name_no_statement(processor: IGLLMProcessor) -> None:
    with pytest.raises(ValueError, match="without objects"):
        processor.make_grammar([SceneProgram(())])


def test_scenes_of_two_families_have_no_statement_in_common(processor: IGLLMProcessor) -> None:
    with pytest.raises(ValueError, match="a ClevrObject like the first object, got a Point2D"):
        processor.make_grammar([tiny.LONG_SCENE, SceneProgram((Point2D(0.5, 0.5),))])


def test_room_for_no_object_is_refused(processor: IGLLMProcessor) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        processor.make_grammar([tiny.LONG_SCENE], max_objects=0)


@pytest.mark.parametrize("rotation", REPRESENTATION_SIZES)
def test_rotations_have_as_many_numbers_as_their_representation(rotation: str) -> None:
    processor = make_processor("tiny", rotation=rotation)
    scenes = family_scenes("so3", 1)
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar(scenes))
    quantities = automaton.quantities(processor.encode_answer(scenes[0]).ids)
    assert quantities.count(3) == REPRESENTATION_SIZES[rotation]


def test_a_rare_token_can_stand_for_numbers() -> None:
    processor = make_processor("llama", num_token=RARE_TOKEN)
    answer = processor.encode_answer(tiny.LONG_SCENE)
    assert answer.ids.count(processor.num_token_id) == len(answer.values) == 11
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    assert automaton.grammar.num_token_id == processor.num_token_id != 32002
    assert automaton.quantities(answer.ids) == answer.quantities


def test_a_tokenizer_that_cannot_write_the_words_is_refused() -> None:
    processor = tiny.make_processor()
    tokenizer = processor.tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for letter in "xyz":  # of `cylinder` and `gray`: bytes that this tokenizer does not know
        del state["model"]["vocab"][letter]
    del state["model"]["vocab"]["gray"], state["model"]["vocab"]["cylinder"]
    state["model"]["unk_token"] = "<pad>"
    tokenizer._tokenizer = tokenizer.backend_tokenizer.from_str(json.dumps(state))
    with pytest.raises(ValueError, match=r"cannot write|no token"):
        processor.make_grammar([tiny.LONG_SCENE])


def test_limits_close_the_program(processor: IGLLMProcessor) -> None:
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar([tiny.LONG_SCENE], max_objects=2))
    one = processor.encode_answer(SceneProgram((tiny.CUBE,))).ids
    assert automaton.statement_length == len(one) - 1 and automaton.closing_length == 1
    by_objects = read(automaton, processor.encode_answer(SceneProgram((tiny.CUBE, tiny.CUBE))).ids[:-1])
    assert by_objects.is_limited and list(by_objects.state.transitions) == [one[-1]]
    for room, is_limited in ((2 * len(one) - 2, True), (2 * len(one) - 1, False)):
        cursor = ProgramCursor.begin(automaton, room)
        for token in one[:-1]:
            cursor = cursor.advance(token)
        assert cursor.is_limited == is_limited
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        ProgramCursor.begin(automaton, 0)


def test_a_token_outside_of_the_grammar_cannot_be_written(processor: IGLLMProcessor) -> None:
    automaton = GrammarAutomaton.from_grammar(processor.make_grammar([tiny.LONG_SCENE]))
    with pytest.raises(KeyError):
        ProgramCursor.begin(automaton, UNLIMITED).advance(processor.num_token_id)
    answer = processor.encode_answer(tiny.SHORT_SCENE)
    assert automaton.quantities([answer.ids[0], 5, *answer.ids[2:]]) == [-1] * len(answer.ids)
