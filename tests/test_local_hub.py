"""The local Hub answers the stock client as the real one does."""

from collections.abc import Iterator

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from local_hub import TOKEN, LocalHub, serve_hub

REPO = "user/r"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with serve_hub() as served:
        yield served


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    """A client with one repository of three files."""
    client = HfApi(endpoint=hub.url, token=TOKEN)
    client.create_repo(REPO)
    contents = {"a.txt": b"one", "sub/b.safetensors": b"head two", "sub/deep/c.txt": b"three"}
    client.create_commit(REPO, [CommitOperationAdd(path, data) for path, data in contents.items()], commit_message="m")
    return client


def test_what_does_not_exist_is_named(api, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("user/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(REPO, "none.txt", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="no route"):
        api.list_repo_commits(REPO)


def test_large_files_are_known_by_their_sha256(api, hub):
    by_path = {entry.path: entry for entry in api.get_paths_info(REPO, ["a.txt", "sub/b.safetensors", "sub", "none"])}
    assert by_path.keys() == {"a.txt", "sub/b.safetensors", "sub"}
    assert by_path["a.txt"].lfs is None and by_path["sub/b.safetensors"].lfs.sha256 == hub.uploads[0]


def test_tree_lists_one_level_or_all(api):
    assert {entry.path for entry in api.list_repo_tree(REPO)} == {".gitattributes", "a.txt", "sub"}
    assert {entry.path for entry in api.list_repo_tree(REPO, "sub")} == {"sub/b.safetensors", "sub/deep"}
    everything = {entry.path for entry in api.list_repo_tree(REPO, recursive=True)}
    assert everything == {".gitattributes", "a.txt", "sub", "sub/b.safetensors", "sub/deep", "sub/deep/c.txt"}


def test_ranges_are_served(api, hub):
    files = HfFileSystem(endpoint=hub.url, token=TOKEN, skip_instance_cache=True)
    with files.open(f"{REPO}/sub/b.safetensors", block_size=4) as file:
        file.seek(5)
        assert file.read(2) == b"tw"


def test_branch_keeps_its_own_files(api, tmp_path):
    api.create_branch(REPO, branch="feature/x")
    api.create_commit(REPO, [CommitOperationDelete("a.txt")], commit_message="d", revision="feature/x")
    assert "a.txt" in api.list_repo_files(REPO) and "a.txt" not in api.list_repo_files(REPO, revision="feature/x")
    assert {branch.name for branch in api.list_repo_refs(REPO).branches} == {"main", "feature/x"}
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch(REPO, branch="feature/x")


def test_commit_on_an_outdated_parent_is_refused_whole(api, hub):
    before = hub.repository("models", REPO).history()
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(REPO, [CommitOperationAdd("n.txt", b"n")], commit_message="n", parent_commit=before[-1].sha)
    with pytest.raises(HfHubHTTPError, match="404"):
        operations = [CommitOperationAdd("n.txt", b"n"), CommitOperationDelete("none.txt")]
        api.create_commit(REPO, operations, commit_message="n")
    assert hub.repository("models", REPO).history() == before


def test_a_card_that_names_a_folder_is_refused(api):
    card = b"---\nbase_model: /home/me/model\ndatasets: [user/r]\n---\n"
    with pytest.raises(ValueError, match='"base_model" with value "/home/me/model" is not valid'):
        api.create_commit(REPO, [CommitOperationAdd("README.md", card)], commit_message="c")


def test_strangers_do_not_write(api, hub):
    for token, status in ((None, "401"), ("hf_token_of_another", "403")):
        stranger = HfApi(endpoint=hub.url, token=token or False)
        with pytest.raises(HfHubHTTPError, match=status):
            stranger.create_commit(REPO, [CommitOperationDelete("a.txt")], commit_message="d")
        with pytest.raises(HfHubHTTPError, match=status):
            stranger.auth_check(REPO, write=True)
    api.auth_check(REPO, write=True)
