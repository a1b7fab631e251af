"""`igllm push`: put a checkpoint, a built dataset, the metric or the demo on the Hugging Face Hub."""

import argparse
from pathlib import Path

from .errors import CommandError


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run_push` reads."""
    parser.add_argument("kind", choices=["model", "dataset", "metric", "space"])
    parser.add_argument(
        "folder", type=Path, help="a checkpoint, the --out of `igllm build`, metrics/scene_program, or space"
    )
    parser.add_argument(
        "repo_id", help="USER/NAME, created if it does not exist; a metric keeps the name of its folder"
    )
    parser.add_argument("--private", action="store_true", help="let only its owner see the repository")
    parser.add_argument("--revision", help="branch to push to, created if it does not exist (default: main)")
    parser.add_argument(
        "--model", metavar="USER/NAME", help="for a space: the model on the Hub that it uses, at its newest commit"
    )


def run_push(parsed: argparse.Namespace) -> int:
    """Push a folder in one commit and print the commit's address.

    A push that was interrupted leaves the repository as it was and can simply be repeated; a push of what is already
    there makes no commit.

    Raises:
        CommandError: if the folder is not of this kind, the Hub cannot be reached or refuses, or a space is without
            its model on the Hub.
    """
    # The other commands, and --help, should not wait for these imports.
    from .demo_space import MODEL_VARIABLE, demo_content
    from .hub_content import dataset_content, model_content
    from .hub_upload import check_repo_id, pin_model, push_content, set_space_variable
    from .metric_space import metric_content

    check_repo_id(parsed.repo_id)
    if not parsed.folder.is_dir():
        raise CommandError(f"{parsed.folder} is not a folder: name the folder to push")
    if (parsed.kind == "space") != (parsed.model is not None):
        raise CommandError("a space is pushed with --model USER/NAME, the model that it uses, and nothing else is")
    pinned = pin_model(parsed.model) if parsed.kind == "space" else None
    contents = {
        "model": lambda: model_content(parsed.folder),
        "dataset": lambda: dataset_content(parsed.folder),
        "metric": lambda: metric_content(parsed.folder, parsed.repo_id),
        "space": lambda: demo_content(parsed.folder, parsed.model),
    }
    pushed = push_content(contents[parsed.kind](), parsed.repo_id, parsed.private or None, parsed.revision)
    if pinned is not None:
        set_space_variable(parsed.repo_id, MODEL_VARIABLE, pinned)
    print(pushed.url if pushed.changed else f"{parsed.repo_id} already holds this: {pushed.url}")
    return 0
