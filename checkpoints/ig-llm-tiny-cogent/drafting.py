"""Guesses at the choices to come, which ride along in a pass. A wrong guess is work in vain, never a wrong program.

Not for a model that feeds numbers back: behind a number nothing can be asked before its value is known.
"""

from collections.abc import Mapping

import torch

from .answer_rows import AnswerRow, Segment
from .grammar_automaton import GrammarAutomaton, ProgramCursor

# Choices guessed in each pass, shared by the rows of a batch: a pass over one row costs little more with two objects
# of guesses in it, while many rows fill the processor by themselves (benchmarks/decode.py).
DRAFT_CHOICES = 12


class Drafter:
    """Guesses for the rows of a batch.

    Args:
        automaton: The grammar.
        choices (`int`): Guesses for each row in each pass.
        expect_objects (`bool`):
            Whether to guess beyond these that there is one more object: wrong once in a program, where the row ends.
    """

    def __init__(self, automaton: GrammarAutomaton, choices: int, expect_objects: bool):
        self.automaton = automaton
        self.choices = choices
        self.expect_objects = expect_objects

    @classmethod
    def for_batch(cls, automaton: GrammarAutomaton, batch_size: int) -> "Drafter":
        """As many guesses as pay, whatever the weights are."""
        return cls(automaton, DRAFT_CHOICES // batch_size, expect_objects=True)

    def draft(self, row: AnswerRow) -> None:
        """Guess the next choices of `row`, with the forced run behind each."""
        row.draft, cursor = [], row.cursor
        while cursor.state.forced is None and not cursor.state.is_end:
            token = self._guess(row, cursor)
            is_expected = self.expect_objects and cursor.state.is_boundary
            if token is None or (len(row.draft) >= self.choices and not is_expected):
                return
            run, cursor = cursor.advance(token).forced_run(stop_at_limit=True)
            row.draft.append(Segment([token, *run], cursor))

    @staticmethod
    def note_answers(row: AnswerRow, answers: Mapping[int, torch.Tensor]) -> None:
        """Keep what a pass says about the choices behind each guess (place -> logits), as the next guess."""
        place = len(row.tokens)
        for segment in row.draft:
            place += len(segment.tokens)
            state = segment.following.state
            if place in answers and not segment.following.is_limited:
                best = list(state.transitions)[int(answers[place].argmax())]
                row.guesses[segment.following.num_objects, state] = best

    def _guess(self, row: AnswerRow, cursor: ProgramCursor) -> int | None:
        """What the last pass said, else whatever comes first; None for the end, behind which nothing is asked."""
        said = row.guesses.get((cursor.num_objects, cursor.state))
        if not cursor.state.is_boundary:
            return next(iter(cursor.state.transitions)) if said is None else said
        openings = cursor.state.transitions.keys() - self.automaton.close.transitions.keys()
        if said is None:
            return min(openings, default=None)
        return said if said in openings else None


__all__ = ["DRAFT_CHOICES", "Drafter"]
