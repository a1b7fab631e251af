"""Generation under the grammar of `config.grammar`: `generate_scene`, and a logits processor for stock `generate`."""

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.modeling_outputs import ModelOutput

from .answer_rows import Sampling
from .drafting import Drafter
from .grammar_automaton import GrammarAutomaton, ProgramCursor
from .image_views import NUM_VIEWS, shifted_views
from .scene_decoding import SceneDecodeOutput, SceneDecoder
from .scene_grammar import SceneGrammar

MASKED_ATTENTIONS = ("sdpa", "eager")
"""Attention implementations under which rejected guesses can be masked inside the cache: sdpa is the default."""
MAX_NEW_TOKENS = 1024
"""The published decoding limit (spec MODEL, "decoding"); transformers' own default of 20 cuts every program."""
# What `generate` takes that `generate_scene` understands; anything else is for transformers' own loop.
_SCENE_ARGUMENTS = frozenset(
    (
        "inputs",
        "input_ids",
        "attention_mask",
        "pixel_values",
        "image_features",
        "max_new_tokens",
        "do_sample",
        "temperature",
        "generator",
        "draft_choices",
        "view_shift",
    )
)
CUSTOM_GENERATE_FILE = "custom_generate/generate.py"
# Loading with `trust_remote_code=True` puts this for `model.generate`. It can import nothing of the folder.
CUSTOM_GENERATE_CODE = '''"""`generate` of this checkpoint: programs of its grammar only (`grammar_generation.py`)."""


def generate(*args, model, **kwargs):
    """As `model.generate_by_grammar`; transformers' own is still there as `type(model).generate(model, ...)`."""
    return model.generate_by_grammar(*args, **kwargs)
'''


