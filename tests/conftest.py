"""One processor and one random model for the tests that do not change them."""

from collections.abc import Iterator

import pytest
import tiny
import torch
from accelerate.state import AcceleratorState

from modeling_igllm import IGLLMForSceneProgram, IGLLMProcessor


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> None:
    """Tiny tensors are slower on several threads, and test workers share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def own_accelerator_state() -> Iterator[None]:
    """Accelerate keeps the first precision that a process asks for, so the order of the test files would matter."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def processor() -> IGLLMProcessor:
    """A processor that writes numbers as `[NUM]`."""
    return tiny.make_processor()


@pytest.fixture(scope="session")
def model(processor: IGLLMProcessor) -> IGLLMForSceneProgram:
    """A random model in evaluation mode; a test that changes it makes its own."""
    return tiny.make_model(processor)
