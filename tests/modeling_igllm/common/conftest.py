"""Models that write programs, shared by the tests that do not change them."""

import pytest
from common_cases import CASES, ROOM, make_grammatical, prompts

from modeling_igllm import IGLLMForSceneProgram


def sees_something(model: IGLLMForSceneProgram, name: str) -> bool:
    """Whether the model writes an object for each of three images."""
    output = model.generate_scene(**prompts(name, count=3), max_new_tokens=ROOM)
    return all(output.word_probabilities)


@pytest.fixture(scope="session")
def models() -> dict[str, IGLLMForSceneProgram]:
    """Of each case the first random model that does not leave its programs empty."""
    found = {}
    for name in CASES:
        candidates = (make_grammatical(name, seed) for seed in range(100))
        found[name] = next(model for model in candidates if sees_something(model, name))
    return found
