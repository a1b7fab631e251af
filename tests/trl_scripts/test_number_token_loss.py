"""The number-token loss: what it measures, on which tokens, with which tokenizers, and in the trainer."""

import math
from pathlib import Path

import pytest
import tiny
import torch
from test_number_training import POSED_SCENE
from test_scene_trainer import make_trainer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.llama_tokenizer import make_llama_tokenizer
from modeling_igllm import IGLLMProcessor
from trl_scripts.errors import CommandError
from trl_scripts.number_token_loss import NumberTokenLoss


@pytest.fixture(scope="module")
def digits() -> IGLLMProcessor:
    """A processor that writes numbers as digits."""
    return tiny.make_processor(numbers="char")


def make_loss(processor: IGLLMProcessor) -> NumberTokenLoss:
    return NumberTokenLoss(processor.tokenizer, len(processor.tokenizer))


def logits_for(labels: torch.Tensor, vocab_size: int, confidence: float = 20.0) -> torch.Tensor:
    """Logits that believe in `labels`, each one position ahead."""
    logits = torch.zeros(*labels.shape, vocab_size)
    logits[:, :-1].scatter_(-1, labels[:, 1:].clamp(min=0).unsqueeze(-1), confidence)
    return logits


def test_it_is_the_expected_distance_in_digits(digits: IGLLMProcessor) -> None:
    loss = make_loss(digits)
    zero = digits.tokenizer.convert_tokens_to_ids("0")
    labels = torch.tensor([[-100, zero + 3]])
    logits = torch.full((1, 2, len(digits.tokenizer)), -math.inf)
    quantities = torch.zeros_like(labels)
    for digit, distance in ((3, 0), (4, 1), (9, 6)):
        logits[0, 0] = -math.inf
        logits[0, 0, zero + digit] = 0
        assert loss(logits.clamp(min=-1e4), labels, quantities).item() == pytest.approx(distance, abs=1e-4)
    # Half 2 and half 5; and what is no digit at all costs more than any digit.
    logits[0, 0] = -math.inf
    logits[0, 0, [zero + 2, zero + 5]] = 0
    assert loss(logits.clamp(min=-1e4), labels, quantities).item() == pytest.approx(1.5)
    logits[0, 0] = -math.inf
    logits[0, 0, digits.tokenizer.eos_token_id] = 0
    assert loss(logits.clamp(min=-1e4), labels, quantities).item() > 9


def test_only_digits_of_numbers_in_the_labels_count(digits: IGLLMProcessor) -> None:
    loss = make_loss(digits)
    batch = digits.encode_training(None, [POSED_SCENE])
    counted = loss.is_digit(batch["labels"], batch["number_quantities"])
    tokens = digits.tokenizer.convert_ids_to_tokens(batch["labels"][counted].tolist())
    # Three objects of nine numbers of four digits; the ids of their shape (car_1a2) hold digits as well.
    assert len(tokens) == 3 * 9 * 4
    assert set(tokens) <= set("0123456789")
    text = digits.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    assert sum(token in "0123456789" for token in text) == len(tokens) + 3 * 2
    assert not loss.is_digit(torch.full_like(batch["labels"], -100), batch["number_quantities"]).any()


def test_a_wrong_shape_id_costs_nothing_and_a_wrong_number_does(digits: IGLLMProcessor) -> None:
    loss = make_loss(digits)
    batch = digits.encode_training(None, [POSED_SCENE])
    labels, quantities = batch["labels"], batch["number_quantities"]
    right = logits_for(labels, len(digits.tokenizer))
    zero = digits.tokenizer.convert_tokens_to_ids("0")
    is_digit_token = (labels >= zero) & (labels < zero + 10)
    in_number = is_digit_token & (quantities >= 0)
    for wrong, costs in ((is_digit_token & ~in_number, False), (in_number, True)):
        mistaken = torch.where(wrong, zero + 9 - (labels - zero), labels)
        difference = loss(logits_for(mistaken, len(digits.tokenizer)), labels, quantities) - loss(
            right, labels, quantities
        )
        assert (difference.item() > 1) == costs


def test_a_batch_without_digits_costs_nothing(digits: IGLLMProcessor) -> None:
    labels = torch.full((1, 4), digits.tokenizer.eos_token_id)
    logits = torch.zeros(1, 4, len(digits.tokenizer))
    assert make_loss(digits)(logits, labels, torch.full_like(labels, -1)).item() == 0


def test_the_tokenizer_stays_as_it_is(digits: IGLLMProcessor) -> None:
    text = "add(shape='car_1a2', x=0.125)"
    before, size = digits.tokenizer(text)["input_ids"], len(digits.tokenizer)
    make_loss(digits)
    assert digits.tokenizer(text)["input_ids"] == before
    assert len(digits.tokenizer) == size
    assert "1" not in digits.tokenizer.get_added_vocab()


def test_a_llama_tokenizer_works_and_stays_as_it_is() -> None:
    tokenizer = make_llama_tokenizer()
    processor = IGLLMProcessor(tiny.make_processor().image_processor, tokenizer, numbers="char")
    before = tokenizer("car_1a2 0.125")["input_ids"]
    loss = NumberTokenLoss(tokenizer, vocab_size=32064)  # padded, as models are
    batch = processor.encode_training(None, [POSED_SCENE])
    assert loss.is_digit(batch["labels"], batch["number_quantities"]).sum() == 3 * 9 * 4
    right = loss(logits_for(batch["labels"], 32064), batch["labels"], batch["number_quantities"])
    assert right.item() < 0.01
    assert tokenizer("car_1a2 0.125")["input_ids"] == before


def test_a_tokenizer_that_joins_digits_is_refused() -> None:
    characters = [*"+-.0123456789", "12"]
    vocabulary = {token: index for index, token in enumerate(["<unk>", *characters])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("1", "2")], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(CommandError, match="'12'"):
        NumberTokenLoss(tokenizer, vocab_size=20)


def test_accumulation_does_not_change_the_step(digits: IGLLMProcessor, tmp_path: Path) -> None:
    trained = []
    for weight, batch_size, steps in ((0.5, 8, 1), (0.5, 2, 4), (0.0, 8, 1)):
        splitting = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": steps}
        trainer = make_trainer(digits, tmp_path, "none", number_token_loss_weight=weight, **splitting)
        trainer.train()
        logs = next(entry for entry in trainer.state.log_history if "loss" in entry)
        assert ("number_token_loss" in logs) == (weight > 0)
        trained.append((logs, dict(trainer.model.named_parameters())))
    (whole_logs, whole), (parts_logs, parts), (_, without) = trained
    assert parts_logs["number_token_loss"] == pytest.approx(whole_logs["number_token_loss"], rel=1e-4)
    assert whole_logs["loss"] == pytest.approx(whole_logs["ce_loss"] + 0.5 * whole_logs["number_token_loss"], rel=1e-3)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert not torch.equal(whole["lm_head.weight"], without["lm_head.weight"])


def test_it_is_refused_where_there_are_no_digits(processor: IGLLMProcessor, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"0\.3 is for digit text.*'linear'"):
        make_trainer(processor, tmp_path, "linear", number_token_loss_weight=0.3)


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_a_bad_weight_is_quoted(digits: IGLLMProcessor, tmp_path: Path, weight: float) -> None:
    with pytest.raises(ValueError, match=f"got {weight}"):
        make_trainer(digits, tmp_path, "none", number_token_loss_weight=weight)
