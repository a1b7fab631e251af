"""The demo as a Space: with the packages that it imports beside it, and its model on the Hub named by commit."""

from pathlib import Path

from huggingface_hub import SpaceCard

import dataset_builders
import modeling_igllm

from .errors import CommandError
from .hub_content import HubContent, pushed_files, read_card_head

MODEL_VARIABLE = "IGLLM_MODEL"
"""The Space's variable that names its model as USER/NAME@COMMIT (`space/igllm_space/checkpoint.py`)."""

_PACKAGES = (modeling_igllm, dataset_builders)


def demo_content(folder: Path, model: str) -> HubContent:
    """The folder `space` with the packages that it imports beside it, and a card that names the model.

    Args:
        folder: has an app.py, and the card of a gradio Space.
        model: USER/NAME.

    Raises:
        CommandError: if the folder is no gradio Space.
    """
    card = folder / "README.md"
    if not (folder / "app.py").is_file():
        raise CommandError(f"{folder} is no Space: it has no app.py; push the folder `space`")
    if read_card_head(card).get("sdk") != "gradio":
        raise CommandError(f"{card} is not the card of a Space: put `sdk: gradio` into its YAML head")
    files = pushed_files(folder)
    for package in _PACKAGES:
        source = Path(str(package.__file__)).parent
        files |= {f"{source.name}/{name}": file for name, file in pushed_files(source).items() if name.endswith(".py")}
    files["README.md"] = _card_with_model(card, model)
    return HubContent("space", files, ("*.py",))


def _card_with_model(card: Path, model: str) -> bytes:
    filled = SpaceCard.load(card)
    filled.data.models = [model]
    return str(filled).encode()
