"""The grammar that decoding is held to: which programs a checkpoint may write, over token ids.

The language (SCENE_PROGRAM) with what one model needs of it: the statement of its family, its words, how it writes
numbers, how many objects there may be. It is built once from scenes and a tokenizer, kept in `config.grammar`, and
then needs no tokenizer: every terminal carries its token ids ("Tokens": terminals are tokenised alone).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scene_program import ClevrObject, PosedObject, SceneObject, SceneProgram, check_same_kind
from .terminals import Terminal, decode_terminals, encode_terminal, number_token_id, program_terminals
from .vocabulary import COLORS, MATERIALS, NUM_TOKEN, SHAPES, SIZES

if TYPE_CHECKING:  # decoding needs no tokenizer
    from transformers import PreTrainedTokenizerBase

TokenIds = tuple[int, ...]
_CLEVR_WORDS = {"size": SIZES, "color": COLORS, "material": MATERIALS, "shape": SHAPES}
_NUMBER_CHARACTERS = frozenset("+-.0123456789")


@dataclass(frozen=True)
class FixedSlot:
    """Text that is always the same."""

    text: str
    token_ids: TokenIds


@dataclass(frozen=True)
class WordSlot:
    """One of several words; `choices` maps each to its token ids."""

    attribute: str
    choices: dict[str, TokenIds]


@dataclass(frozen=True)
class NumberSlot:
    """A number; `quantity` is one of `QUANTITIES`."""

    quantity: str


Slot = FixedSlot | WordSlot | NumberSlot
Form = tuple[Slot, ...]


@dataclass(frozen=True)
class DigitTokens:
    """How a tokenizer writes numbers out.

    Attributes:
        lead: Tokens of blank text that may begin a number (the space of SentencePiece tokenizers), often none.
        texts: Every token of number characters, blanks before them included -> its text.
        signed: Whether a number must have a sign (the "char" style in 3D); otherwise only a minus is allowed.
    """

    lead: TokenIds
    texts: dict[int, str]
    signed: bool


@dataclass(frozen=True)
class SceneGrammar:
    """All programs that a checkpoint may write.

    Attributes:
        forms: The ways to write one statement, as slots; a cube has another form than a sphere.
        max_objects: Most statements of a program.
        prefix, suffix: The answer's text around the program, as token ids; the end token closes `suffix`.
        num_token_id: The number token, if numbers are `[NUM]`.
        digits: How numbers are written out, if they are.
    """

    forms: tuple[Form, ...]
    max_objects: int
    prefix: TokenIds
    suffix: TokenIds
    num_token_id: int | None = None
    digits: DigitTokens | None = None

    def __post_init__(self) -> None:
        if self.max_objects < 1:
            raise ValueError(f"max_objects must be at least 1, got {self.max_objects}")
        if not self.forms or not self.suffix:
            raise ValueError("a grammar needs at least one form of a statement and a suffix with the end token")
        if (self.num_token_id is None) == (self.digits is None):
            raise ValueError("numbers are either the one token num_token_id or written by digits: give one of the two")

    @property
    def last_token_id(self) -> int:
        """The largest token id that its programs may hold."""
        ids = {*self.prefix, *self.suffix}
        if self.num_token_id is not None:
            ids.add(self.num_token_id)
        if self.digits is not None:
            ids.update(self.digits.lead, self.digits.texts)
        for slot in (slot for form in self.forms for slot in form):
            if isinstance(slot, FixedSlot):
                ids.update(slot.token_ids)
            elif isinstance(slot, WordSlot):
                ids.update(*slot.choices.values())
        return max(ids)

    @classmethod
    def from_scenes(
        cls,
        scenes: Iterable[SceneProgram],
        tokenizer: "PreTrainedTokenizerBase",
        *,
        numbers: str = "token",
        prefix: str = "",
        suffix: str = "",
        max_objects: int | None = None,
        num_token: str = NUM_TOKEN,
    ) -> "SceneGrammar":
        """The grammar of these scenes' family.

        Args:
            scenes: The training scenes, or some that show everything: posed families may use the colours of CLEVR and
                the shapes and rotation representation that occur; CLEVR's and 2D's words are known. CLEVR's cubes
                have a yaw, unless those that occur have none.
            tokenizer: That of the model.
            numbers: One of `NUMBER_STYLES`.
            prefix, suffix: Text around the program in the answer, as in the processor.
            max_objects: Most objects of a program; the most that occur in `scenes` when not given.
            num_token: The token for `[NUM]`, where numbers are `"token"`.

        Raises:
            ValueError: If there is no object in `scenes`, or objects of several families, or cubes with and without
                a yaw, or the tokenizer cannot write a word or text of theirs.
        """
        programs = list(scenes)
        objects = [item for program in programs for item in program]
        if not objects:
            raise ValueError("cannot tell the statement of a family from scenes without objects")
        for item in objects:
            check_same_kind(objects[0], item)
        write = _TerminalWriter(tokenizer, num_token)
        words = _words(objects)
        forms = tuple(_form(item, numbers, words, write) for item in _one_of_each_form(objects))
        is_signed = numbers == "char" and isinstance(objects[0], ClevrObject | PosedObject)
        return cls(
            forms=forms,
            max_objects=max(len(program) for program in programs) if max_objects is None else max_objects,
            prefix=write.fixed(prefix) if prefix else (),
            suffix=((*write.fixed(suffix),) if suffix else ()) + (int(tokenizer.eos_token_id),),
            num_token_id=write.number_id() if numbers == "token" else None,
            digits=None if numbers == "token" else write.digits(is_signed),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, for `config.grammar`."""
        digits = self.digits
        return {
            "forms": [[_slot_to_dict(slot) for slot in form] for form in self.forms],
            "max_objects": self.max_objects,
            "prefix": list(self.prefix),
            "suffix": list(self.suffix),
            "num_token_id": self.num_token_id,
            "digits": digits
            and {
                "lead": list(digits.lead),
                "texts": {str(token): text for token, text in digits.texts.items()},
                "signed": digits.signed,
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SceneGrammar":
        """The grammar of `to_dict`; `ValueError` if `data` is something else."""
        try:
            digits = data["digits"] and DigitTokens(
                tuple(data["digits"]["lead"]),
                {int(token): text for token, text in data["digits"]["texts"].items()},
                data["digits"]["signed"],
            )
            return cls(
                forms=tuple(tuple(_slot_from_dict(slot) for slot in form) for form in data["forms"]),
                max_objects=data["max_objects"],
                prefix=tuple(data["prefix"]),
                suffix=tuple(data["suffix"]),
                num_token_id=data["num_token_id"],
                digits=digits,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"config.grammar is damaged ({error!r}): make it again with set_grammar") from error


class _TerminalWriter:
    """Token ids of terminals, with a check that they can be read back."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", num_token: str) -> None:
        self.tokenizer = tokenizer
        self.num_token = num_token

    def fixed(self, text: str) -> TokenIds:
        return self._encode(Terminal("fixed", text))

    def word(self, text: str) -> TokenIds:
        return self._encode(Terminal("word", text))

    def number_id(self) -> int:
        return number_token_id(self.tokenizer, self.num_token)

    def digits(self, signed: bool) -> DigitTokens:
        """Every token of the vocabulary that is number characters, and what stands before the first of a number."""
        texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
        specials = set(self.tokenizer.all_special_ids)
        number_texts = {
            token: text
            for token, text in enumerate(texts)
            if token not in specials and text.strip(" ") and _NUMBER_CHARACTERS.issuperset(text.lstrip(" "))
        }
        ids = encode_terminal(Terminal("number", "0.000", 0.0), self.tokenizer)
        lead = []
        for token in ids:
            if token in number_texts:
                break
            lead.append(token)
        if any(texts[token].strip(" ") for token in lead) or not set("0123456789.-") <= set(number_texts.values()):
            raise ValueError("the tokenizer has no tokens for every digit, point and minus: it cannot write numbers")
        return DigitTokens(tuple(lead), number_texts, signed)

    def _encode(self, terminal: Terminal) -> TokenIds:
        ids = encode_terminal(terminal, self.tokenizer)
        text = decode_terminals([[token] for token in ids], self.tokenizer)
        if "".join(text.split()) != "".join(terminal.text.split()):
            raise ValueError(f"the tokenizer cannot write {terminal.text!r}: it makes {text!r} of it")
        return tuple(ids)


def _words(objects: Sequence[SceneObject]) -> dict[str, tuple[str, ...]]:
    """The words of each attribute: all of CLEVR's, and the shapes that occur of the other families."""
    if isinstance(objects[0], ClevrObject):
        return _CLEVR_WORDS
    shapes = sorted({item.shape for item in objects if isinstance(item, PosedObject)})
    return {"color": COLORS, "shape": tuple(shapes)}


def _one_of_each_form(objects: Sequence[SceneObject]) -> Iterator[SceneObject]:
    """One object for every form of the family's statement."""
    if isinstance(objects[0], ClevrObject):  # whatever occurs: scenes without a cube would forbid cubes
        yaw = 0.0 if _cubes_have_yaw(objects) else None
        for shape in SHAPES:
            yield ClevrObject("small", "red", "metal", shape, (0.0, 0.0, 0.0), yaw if shape == "cube" else None)
    else:
        yield objects[0]


def _cubes_have_yaw(objects: Sequence[SceneObject]) -> bool:
    cubes = [item for item in objects if isinstance(item, ClevrObject) and item.shape == "cube"]
    without = sum(cube.rotation is None for cube in cubes)
    if 0 < without < len(cubes):
        raise ValueError(
            f"{without} of {len(cubes)} cubes have no yaw (rotation=None): give each of them one, or none of them"
        )
    return without == 0


def _form(item: SceneObject, numbers: str, words: dict[str, tuple[str, ...]], write: _TerminalWriter) -> Form:
    attributes = iter(name for name, value in item.attributes().items() if isinstance(value, str))
    slots: list[Slot] = []
    for terminal in program_terminals(SceneProgram((item,)), numbers=numbers):
        if terminal.kind == "fixed":
            slots.append(FixedSlot(terminal.text, write.fixed(terminal.text)))
        elif terminal.kind == "number":
            assert terminal.quantity is not None  # every number has one
            slots.append(NumberSlot(terminal.quantity))
        else:
            slots.append(_word_slot(next(attributes), item, words, write))
    return tuple(slots)


def _word_slot(
    attribute: str, item: SceneObject, words: dict[str, tuple[str, ...]], write: _TerminalWriter
) -> WordSlot:
    choices = words[attribute]
    if attribute == "shape" and isinstance(item, ClevrObject):
        choices = (item.shape,)  # it decides how the statement of a CLEVR object goes on
    return WordSlot(attribute, {word: write.word(word) for word in choices})


def _slot_to_dict(slot: Slot) -> dict[str, Any]:
    if isinstance(slot, FixedSlot):
        return {"fixed": slot.text, "token_ids": list(slot.token_ids)}
    if isinstance(slot, WordSlot):
        return {"word": slot.attribute, "choices": {word: list(ids) for word, ids in slot.choices.items()}}
    return {"number": slot.quantity}


def _slot_from_dict(data: dict[str, Any]) -> Slot:
    if "fixed" in data:
        return FixedSlot(data["fixed"], tuple(data["token_ids"]))
    if "word" in data:
        return WordSlot(data["word"], {word: tuple(ids) for word, ids in data["choices"].items()})
    return NumberSlot(data["number"])


__all__ = ["DigitTokens", "FixedSlot", "Form", "NumberSlot", "SceneGrammar", "Slot", "WordSlot"]
