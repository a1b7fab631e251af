"""A scene grammar as a deterministic automaton over token ids: what may come next, and what must."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .grammar_graph import Determinizer, State, TokenGraph
from .scene_grammar import SceneGrammar
from .vocabulary import NO_QUANTITY, QUANTITIES


@dataclass(frozen=True)
class GrammarAutomaton:
    """The states of a grammar.

    Attributes:
        grammar: What it was made from.
        start: Before the answer's first token.
        open: At the end of a statement, while there may be another.
        close: The same place when there may not.
        statement_length, closing_length: Most tokens of a statement, and tokens of the closing text.
    """

    grammar: SceneGrammar
    start: State
    open: State
    close: State
    statement_length: int
    closing_length: int

    @classmethod
    def from_grammar(cls, grammar: SceneGrammar) -> "GrammarAutomaton":
        """Build all states.

        Raises:
            ValueError: If two different programs of the grammar have the same tokens.
        """
        graph = TokenGraph()
        boundary, end = graph.node(), graph.node()
        closing = graph.chain(graph.node(), grammar.suffix, end)
        openings = [graph.statement(form, grammar, boundary) for form in grammar.forms]
        states = Determinizer(graph, boundary, end)
        open_state, close_state = states.of({closing, *openings}), states.of({closing})
        for state in (open_state, close_state):
            state.is_boundary = True
        states.boundary.is_boundary = True
        start = states.boundary
        if grammar.prefix:
            start = states.of({graph.chain(graph.node(), grammar.prefix, boundary)})
        return cls(
            grammar=grammar,
            start=start,
            open=open_state,
            close=close_state,
            statement_length=states.of(set(openings)).longest,
            closing_length=len(grammar.suffix),
        )

    def quantities(self, tokens: Iterable[int]) -> list[int]:
        """Index in `QUANTITIES` of every number token of an answer, `NO_QUANTITY` elsewhere.

        An answer that leaves the grammar has no known quantities from there on.
        """
        found: list[int] = []
        cursor: ProgramCursor | None = ProgramCursor.begin(self, sys.maxsize)
        for token in tokens:
            quantity = None if cursor is None else cursor.state.quantity
            found.append(NO_QUANTITY if quantity is None else QUANTITIES.index(quantity))
            cursor = cursor.advance(token) if cursor is not None and token in cursor.state.transitions else None
        return found


@dataclass(frozen=True)
class ProgramCursor:
    """A place in one answer; `advance` gives the next one.

    Attributes:
        automaton: The grammar.
        max_new_tokens: Most tokens of the answer, end token included.
        state: Where the answer stands.
        num_objects: Statements that have ended.
        length: Tokens so far.
    """

    automaton: GrammarAutomaton = field(repr=False)
    max_new_tokens: int
    state: State
    num_objects: int = 0
    length: int = 0

    @classmethod
    def begin(cls, automaton: GrammarAutomaton, max_new_tokens: int) -> "ProgramCursor":
        """Before the first token; `ValueError` if not even an empty program fits into `max_new_tokens`."""
        shortest = len(automaton.grammar.prefix) + automaton.closing_length
        if max_new_tokens < shortest:
            raise ValueError(f"max_new_tokens={max_new_tokens} is too few: an empty program has {shortest} tokens")
        start = automaton.start
        # The end of the prefix is a boundary, too, but not the end of an object.
        cursor = cls(automaton, max_new_tokens, start, num_objects=-1 if automaton.grammar.prefix else 0)
        return cursor._at_boundary() if start.is_boundary else cursor

    @property
    def is_limited(self) -> bool:
        """Whether the program ends here because it has reached a limit, whatever the model wants."""
        return self.state is self.automaton.close

    def advance(self, token: int) -> "ProgramCursor":
        """The place after `token`; `KeyError` if the grammar does not allow it here."""
        state = self.state.transitions[token]
        after = replace(self, state=state, length=self.length + 1)
        if not state.is_boundary:
            return after
        return replace(after, num_objects=self.num_objects + 1)._at_boundary()

    def forced_run(
        self, stop_at_numbers: bool = False, stop_at_limit: bool = False
    ) -> tuple[list[int], "ProgramCursor"]:
        """The tokens that must come next, up to the next choice or the end, and the place after them.

        With the flags the run also ends before a number token, or before the closing text that a limit demands.
        """
        tokens: list[int] = []
        cursor = self
        while (token := cursor.state.forced) is not None:
            if (stop_at_numbers and cursor.state.quantity) or (stop_at_limit and cursor.is_limited):
                break
            tokens.append(token)
            cursor = cursor.advance(token)
        return tokens, cursor

    def _at_boundary(self) -> "ProgramCursor":
        automaton = self.automaton
        needed = self.length + automaton.statement_length + automaton.closing_length
        has_room = self.num_objects < automaton.grammar.max_objects and needed <= self.max_new_tokens
        return replace(self, state=automaton.open if has_room else automaton.close)


__all__ = ["GrammarAutomaton", "ProgramCursor"]
