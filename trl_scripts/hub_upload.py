"""One commit to the Hugging Face Hub, and its refusals in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import filter_repo_objects, httpx, validate_repo_id

from .errors import CommandError
from .hub_content import HubContent


@dataclass(frozen=True)
class Pushed:
    """Address of the commit that holds the content, and whether this push made it."""

    url: str
    changed: bool


def check_repo_id(repo_id: str) -> None:
    """Accept USER/NAME.

    Raises:
        CommandError: if it is anything else, or has characters that the Hub does not allow.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise CommandError(f"{repo_id!r} is no repository id: {_one_line(error)}") from error
    if repo_id.count("/") != 1:
        raise CommandError(f"{repo_id!r} is no repository id: write USER/NAME")


def prepare_repository(
    repo_id: str, private: bool | None, revision: str | None, repo_type: str = "model", token: str | None = None
) -> str:
    """Create a repository and a branch of it, unless they exist, and see that they may be written to.

    Returns the full id: a bare NAME becomes USER/NAME of whom the token belongs to. For the other arguments and the
    errors see `push_content`.
    """
    api = HfApi(token=token)
    with _refusals_in_one_line(api, repo_id):
        validate_repo_id(repo_id)
        return _prepare(api, repo_id, repo_type, private, revision)


def push_content(
    content: HubContent,
    repo_id: str,
    private: bool | None,
    revision: str | None,
    message: str = "Push with igllm",
    token: str | None = None,
) -> Pushed:
    """Make the content the state of a repository, which is created if it does not exist.

    All files arrive in one commit after their upload, so that others see the old state or the new one. (The library's
    `upload_folder` splits a large folder into several commits.) What has not changed is not sent again.

    Args:
        private: create the repository as a private one; one that exists must be private already. None: as its owner's
            settings say.
        revision: branch, created from `main` if it does not exist; None for `main`.
        message: of the commit.
        token: None for that of `hf auth login` or HF_TOKEN.

    Raises:
        CommandError: if nobody is logged in, or the Hub cannot be reached or refuses.
    """
    api = HfApi(token=token)
    with _refusals_in_one_line(api, repo_id):
        repo_id = _prepare(api, repo_id, content.repo_type, private, revision)
        return _commit(api, content, repo_id, revision, message)


def pin_model(repo_id: str) -> str:
    """Return USER/NAME@COMMIT of a model's newest commit.

    Raises:
        CommandError: if `repo_id` is not USER/NAME, or there is no such model on the Hub.
    """
    check_repo_id(repo_id)
    api = HfApi()
    with _refusals_in_one_line(api, repo_id):
        return f"{repo_id}@{api.model_info(repo_id).sha}"


def set_space_variable(repo_id: str, key: str, value: str) -> None:
    """Set what a Space finds in its environment; a running Space starts again.

    Raises:
        CommandError: if the Hub cannot be reached or refuses.
    """
    api = HfApi()
    with _refusals_in_one_line(api, repo_id):
        api.add_space_variable(repo_id, key, value)


@contextmanager
def _refusals_in_one_line(api: HfApi, repo_id: str) -> Iterator[None]:
    again = "push again, what has arrived is not sent twice"
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise CommandError("not logged in: run `hf auth login`, or set HF_TOKEN to a token that may write") from error
    except HfHubHTTPError as error:
        raise CommandError(_explain(error, repo_id)) from error
    except (httpx.HTTPError, ConnectionError) as error:
        reason = _one_line(error)
        raise CommandError(f"lost {api.endpoint} ({reason}): check the network and HF_ENDPOINT; {again}") from error
    except RuntimeError as error:  # how the library reports that the upload of a large file broke off
        print(file=sys.stderr)  # it leaves its progress bar open, in the line of our message
        reason = _one_line(error.__cause__ or error)
        raise CommandError(f"{_one_line(error)} ({reason}); nothing was committed: {again}") from error
    except ValueError as error:  # the Hub found the card's head wrong, or a file's path
        raise CommandError(f"{repo_id}: {_one_line(error)}") from error


def _prepare(api: HfApi, repo_id: str, repo_type: str, private: bool | None, revision: str | None) -> str:
    api.whoami()  # tells a missing or refused token apart from a missing repository
    sdk = "gradio" if repo_type == "space" else None
    repo_id = api.create_repo(repo_id, repo_type=repo_type, private=private, space_sdk=sdk, exist_ok=True).repo_id
    # `exist_ok` is content with the public repository of someone else.
    api.auth_check(repo_id, repo_type=repo_type, write=True)
    if private and not api.repo_info(repo_id, repo_type=repo_type).private:
        raise CommandError(f"{repo_id} exists and is public: make it private in its settings, or choose another id")
    if revision is not None:
        api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
    return repo_id


def _commit(api: HfApi, content: HubContent, repo_id: str, revision: str | None, message: str) -> Pushed:
    repo_type = content.repo_type
    head = api.repo_info(repo_id, repo_type=repo_type, revision=revision)
    there = api.list_repo_files(repo_id, repo_type=repo_type, revision=head.sha)
    mirrored = filter_repo_objects(there, allow_patterns=list(content.mirrored))
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=source) for name, source in content.files.items()
    ]
    operations += [CommitOperationDelete(path_in_repo=name) for name in mirrored if name not in content.files]
    commit = api.create_commit(
        repo_id,
        operations,
        commit_message=message,
        repo_type=repo_type,
        revision=revision,
        parent_commit=head.sha,  # what is deleted was read from it
    )
    return Pushed(commit.commit_url, changed=commit.oid != head.sha)


def _explain(error: HfHubHTTPError, repo_id: str) -> str:
    status = error.response.status_code
    if status == 401:
        return "the Hub refused the token: run `hf auth login` again, or correct HF_TOKEN"
    if status == 403:
        return f"this token may not write to {repo_id}: use a token of its owner that may write"
    return f"{repo_id}: {error.server_message or _one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
