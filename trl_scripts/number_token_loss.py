"""The number-token loss for digit text: a wrong digit costs by how far it is from the right one.

Cross-entropy takes 9 for as wrong as 4 where 3 is right. Source: Zausinger et al., "Regress, Don't Guess" (ICML 2025);
the loss itself is the authors' package `ntloss` (its Wasserstein variant over single digits).
"""

import copy

import torch
from ntloss import NTLoss
from transformers import PreTrainedTokenizerBase

from modeling_igllm.vocabulary import NO_QUANTITY

from .errors import CommandError

_DIGITS = frozenset("0123456789")


class NumberTokenLoss:
    """Distance in digits between the labels and what the model believes, over the digits of numbers alone.

    Digits of anything else, such as the id of a mesh, are no quantities and do not count.

    Args:
        tokenizer: the model's; every digit of a number must be a token of its own.
        vocab_size: size of the model's logits.

    Raises:
        CommandError: if the tokenizer joins digits, or digits and other characters, to tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        _check_digits(tokenizer)
        # A copy: ntloss declares the digits added tokens, after which a tokenizer cuts all other texts differently.
        self._loss = NTLoss(copy.deepcopy(tokenizer), vocab_size=vocab_size)  # type: ignore[arg-type]  # any kind will do

    def is_digit(self, labels: torch.Tensor, number_quantities: torch.Tensor) -> torch.Tensor:
        """Which labels (B, L) count: single digits that belong to a number."""
        is_digit_token = self._loss.is_number_token.to(labels.device)[labels.clamp(min=0)]
        return is_digit_token & (labels >= 0) & (number_quantities != NO_QUANTITY)

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        number_quantities: torch.Tensor,
        denominator: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Sum over the digits of a batch, divided by the `denominator`.

        Args:
            logits: (B, L, vocabulary); position t answers for token t + 1.
            labels: (B, L), -100 where nothing is learned.
            number_quantities: (B, L), as from `IGLLMProcessor.encode_training`.
            denominator: digits of the whole accumulated batch; those of this batch when not given.

        Returns:
            A scalar, between 0 and about 9.
        """
        labels, number_quantities = labels[:, 1:], number_quantities[:, 1:]
        counted = self.is_digit(labels, number_quantities)
        if denominator is None:
            denominator = counted.sum().clamp(min=1)
        # ntloss neither shifts the labels nor takes another floating type than float32 without loss.
        total = self._loss(logits[:, :-1].float(), labels, loss_weights=counted.float(), reduction="sum")
        return total / denominator


def _check_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    """`CommandError` unless numbers, as programs write them, have one token for each digit."""
    texts = [format(value / 1000, style) for value in range(0, 10_000, 37) for style in (".3f", "+.3f")]
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        tokens = tokenizer.convert_ids_to_tokens(ids)
        if [token for token in tokens if token in _DIGITS] != [character for character in text if character.isdigit()]:
            raise CommandError(
                f"the number-token loss needs one token for each digit, but this tokenizer writes {text!r} as "
                f"{tokens}: use number_token_loss_weight=0, or a tokenizer that splits digits"
            )