class GrammarLogitsProcessor(LogitsProcessor):
    """Lets transformers' own `generate` write programs of a grammar only, token by token.

    For beam search and the like; [`generate_scene`] makes the same choices as greedy search with it, in fewer passes.

    Args:
        automaton ([`GrammarAutomaton`]): `model.grammar_automaton`.
        prompt_length (`int`): Tokens before the answer, padding included.
        max_new_tokens (`int`): As for `generate`: the program is closed before it runs out.
    """

    def __init__(self, automaton: GrammarAutomaton, prompt_length: int, max_new_tokens: int):
        self.prompt_length = prompt_length
        self.begin = ProgramCursor.begin(automaton, max_new_tokens)
        # Where the answers of the step before stood: beams change rows, so they are known by their tokens.
        self.cursors: dict[tuple[int, ...], ProgramCursor] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Set the scores (B, V) of tokens that may not come next to minus infinity."""
        answers = [tuple(answer) for answer in input_ids[:, self.prompt_length :].tolist()]
        self.cursors = {answer: self._cursor(answer) for answer in answers}
        masked = torch.full_like(scores, -torch.inf)
        for row, answer in enumerate(answers):
            cursor = self.cursors[answer]
            # A finished row goes on with padding, whatever is chosen here.
            allowed = list(cursor.state.transitions) or [cursor.automaton.grammar.suffix[-1]]
            masked[row, allowed] = scores[row, allowed]
        return masked  # type: ignore[return-value]

    def _cursor(self, answer: tuple[int, ...]) -> ProgramCursor:
        if not answer:
            return self.begin
        if answer in self.cursors:
            return self.cursors[answer]
        before = self.cursors[answer[:-1]]
        # A finished row goes on with padding, and beams that are short of allowed tokens are filled up with others at
        # minus infinity: neither gets anywhere.
        return before.advance(answer[-1]) if answer[-1] in before.state.transitions else before


class GrammarGenerationMixin:
    """Decoding that cannot leave the grammar, for [`IGLLMForSceneProgram`]."""

    config: Any
    training: bool
    is_activation_checkpointing: Any
    _automaton: tuple[dict[str, Any], GrammarAutomaton] | None = None

    def set_grammar(self, grammar: SceneGrammar) -> None:
        """Store the grammar in the configuration, and so in the checkpoint; build it with `processor.make_grammar`.

        Raises:
            `ValueError`: If it writes numbers otherwise than the model, or its tokens are not in the vocabulary.
        """
        if grammar.num_token_id != (None if self.config.number_head == "none" else self.config.num_token_id):
            raise ValueError(
                f"the grammar's num_token_id={grammar.num_token_id} does not fit number_head="
                f"{self.config.number_head!r} with num_token_id={self.config.num_token_id}"
            )
        vocab_size = self.config.text_config.vocab_size
        if grammar.last_token_id >= vocab_size:
            raise ValueError(
                f"the grammar has token {grammar.last_token_id}, the model's vocabulary {vocab_size} tokens: make the "
                "grammar with the tokenizer of this model"
            )
        data = grammar.to_dict()
        # Slots are told by their classes, and those of a checkpoint's own code are not those of the package.
        automaton = GrammarAutomaton.from_grammar(SceneGrammar.from_dict(data))
        self.config.grammar = data
        self._automaton = self.config.grammar, automaton

    @property
    def grammar_automaton(self) -> GrammarAutomaton:
        """The automaton of `config.grammar`; `ValueError` if the checkpoint has none."""
        data = self.config.grammar
        if data is None:
            raise ValueError(
                "this checkpoint has no grammar (config.grammar): give it one by "
                "model.set_grammar(processor.make_grammar(scenes)), or use generate"
            )
        if self._automaton is None or self._automaton[0] is not data:
            self._automaton = data, GrammarAutomaton.from_grammar(SceneGrammar.from_dict(data))
        return self._automaton[1]

    @torch.no_grad()
    def generate_scene(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        max_new_tokens: int | None = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        draft_choices: int | None = None,
        view_shift: int | None = None,
    ) -> SceneDecodeOutput:
        """Write one scene program for each prompt; it parses whatever the weights, the image and the temperature.

        Without `view_shift`, greedy results equal those of `generate` with a [`GrammarLogitsProcessor`], token for
        token. Needs an attention that takes a mask with holes: one of `MASKED_ATTENTIONS`.

        Args:
            input_ids (`torch.LongTensor` (B, L)): Prompts, left-padded, as from `processor.encode_prompt`.
            attention_mask (`torch.Tensor` (B, L), *optional*): 0 at padding.
            pixel_values (`torch.Tensor` (B, 3, H, W)), image_features (`torch.Tensor` (B, T, tower hidden size)):
                One of the two, as for `forward`.
            max_new_tokens (`int`, *optional*):
                Most tokens of an answer, by default `generation_config.max_new_tokens` or, without one, 1024. Before
                they run out the program is closed, and `truncated` says so.
            do_sample (`bool`), temperature (`float`), generator (`torch.Generator`):
                Draw choices instead of taking the best ones; numbers are never drawn.
            draft_choices (`int`, *optional*):
                Choices guessed ahead for each row in each pass. By default 12 for one row, fewer for more rows or
                views, and always that there is one more object. Greedy results do not depend on it; nor do samples of
                one row, while rows of a batch share the generator and draw from it in the order in which they come to
                choose. A model with `config.feed_numbers_back` makes no guesses, whatever is given: what follows a
                number depends on it, and each number takes a pass.
            view_shift (`int`, *optional*):
                Pixels by which four more views of each image are shifted. Every answer is then read from the mean of
                the five last hidden states (`image_views.py`): of words, that is the mean of the logits. Each pass is
                up to five times the work. 0: the image alone. By default `config.view_shift`.

        Raises:
            `ValueError`: If the checkpoint has no grammar, the images are not one of the two, there is no prompt,
                prompts end with padding, `max_new_tokens` does not hold an empty program, logits or numbers are not
                finite, the attention is another one, layers are of another kind or slide too soon, the model is in
                training with gradient checkpointing, or `view_shift` is negative, not smaller than the images, or not
                0 with `image_features` or with other than one image for each prompt.
        """
        self._check_cache_can_be_masked()
        if (pixel_values is None) == (image_features is None):
            raise ValueError("generate_scene needs one of pixel_values and image_features.")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if not input_ids.numel():
            raise ValueError(f"generate_scene needs prompts, got input_ids of shape {tuple(input_ids.shape)}.")
        if not attention_mask[:, -1].all():
            rows = attention_mask[:, -1].eq(0).nonzero().flatten().tolist()
            raise ValueError(f"generate_scene needs left-padded prompts; rows {rows} end with padding.")
        if max_new_tokens is None:
            max_new_tokens = self._own_max_new_tokens
        automaton = self.grammar_automaton
        images, num_views = self._view(len(input_ids), pixel_values, image_features, view_shift)
        drafter = Drafter.for_batch(automaton, len(input_ids) * num_views)
        if draft_choices is not None:
            drafter = Drafter(automaton, draft_choices, expect_objects=False)
        sampling = Sampling(do_sample, temperature, generator)
        decoder = SceneDecoder(self, automaton, sampling, max_new_tokens, drafter, num_views)
        return decoder.decode(input_ids, attention_mask, **images)

    def _view(
        self,
        batch_size: int,
        pixel_values: torch.Tensor | None,
        image_features: torch.Tensor | None,
        view_shift: int | None,
    ) -> tuple[dict[str, torch.Tensor], int]:
        """The images as for `forward`, with all of their views, and how many views of each these are."""
        shift: int = self.config.view_shift if view_shift is None else view_shift
        if shift and pixel_values is not None:
            if len(pixel_values) != batch_size:
                raise ValueError(
                    f"view_shift={shift} needs one image for each prompt, got {len(pixel_values)} for {batch_size}: "
                    "pass view_shift=0."
                )
            return {"pixel_values": shifted_views(pixel_values, shift)}, NUM_VIEWS
        if shift:
            raise ValueError(
                f"generate_scene shifts pictures by view_shift={shift} pixels, and image_features are of the picture "
                "as it is: pass pixel_values, or view_shift=0."
            )
        images = {"pixel_values": pixel_values, "image_features": image_features}
        return {name: tensor for name, tensor in images.items() if tensor is not None}, 1

    @property
    def _own_max_new_tokens(self) -> int:
        own = self.generation_config.max_new_tokens  # type: ignore[attr-defined]
        return MAX_NEW_TOKENS if own is None else own

    def _check_cache_can_be_masked(self) -> None:
        attention = self.config.text_config._attn_implementation
        if attention not in MASKED_ATTENTIONS:
            raise ValueError(
                f"generate_scene needs one of the attention implementations {MASKED_ATTENTIONS}, the language model "
                f"has {attention!r}: call model.set_attn_implementation({MASKED_ATTENTIONS[0]!r})."
            )
        if self.training and self.is_activation_checkpointing:
            raise ValueError(
                "generate_scene needs the cache that gradient checkpointing switches off in training: model.eval()."
            )

    @torch.no_grad()
    def generate_by_grammar(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> ModelOutput | torch.Tensor:
        """What `generate` is where a checkpoint with a grammar was loaded with `trust_remote_code=True`.

        Calls that [`generate_scene`] can answer are given to it. The others (beam search, a streamer, …, also where
        `generation_config` asks for beams or samples) are transformers' own `generate`, held to the same grammar by a
        [`GrammarLogitsProcessor`]; it looks at an image once, whatever `config.view_shift` says.

        Args:
            inputs (`torch.LongTensor` (B, L), *optional*): Prompts; `input_ids` in `kwargs` is the same.
            kwargs: Everything `generate` takes.

        Raises:
            `ValueError`: As the two, and for a `view_shift` where `generate_scene` cannot answer.
        """
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        if inputs is not None:
            kwargs["input_ids"] = inputs
        own: Any = self.generation_config  # type: ignore[attr-defined]
        is_greedy = own.num_beams in (None, 1) and not own.do_sample
        if is_greedy and kwargs.get("num_beams", 1) == 1 and kwargs.keys() <= _SCENE_ARGUMENTS | {"num_beams"}:
            kwargs.pop("num_beams", None)
            return self.generate_scene(**kwargs)
        if shift := kwargs.pop("view_shift", 0):
            others = sorted(kwargs.keys() - _SCENE_ARGUMENTS)
            raise ValueError(f"view_shift={shift} is for generate_scene, which has no {others}: leave out the one.")
        room = kwargs.get("max_new_tokens", kwargs.get("generation_config", own).max_new_tokens)
        # Prompts of embeddings are no part of the sequences.
        prompt_length = kwargs["input_ids"].shape[1] if "input_ids" in kwargs else 0
        if room is None and own.max_new_tokens is None:
            kwargs["max_new_tokens"] = MAX_NEW_TOKENS
        # What is not given is the model's own, as in `generate`.
        room = self._own_max_new_tokens if room is None else room
        processor = GrammarLogitsProcessor(self.grammar_automaton, prompt_length, room)
        processors = LogitsProcessorList([*kwargs.pop("logits_processor", ()), processor])
        return type(self).generate(self, logits_processor=processors, **kwargs)  # type: ignore[attr-defined]

    def write_custom_generate(self, folder: str | PathLike) -> None:
        """Put `custom_generate/generate.py` into a checkpoint's folder; take it away if the model has no grammar."""
        path = Path(folder) / CUSTOM_GENERATE_FILE
        if self.config.grammar is None:
            # Of a model that was saved here before; a file of somebody else's stays.
            if path.is_file() and self.generate_by_grammar.__name__ in path.read_text(encoding="utf-8"):
                path.unlink()
        elif Path(folder).is_dir():
            path.parent.mkdir(exist_ok=True)
            path.write_text(CUSTOM_GENERATE_CODE, encoding="utf-8")


__all__ = [
    "CUSTOM_GENERATE_CODE",
    "CUSTOM_GENERATE_FILE",
    "MASKED_ATTENTIONS",
    "MAX_NEW_TOKENS",
    "GrammarGenerationMixin",
    "GrammarLogitsProcessor",
]
