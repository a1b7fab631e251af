"""The answers of a batch under way: what is decided, what is guessed, and what the model is to be asked next."""

from dataclasses import dataclass, field

import torch

from .grammar_automaton import ProgramCursor
from .grammar_graph import DIGITS, State
from .vocabulary import QUANTITIES

# What `probabilities` calls the choice that there is one more object.
OBJECT = "object"


@dataclass
class Sampling:
    """How a choice is made: the best token, or with `do_sample` one drawn at `temperature`."""

    do_sample: bool = False
    temperature: float = 1.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}; do_sample=False is greedy")

    def choose(self, logits: torch.Tensor) -> tuple[int, torch.Tensor]:
        """Index of one of the allowed tokens, and the probabilities (K,) of all of them at temperature 1.

        Args:
            logits (`torch.Tensor` (K,), float32, on the CPU): Of the allowed tokens.
        """
        probabilities = logits.softmax(-1)
        if not self.do_sample:
            return int(logits.argmax()), probabilities
        drawn = torch.multinomial((logits / self.temperature).softmax(-1), 1, generator=self.generator)
        return int(drawn), probabilities


@dataclass
class Segment:
    """A guessed choice with the forced run behind it, and the place after them."""

    tokens: list[int]
    following: ProgramCursor


@dataclass
class Question:
    """The token at `place` of the answer is to be chosen in `state` from the hidden state in `column`."""

    place: int
    column: int
    state: State


@dataclass
class AnswerRow:
    """One answer under way: `tokens[:fed]` are in the cache, `draft` guesses what follows `tokens`."""

    cursor: ProgramCursor
    prompt_length: int
    tokens: list[int] = field(default_factory=list)
    fed: int = 0
    draft: list[Segment] = field(default_factory=list)
    guesses: dict[tuple[int, State], int] = field(default_factory=dict)
    quantities: dict[int, int] = field(default_factory=dict)  # of the number tokens, by their place in `tokens`
    values: dict[int, tuple[float, float]] = field(default_factory=dict)  # normalised value and deviation, likewise
    probabilities: list[dict[str, float]] = field(default_factory=list)
    limit: int | None = None  # place of the first closing token, where a limit demands it
    is_truncated: bool | None = None  # None until the model has been asked, which is only done at a limit

    @property
    def is_done(self) -> bool:
        """Whether the answer has ended and nothing about it has still to be read."""
        is_limit_read = self.limit is None or self.is_truncated is not None
        return self.cursor.state.is_end and len(self.values) == len(self.quantities) and is_limit_read

    @property
    def number_place(self) -> int | None:
        """Place of the number token that comes next and waits for its value, if one does."""
        return len(self.tokens) if self.cursor.state.quantity is not None else None

    def feed(self) -> list[int]:
        """Decided and guessed tokens for the next pass; a limit's closing text is asked nothing."""
        return [*self.tokens[self.fed : self.limit], *(token for segment in self.draft for token in segment.tokens)]

    def append(self, tokens: list[int]) -> None:
        """Decide on `tokens`."""
        for token in tokens:
            state = self.cursor.state
            if state.quantity is not None:
                self.quantities[len(self.tokens)] = QUANTITIES.index(state.quantity)
            if self.cursor.is_limited:
                self.limit = len(self.tokens)
            self.tokens.append(token)
            self.cursor = self.cursor.advance(token)

    def note_probability(self, probability: float) -> None:
        """Multiply the probability of the choice that is about to be made into what it belongs to."""
        state = self.cursor.state
        if state.is_boundary:
            self.probabilities.append({})
        if state.attribute != DIGITS:
            name = state.attribute or OBJECT
            self.probabilities[-1][name] = self.probabilities[-1].get(name, 1.0) * probability

    def questions(self, offset: int, open_state: State) -> list[Question]:
        """What the pass over `feed()` answers; its first token stands in column `offset`."""
        asked = []
        if self.limit is not None and self.is_truncated is None:
            asked.append(Question(self.limit, offset + self.limit - self.fed - 1, open_state))
        place = len(self.tokens)
        for cursor, step in [(self.cursor, 0), *((s.following, len(s.tokens)) for s in self.draft)]:
            place += step
            if cursor.is_limited:
                asked.append(Question(place, offset + place - self.fed - 1, open_state))
            elif cursor.state.forced is None and not cursor.state.is_end:
                asked.append(Question(place, offset + place - self.fed - 1, cursor.state))
        return asked


__all__ = ["OBJECT", "AnswerRow", "Question", "Sampling", "Segment"]
