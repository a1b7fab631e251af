"""A program as terminals, the units that are tokenised alone (SCENE_PROGRAM, "Tokens").

Training, scoring and decoding all cut programs with `program_terminals` and tokenise them with `encode_terminal(s)`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .scene_program import AttributeValue, ClevrObject, Point2D, SceneObject, SceneProgram
from .vocabulary import NO_QUANTITY, NUM_TOKEN, QUANTITIES, SPELLINGS

if TYPE_CHECKING:  # the language alone starts without transformers
    from transformers import PreTrainedTokenizerBase

NUMBER_STYLES = ("text", "char", "token")
"""How numbers are written: `{:.3f}`; `{:+.3f}` in 3D and `{:.3f}` in 2D; `[NUM]`."""


@dataclass(frozen=True)
class Terminal:
    """One unit of a program.

    Args:
        kind: `"fixed"` (all text between two words or numbers, cut after a line feed), `"word"` (without its
            quotes) or `"number"`.
        text: As written; the texts of all terminals joined are the program.
        value: The unrounded number of a `"number"`, else `None`.
        quantity: What a `"number"` is, one of `QUANTITIES`, else `None`.
        attribute: Whose value a `"word"` is, `"color"` say; `None` where nobody asks.
    """

    kind: str
    text: str
    value: float | None = None
    quantity: str | None = None
    attribute: str | None = None


def program_terminals(
    scene: SceneProgram,
    *,
    numbers: str = "text",
    rng: np.random.Generator | None = None,
    shuffle_attributes: bool = False,
    sample_synonyms: bool = False,
) -> list[Terminal]:
    """The terminals of `scene`.

    Args:
        scene: Objects in the order in which they are written.
        numbers: One of `NUMBER_STYLES`.
        rng: Source of the training augmentation; required by the two flags.
        shuffle_attributes: Writes the attributes of each object in a random order instead of the canonical one.
        sample_synonyms: Writes each word of a CLEVR object in a random one of its spellings.

    Raises:
        ValueError: For an unknown `numbers` style or a flag without `rng`.
    """
    if numbers not in NUMBER_STYLES:
        raise ValueError(f"numbers must be one of {', '.join(NUMBER_STYLES)}; got {numbers!r}")
    if rng is None and (shuffle_attributes or sample_synonyms):
        raise ValueError("shuffle_attributes and sample_synonyms need rng=np.random.default_rng(seed), got rng=None")
    terminals: list[Terminal] = []
    for scene_object in scene:
        attributes = list(scene_object.attributes().items())
        if rng is not None and shuffle_attributes:
            attributes = [attributes[index] for index in rng.permutation(len(attributes))]
        if rng is not None and sample_synonyms and isinstance(scene_object, ClevrObject):
            attributes = [(name, _sampled_spelling(name, value, rng)) for name, value in attributes]
        terminals += _merged(_statement(attributes, number_format(scene_object, numbers)))
    return terminals


def number_format(scene_object: SceneObject, numbers: str) -> str:
    """The format specification of a `numbers` style for this object, or `[NUM]` for `"token"`."""
    if numbers == "token":
        return NUM_TOKEN
    return "+.3f" if numbers == "char" and not isinstance(scene_object, Point2D) else ".3f"


def encode_terminal(terminal: Terminal, tokenizer: "PreTrainedTokenizerBase", num_token: str = NUM_TOKEN) -> list[int]:
    """Token ids of one terminal, tokenised alone and without special tokens; of `[NUM]` the one id of `num_token`.

    Raises:
        ValueError: If the tokenizer lacks `num_token` or gives no token for a text.
    """
    if terminal.kind == "number" and terminal.text == NUM_TOKEN:
        return [number_token_id(tokenizer, num_token)]
    ids = tokenizer(terminal.text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError(f"the tokenizer gives no token for {terminal.text!r}")
    return list(ids)


def number_token_id(tokenizer: "PreTrainedTokenizerBase", num_token: str = NUM_TOKEN) -> int:
    """Id of the number token; `ValueError` if it is not one token of this tokenizer's vocabulary.

    Args:
        tokenizer: The model's.
        num_token: `[NUM]`, or a rare token of a vocabulary that must not grow, re-used for numbers (as published).
    """
    token_id = tokenizer.convert_tokens_to_ids(num_token)
    if not isinstance(token_id, int) or token_id == tokenizer.unk_token_id:
        raise ValueError(f"the tokenizer has no token {num_token!r}: add it with tokenizer.add_tokens")
    return token_id


class EncodedTerminals(NamedTuple):
    """A program as token ids.

    Attributes:
        ids: Token ids, each terminal tokenised alone.
        values: Values of the `[NUM]` tokens in their order. Numbers written as digits add none, so that values and
            `[NUM]` ids always go in pairs.
        quantities: For each token its index in `QUANTITIES` if it belongs to a number, else `NO_QUANTITY`.
        attributes: For each token the attribute whose word it belongs to, else `None`.
    """

    ids: list[int]
    values: list[float]
    quantities: list[int]
    attributes: list[str | None]


def encode_terminals(
    terminals: Iterable[Terminal], tokenizer: "PreTrainedTokenizerBase", num_token: str = NUM_TOKEN
) -> EncodedTerminals:
    """Tokenise a program terminal by terminal; errors as in `encode_terminal`."""
    ids: list[int] = []
    values: list[float] = []
    quantities: list[int] = []
    attributes: list[str | None] = []
    encoded: dict[tuple[str, str], list[int]] = {}  # fixed texts and words repeat on every line
    for terminal in terminals:
        key = (terminal.kind, terminal.text)
        if key not in encoded:
            encoded[key] = encode_terminal(terminal, tokenizer, num_token)
        ids += encoded[key]
        quantity = NO_QUANTITY if terminal.quantity is None else QUANTITIES.index(terminal.quantity)
        quantities += len(encoded[key]) * [quantity]
        attributes += len(encoded[key]) * [terminal.attribute]
        if terminal.text == NUM_TOKEN and terminal.value is not None:
            values.append(terminal.value)
    return EncodedTerminals(ids, values, quantities, attributes)


def decode_terminals(pieces: Iterable[Sequence[int]], tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text of a program from the ids of each of its terminals: each is decoded alone, as it was encoded."""
    return "".join(tokenizer.batch_decode([list(ids) for ids in pieces], clean_up_tokenization_spaces=False))


