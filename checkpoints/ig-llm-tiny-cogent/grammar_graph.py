"""From the slots of a scene grammar to the states of a deterministic automaton over token ids."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from .scene_grammar import DigitTokens, FixedSlot, SceneGrammar, Slot, WordSlot

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


class TokenGraph:
    """A non-deterministic automaton: nodes are numbers, edges carry a token, several may carry the same one."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[int, int]]] = []
        self.attributes: dict[int, str] = {}
        self.quantities: dict[int, str] = {}

    def node(self) -> int:
        """Add a node without edges; returns its number."""
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


class Determinizer:
    """States for sets of graph nodes, each made once."""

    def __init__(self, graph: TokenGraph, boundary: int, end: int) -> None:
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
        # Fixed text has none: where a word may end or go on to be a longer one, the choice is about the word.
        attributes = {self.graph.attributes[node] for node in nodes if node in self.graph.attributes}
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


__all__ = ["DIGITS", "Determinizer", "State", "TokenGraph"]
