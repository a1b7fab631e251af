"""`igllm push space` makes a Space whose own files are all the code that it needs, with its model pinned."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from huggingface_hub import HfApi, SpaceCard
from local_hub import LocalHub

from trl_scripts.cli import main

FOLDER = Path(__file__).parents[2] / "space"
SPACE, MODEL = "user/demo", "user/ig-llm"

# What the Space does not install, or what is elsewhere in the project.
_IMPORTS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("trl_scripts", "datasets", "pyarrow", "evaluate", "bpy"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
from igllm_space import blender, checkpoint, object_table, pictures, render_child, view_3d
import dataset_builders.render_program
print(dataset_builders.__file__, checkpoint.CheckpointSource.from_environment())
"""


@pytest.fixture
def model(hub: LocalHub, tmp_path: Path) -> str:
    """USER/NAME@COMMIT of a random model on the Hub."""
    processor = tiny.make_processor()
    tiny.make_model(processor).save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    assert main(["push", "model", str(tmp_path / "model"), MODEL]) == 0
    return f"{MODEL}@{hub.repository('models', MODEL).at('main').sha}"


def test_pushed_space_is_complete_and_names_its_model_at_a_commit(hub, model, tmp_path):
    assert main(["push", "space", str(FOLDER), SPACE, "--model", MODEL]) == 0
    space = hub.repository("spaces", SPACE)
    assert (space.sdk, space.variables) == ("gradio", {"IGLLM_MODEL": model})
    pushed = Path(HfApi().snapshot_download(SPACE, repo_type="space", local_dir=tmp_path / "space"))
    assert {"app.py", "requirements.txt", "packages.txt", "README.md"} <= {path.name for path in pushed.iterdir()}
    card = SpaceCard.load(pushed / "README.md")
    assert (card.data.sdk, card.data.python_version, card.data.models) == ("gradio", "3.11", [MODEL])
    imports = subprocess.run(
        [sys.executable, "-I", "-c", _IMPORTS, str(pushed)],
        env={"IGLLM_MODEL": space.variables["IGLLM_MODEL"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert imports.returncode == 0, imports.stderr
    repo_id, commit = model.split("@")
    assert f"{pushed}/dataset_builders/" in imports.stdout
    assert f"CheckpointSource(name='{repo_id}', revision='{commit}')" in imports.stdout


def test_second_push_takes_the_newest_model_and_removes_old_code(hub, model):
    push = ["push", "space", str(FOLDER), SPACE, "--model", MODEL]
    main(push)
    api = HfApi()
    api.upload_file(path_or_fileobj=b"", path_in_repo="old.py", repo_id=SPACE, repo_type="space")
    commit = api.upload_file(path_or_fileobj=b"", path_in_repo="notes.md", repo_id=MODEL).oid
    assert main(push) == 0
    assert hub.repository("spaces", SPACE).variables == {"IGLLM_MODEL": f"{MODEL}@{commit}"}
    assert "old.py" not in hub.repository("spaces", SPACE).at("main").files


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["space", str(FOLDER), SPACE], "a space is pushed with --model USER/NAME"),
        (["model", str(FOLDER), SPACE, "--model", MODEL], "a space is pushed with --model USER/NAME"),
        (["space", str(FOLDER.parent / "docs"), SPACE, "--model", MODEL], "is no Space: it has no app.py"),
        (["space", str(FOLDER), SPACE, "--model", "user/none"], "user/none"),
        (["space", str(FOLDER), SPACE, "--model", "none"], "'none' is no repository id"),
    ],
)
def test_what_cannot_run_is_not_pushed(hub, model, capsys, arguments, expected):
    assert main(["push", *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert ("spaces", SPACE) not in hub.store.repositories


def test_card_is_of_a_gradio_space_of_our_version():
    card = SpaceCard.load(FOLDER / "README.md").data
    pins = (FOLDER.parent / "constraints.txt").read_text().splitlines()
    assert f"gradio=={card.sdk_version}" in pins
    assert (FOLDER / card.app_file).is_file() and len(card.short_description) <= 60
    assert set((FOLDER / "requirements.txt").read_text().splitlines()) <= set(pins)
