"""A scene grammar as a deterministic automaton over token ids: what may come next, and what must."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from .scene_grammar import DigitTokens, FixedSlot, SceneGrammar, Slot, WordSlot
from .vocabulary import NO_QUANTITY, QUANTITIES

# Digits before and after the point: |value| stays under `MAX_NUMBER`, and three decimals are the canonical writing.
_WHOLE_DIGITS = 6
_DECIMALS = 3
DIGITS = "digits"
"""Stands for an attribute's name where a number is being written out."""


@dataclass(eq=False)
class State:
    """Where a program stands.

    Attributes:
        transitions: Every token that may come next -> the state after it.
        attribute: Whose word is being written, `DIGITS` inside a number; None elsewhere.
        quantity: Of the number token that comes next; None where none does.
        is_boundary: A statement has just ended (or none has begun): the next one, or the closing text.
        is_end: The end token has been written.
        longest: Most tokens from here to the end of the statement.
    """

    # Shown, they would unfold the whole grammar, and every path through it.
    transitions: dict[int, "State"] = field(default_factory=dict, repr=False)
    attribute: str | None = None
    quantity: str | None = None
    is_boundary: bool = False
    is_end: bool = False
    longest: int = 0

    @property
    def forced(self) -> int | None:
        """The one token that may come next, if there is only one."""
        return next(iter(self.transitions)) if len(self.transitions) == 1 else None


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
        graph = _Graph()
        boundary, end = graph.node(), graph.node()
        closing = graph.chain(graph.node(), grammar.suffix, end)
        openings = [graph.statement(form, grammar, boundary) for form in grammar.forms]
        states = _Determinizer(graph, boundary, end)
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


class _Graph:
    """A non-deterministic automaton: nodes are numbers, edges carry a token, several may carry the same one."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[int, int]]] = []
        self.attributes: dict[int, str] = {}
        self.quantities: dict[int, str] = {}

    def node(self) -> int:
        self.edges.append([])
        return len(self.edges) - 1

    def chain(self, start: int, tokens: tuple[int, ...], end: int) -> int:
        """Connect two nodes by `tokens` (at least one); returns `start`."""
        node = start
        for token in tokens[:-1]:
            following = self.node()
            self.edges[node].append((token, following))
            node = following
        self.edges[node].append((tokens[-1], end))
        return start

    def statement(self, form: tuple[Slot, ...], grammar: SceneGrammar, end: int) -> int:
        """Add the nodes of one form, from its end to its beginning; returns its first node."""
        for slot in reversed(form):
            start = self.node()
            if isinstance(slot, FixedSlot):
                self.chain(start, slot.token_ids, end)
            elif isinstance(slot, WordSlot):
                self._word(slot, start, end)
            elif grammar.digits is not None:
                self._digits(grammar.digits, start, end)
            else:
                assert grammar.num_token_id is not None  # a grammar has one of the two
                self.edges[start].append((grammar.num_token_id, end))
                self.quantities[start] = slot.quantity
            end = start
        return end

    def _word(self, slot: WordSlot, start: int, end: int) -> None:
        for token_ids in slot.choices.values():
            first_inner = len(self.edges)
            self.chain(start, token_ids, end)
            self.attributes |= dict.fromkeys((start, *range(first_inner, len(self.edges))), slot.attribute)

    def _digits(self, digits: DigitTokens, start: int, end: int) -> None:
        """Numbers as `[+-]?d{1,6}.ddd`, however the tokenizer cuts them, blank text before them or not."""
        first = self.node() if digits.lead else start
        if digits.lead:
            self.chain(start, digits.lead, first)
        places: dict[str, int] = {"": first}
        self.attributes |= dict.fromkeys((start, first), DIGITS)
        todo = [""]
        while todo:
            place = todo.pop()
            for token, text in digits.texts.items():
                following = _number_place(place, text, digits.signed)
                if following is None:
                    continue
                if following not in places:
                    is_whole = following == "." + _DECIMALS * "0"
                    places[following] = end if is_whole else self.node()
                    if not is_whole:
                        todo.append(following)
                        self.attributes[places[following]] = DIGITS
                self.edges[places[place]].append((token, places[following]))
        if first != start:  # a tokenizer that puts a blank before a digit may join it to a sign
            self.edges[start] += self.edges[first]


def _number_place(place: str, text: str, signed: bool) -> str | None:
    """Where a number stands after `text`: "", "+", "0".."000000" (whole digits), "." to ".000"; None if it may not."""
    if text[0] == " " and place:
        return None
    for character in text.lstrip(" "):
        if character in "+-":
            if place or (character == "+" and not signed):
                return None
            place = "+"
        elif character == ".":
            if not place.strip("+") or "." in place:
                return None
            place = "."
        else:
            if signed and not place:
                return None
            place = place.strip("+") + "0"
            if len(place) > (1 + _DECIMALS if place[0] == "." else _WHOLE_DIGITS):
                return None
    return place


class _Determinizer:
    """States for sets of graph nodes, each made once."""

    def __init__(self, graph: _Graph, boundary: int, end: int) -> None:
        self.graph = graph
        self.boundary = State(is_boundary=True)
        self.made: dict[frozenset[int], State] = {
            frozenset({boundary}): self.boundary,
            frozenset({end}): State(is_end=True),
        }
        self.terminal = frozenset({boundary, end})

    def of(self, nodes: Iterable[int]) -> State:
        """The state of this set of nodes; all that follow it are made, too."""
        start = frozenset(nodes)
        new = [] if start in self.made else [start]
        order: dict[State, list[State]] = {}
        while new:
            key = new.pop()
            if key not in self.made:
                self.made[key] = self._bare_state(key)
            state = self.made[key]
            if state.transitions or key & self.terminal:
                continue
            following = self._following(key)
            for target in following.values():
                if target not in self.made:
                    self.made[target] = self._bare_state(target)
                    new.append(target)
            state.transitions = {token: self.made[target] for token, target in sorted(following.items())}
            order[state] = list(state.transitions.values())
        for state in TopologicalSorter(order).static_order():  # what follows comes first
            if state.transitions:
                state.longest = 1 + max(target.longest for target in state.transitions.values())
        return self.made[start]

    def _bare_state(self, nodes: frozenset[int]) -> State:
        if nodes & self.terminal:
            raise ValueError("the tokenizer writes two different programs of the grammar by the same tokens")
        attributes = {self.graph.attributes.get(node) for node in nodes}
        quantities = {self.graph.quantities.get(node) for node in nodes}
        return State(
            attribute=attributes.pop() if len(attributes) == 1 else None,
            quantity=quantities.pop() if len(quantities) == 1 else None,
        )

    def _following(self, nodes: frozenset[int]) -> dict[int, frozenset[int]]:
        following: defaultdict[int, set[int]] = defaultdict(set)
        for node in nodes:
            for token, target in self.graph.edges[node]:
                following[token].add(target)
        return {token: frozenset(targets) for token, targets in following.items()}


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


__all__ = ["DIGITS", "GrammarAutomaton", "ProgramCursor", "State"]
