"""Decoding under a grammar: only choices are asked of the model, everything that must come next enters in one pass.

A pass feeds each row the tokens that it has decided and not yet fed: a chosen word and the forced run behind it, with
all number tokens in it, whose values are read from this very pass. Rows of a batch stand at different places and
advance together: shorter runs are padded at the end, and the padding is masked in the cache for good.

Drafting (exact, for greedy search and sampling): a row may also feed guesses for its next choices. The pass answers
every choice at once; guesses are kept up to the first wrong one, and what the pass said behind it is the next guess.
Rejected tokens stay in the cache and are masked.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from .answer_rows import OBJECT, AnswerRow, Question, Sampling
from .drafting import Drafter
from .grammar_automaton import GrammarAutomaton, ProgramCursor
from .roomy_cache import attention_window, make_roomy_cache
from .scene_grammar import WordSlot
from .vocabulary import MAX_NUMBER, NO_QUANTITY


@dataclass
class SceneDecodeOutput(ModelOutput):
    """Result of `generate_scene`.

    Attributes:
        sequences (`torch.LongTensor` (B, T)): Prompt and answer, end token included, then padding.
        numbers (`torch.Tensor` (B, T), float32):
            Value of every number token in the program's units, NaN at all other tokens. None without a numeric head.
        number_stds (`torch.Tensor` (B, T), float32): Their standard deviations, where the head has them; else None.
        truncated (`torch.BoolTensor` (B,)):
            Whether the model would have gone on where a limit (tokens or objects) closed the program.
        word_probabilities (`list[list[dict[str, float]]]`):
            For each row and object: attribute -> probability of the chosen word among those that the grammar allows,
            and under "object" the probability that there is this object. 1 where the grammar allows one word alone.
        num_passes (`int`): Forward passes, that over the prompt included.
    """

    sequences: torch.Tensor | None = None
    numbers: torch.Tensor | None = None
    number_stds: torch.Tensor | None = None
    truncated: torch.Tensor | None = None
    word_probabilities: list[list[dict[str, float]]] | None = None
    num_passes: int | None = None


class SceneDecoder:
    """Decodes one batch.

    Args:
        model ([`IGLLMForSceneProgram`]): In evaluation mode.
        automaton: Of the model's grammar.
        sampling: How choices are made.
        max_new_tokens (`int`): Most tokens of an answer.
        drafter ([`Drafter`]): Guesses ahead; not where numbers are fed back.
        num_views (`int`): Images for each prompt; every answer is read from the mean of their last hidden states.
    """

    def __init__(
        self,
        model: Any,
        automaton: GrammarAutomaton,
        sampling: Sampling,
        max_new_tokens: int,
        drafter: Drafter,
        num_views: int = 1,
    ):
        self.model = model
        self.automaton = automaton
        self.sampling = sampling
        self.max_new_tokens = max_new_tokens
        self.feeds_back: bool = model.config.feed_numbers_back
        self.drafter = drafter
        self.num_views = num_views
        pad_token_id = model.config.text_config.pad_token_id
        self.pad_token_id: int = automaton.grammar.suffix[-1] if pad_token_id is None else pad_token_id
        self.num_passes = 0
        self.rows: list[AnswerRow] = []  # those that are not done
        self.mask = torch.empty(0)  # (rows, columns of the cache)
        self.cache = make_roomy_cache(model.config.text_config)
        self.window = attention_window(self.cache)

    def decode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **images: Any) -> SceneDecodeOutput:
        """Answer the prompts (B, L), left-padded; `images` (B * num_views, …) as for `forward`."""
        begin = ProgramCursor.begin(self.automaton, self.max_new_tokens)
        rows = [AnswerRow(begin, int(length)) for length in attention_mask.sum(-1).tolist()]
        for row in rows:
            row.append(begin.forced_run(stop_at_numbers=self.feeds_back)[0])
        self.rows, self.mask = list(rows), attention_mask
        prompt = {"input_ids": input_ids, "position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0)}
        self._step(input_ids.shape[1], prompt, images)
        while self.rows:
            self._step(0, {}, {})
        return self._output(rows, input_ids)

    @torch.no_grad()
    def _step(self, offset: int, prompt: dict[str, torch.Tensor], images: dict[str, Any]) -> None:
        """One pass: feed every row, make the choices that it answers, read the numbers, and let go what is done."""
        if not self.feeds_back:
            for row in self.rows:
                self.drafter.draft(row)
        fed_before = [row.fed for row in self.rows]
        hidden_states = self._pass(prompt, images)
        asked = [row.questions(offset, self.automaton.open) for row in self.rows]
        for row, questions, answers in zip(self.rows, asked, self._ask(hidden_states, asked), strict=True):
            self._decide(row, {question.place: answer for question, answer in zip(questions, answers, strict=True)})
        accepted = torch.tensor([row.fed - fed for row, fed in zip(self.rows, fed_before, strict=True)])
        columns = torch.arange(hidden_states.shape[1] - offset)
        kept = (columns < accepted[:, None]).to(self.mask)
        self.mask = torch.cat([self.mask[:, : self.mask.shape[1] - len(columns)], kept], dim=1)
        if self.automaton.grammar.num_token_id is not None:
            self._read_numbers(hidden_states, [offset - fed for fed in fed_before])
        self._drop_finished()

    def _pass(self, prompt: dict[str, torch.Tensor], images: dict[str, Any]) -> torch.Tensor:
        """Feed all rows, shorter ones padded at the end; returns the views' mean last states (B, columns, h)."""
        device = self.mask.device
        feeds = [row.feed() for row in self.rows]
        width = max(map(len, feeds))
        ids = torch.tensor([feed + (width - len(feed)) * [self.pad_token_id] for feed in feeds], dtype=torch.long)
        starts = torch.tensor([row.prompt_length + row.fed for row in self.rows])
        inputs = {"input_ids": ids.to(device), "position_ids": (starts[:, None] + torch.arange(width)).to(device)}
        lengths = torch.tensor([len(feed) for feed in feeds])
        self.mask = torch.cat([self.mask, (torch.arange(width) < lengths[:, None]).to(self.mask)], dim=1)
        if self.mask.shape[1] > self.window:
            raise ValueError(
                f"generate_scene needs {self.mask.shape[1]} columns, rejected guesses and padding included, and the "
                f"language model looks back on {self.window} (sliding_window): lower max_new_tokens, or call generate "
                "with a GrammarLogitsProcessor"
            )
        if prompt:
            inputs = {name: torch.cat([prompt[name], inputs[name]], dim=1) for name in inputs}
        if self.feeds_back:
            values = self._number_inputs(inputs["input_ids"].shape, width)
            inputs["number_embeds"] = self.model.embed_numbers(inputs["input_ids"], values)
        inputs["attention_mask"] = self.mask
        outputs = self.model.model(
            **{name: tensor.repeat_interleave(self.num_views, dim=0) for name, tensor in inputs.items()},
            **images,
            past_key_values=self.cache,
            use_cache=True,
            return_dict=True,
        )
        self.cache = outputs.past_key_values
        self.num_passes += 1
        # The vocabulary's logits are linear in these: of words, it is the mean of the views' logits.
        return outputs.last_hidden_state.unflatten(0, (-1, self.num_views)).mean(dim=1)

    def _number_inputs(self, shape: torch.Size, width: int) -> torch.Tensor:
        """Normalised values of the number tokens that are fed, NaN elsewhere."""
        values = torch.full(shape, torch.nan)
        for index, row in enumerate(self.rows):
            for place in row.quantities:
                if place >= row.fed:
                    values[index, shape[1] - width + place - row.fed] = row.values[place][0]
        return values.to(self.mask.device)

    def _ask(self, hidden_states: torch.Tensor, asked: list[list[Question]]) -> list[list[torch.Tensor]]:
        """For every question the logits (K,) of the allowed tokens, in the order of the state's transitions."""
        places = [(index, question) for index, questions in enumerate(asked) for question in questions]
        if not places:
            return [[] for _ in asked]
        states = self._gather(hidden_states, [(index, question.column) for index, question in places])
        allowed = [list(question.state.transitions) for _, question in places]
        lines = [line for line, tokens in enumerate(allowed) for _ in tokens]
        flat = self._logits(states, lines, [token for tokens in allowed for token in tokens]).float().cpu()
        if not flat.isfinite().all():
            raise ValueError("the model's logits are not finite: its weights are damaged or its precision is too low")
        pieces = iter(flat.split([len(tokens) for tokens in allowed]))
        return [[next(pieces) for _ in questions] for questions in asked]

    def _logits(self, states: torch.Tensor, lines: list[int], tokens: list[int]) -> torch.Tensor:
        """Logits (K,) of `tokens`, each for the state in the line of `states` (N, h) beside it."""
        head = self.model.lm_head
        # Quantised, wrapped by an adapter, or offloaded or elsewhere: accelerate brings both together in a call alone.
        if type(head) is not nn.Linear or head.weight.device != states.device:
            return head(states)[lines, tokens]
        # A handful of a vocabulary's 32,000 tokens is allowed: the others need no logits.
        return (states[lines].float() * head.weight[tokens].float()).sum(-1)

    @staticmethod
    def _gather(hidden_states: torch.Tensor, places: list[tuple[int, int]]) -> torch.Tensor:
        """Hidden states (N, h) at places (row, column)."""
        return hidden_states[[row for row, _ in places], [column for _, column in places]]

    def _decide(self, row: AnswerRow, answers: dict[int, torch.Tensor]) -> None:
        """Make every choice whose answer holds: up to and including the first that was guessed wrong."""
        draft = iter(row.draft)
        self.drafter.note_answers(row, answers)
        row.fed = len(row.tokens)
        while True:
            if row.limit is not None and row.limit <= row.fed and row.is_truncated is None:
                wanted = list(self.automaton.open.transitions)[int(answers[row.limit].argmax())]
                row.is_truncated = wanted not in self.automaton.close.transitions
            if row.cursor.state.forced is not None or row.cursor.state.is_end:
                return
            index, probabilities = self.sampling.choose(answers[len(row.tokens)])
            token = list(row.cursor.state.transitions)[index]
            row.note_probability(float(probabilities[index]))
            row.append([token])
            row.append(row.cursor.forced_run(stop_at_numbers=self.feeds_back)[0])
            guess = next(draft, None)
            if guess is None or guess.tokens[0] != token:
                return
            row.fed += len(guess.tokens)

    def _read_numbers(self, hidden_states: torch.Tensor, shifts: list[int]) -> None:
        """Read the number tokens whose predicting states are there; those that wait for their value go on.

        `shifts` turn a row's places into columns of `hidden_states`.
        """
        ready = [
            (index, place)
            for index, row in enumerate(self.rows)
            for place in (*row.quantities, row.number_place)
            if place is not None and place <= row.fed and place not in row.values
        ]
        if not ready:
            return
        head = self.model.numeric_head
        columns = [(index, shifts[index] + place - 1) for index, place in ready]
        values, stds = head.read(head(self._gather(hidden_states, columns)))
        if not values.isfinite().all():
            raise ValueError("the model's numbers are not finite: its weights are damaged or its precision is too low")
        deviations = [torch.nan] * len(ready) if stds is None else stds.tolist()
        for (index, place), value, deviation in zip(ready, values.tolist(), deviations, strict=True):
            row = self.rows[index]
            row.values[place] = (value, deviation)
            if place == row.number_place:
                row.append([self.model.config.num_token_id])
                row.append(row.cursor.forced_run(stop_at_numbers=True)[0])

    def _drop_finished(self) -> None:
        """Keep the rows that go on, in the cache, too."""
        going_on = [index for index, row in enumerate(self.rows) if not row.is_done]
        if len(going_on) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in going_on]
        if self.rows:
            keep = torch.tensor(going_on, device=self.mask.device)
            self.mask = self.mask[keep]
            views = torch.arange(self.num_views, device=keep.device)
            self.cache.batch_select_indices((keep[:, None] * self.num_views + views).flatten())

    def _output(self, rows: list[AnswerRow], input_ids: torch.Tensor) -> SceneDecodeOutput:
        """Pad the answers to one length behind their prompts."""
        start, longest = input_ids.shape[1], max(len(row.tokens) for row in rows)
        answers = [row.tokens + (longest - len(row.tokens)) * [self.pad_token_id] for row in rows]
        sequences = torch.cat([input_ids, torch.tensor(answers).to(input_ids)], dim=1)
        # A word without an alternative is no choice, and so nothing was noted of it.
        words = [slot.attribute for slot in self.automaton.grammar.forms[0] if isinstance(slot, WordSlot)]
        certain = dict.fromkeys([OBJECT, *words], 1.0)
        result = SceneDecodeOutput(
            sequences=sequences,
            truncated=torch.tensor([bool(row.is_truncated) for row in rows], device=input_ids.device),
            word_probabilities=[
                [certain | noted for noted in row.probabilities[: row.cursor.num_objects]] for row in rows
            ],
            num_passes=self.num_passes,
        )
        if self.model.numeric_head is not None:
            quantities = torch.full(sequences.shape, NO_QUANTITY)
            values, stds = torch.full((2, *sequences.shape), torch.nan)
            for index, row in enumerate(rows):
                for place, (value, deviation) in row.values.items():
                    quantities[index, start + place] = row.quantities[place]
                    values[index, start + place], stds[index, start + place] = value, deviation
            known_stds = stds if self.model.numeric_head.has_stds else None
            numbers, stds = self.model.to_program_units(values, known_stds, quantities)
            result.numbers = numbers.clamp(-MAX_NUMBER, MAX_NUMBER).to(input_ids.device)
            result.number_stds = None if stds is None else stds.to(input_ids.device)
        return result


__all__ = ["SceneDecodeOutput", "SceneDecoder"]