def _sampled_spelling(name: str, value: AttributeValue, rng: np.random.Generator) -> AttributeValue:
    if not isinstance(value, str):
        return value
    spellings = SPELLINGS[name][value]
    return spellings[rng.integers(len(spellings))]


def _statement(attributes: list[tuple[str, AttributeValue]], number_text: str) -> Iterator[Terminal]:
    """One `add(...)` line; neighbouring fixed texts are still apart."""
    yield Terminal("fixed", "add(")
    for index, (name, value) in enumerate(attributes):
        yield Terminal("fixed", f"{', ' if index else ''}{name}=")
        if isinstance(value, str):
            yield from (Terminal("fixed", "'"), Terminal("word", value, attribute=name), Terminal("fixed", "'"))
        elif isinstance(value, tuple):
            quantities = QUANTITIES[:3] if name == "loc" else (name,) * len(value)
            for place, (number, quantity) in enumerate(zip(value, quantities, strict=True)):
                yield Terminal("fixed", ", " if place else "(")
                yield _number(number, number_text, quantity)
            yield Terminal("fixed", ")")
        else:
            yield _number(value, number_text, name)
    yield Terminal("fixed", ")\n")


def _number(value: float, number_text: str, quantity: str) -> Terminal:
    # + 0.0: never -0.000
    text = NUM_TOKEN if number_text == NUM_TOKEN else format(round(value, 3) + 0.0, number_text)
    return Terminal("number", text, value, quantity)


def _merged(terminals: Iterable[Terminal]) -> list[Terminal]:
    merged: list[Terminal] = []
    for terminal in terminals:
        if terminal.kind == "fixed" and merged and merged[-1].kind == "fixed":
            terminal = Terminal("fixed", merged.pop().text + terminal.text)
        merged.append(terminal)
    return merged
