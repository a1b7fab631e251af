"""`igllm push`: put a checkpoint, a built dataset or the metric on the Hugging Face Hub."""

import argparse
from pathlib import Path

from .errors import CommandError


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run_push` reads."""
    parser.add_argument("kind", choices=["model", "dataset", "metric"])
    parser.add_argument("folder", type=Path, help="a checkpoint, the --out of `igllm build`, or metrics/scene_program")
    parser.add_argument(
        "repo_id", help="USER/NAME, created if it does not exist; a metric keeps the name of its folder"
    )
    parser.add_argument("--private", action="store_true", help="let only its owner see the repository")
    parser.add_argument("--revision", help="branch to push to, created if it does not exist (default: main)")


def run_push(parsed: argparse.Namespace) -> int:
    """Push a folder in one commit and print the commit's address.

    A push that was interrupted leaves the repository as it was and can simply be repeated; a push of what is already
    there makes no commit.

    Raises:
        CommandError: if the folder is not of this kind, or the Hub cannot be reached or refuses.
    """
    # The other commands, and --help, should not wait for these imports.
    from .hub_content import dataset_content, model_content
    from .hub_upload import check_repo_id, push_content
    from .metric_space import metric_content

    check_repo_id(parsed.repo_id)
    if not parsed.folder.is_dir():
        raise CommandError(f"{parsed.folder} is not a folder: name the folder to push")
    if parsed.kind == "model":
        content = model_content(parsed.folder)
    elif parsed.kind == "dataset":
        content = dataset_content(parsed.folder)
    else:
        content = metric_content(parsed.folder, parsed.repo_id)
    pushed = push_content(content, parsed.repo_id, parsed.private or None, parsed.revision)
    print(pushed.url if pushed.changed else f"{parsed.repo_id} already holds this: {pushed.url}")
    return 0
