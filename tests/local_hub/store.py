"""What a local Hub keeps in memory: repositories with branches and commits, and large-file objects."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_BRANCH = "main"
REPOSITORY_KINDS = ("models", "datasets", "spaces")
LARGE_FILE_SUFFIXES = (".parquet", ".safetensors", ".png")


class HubError(Exception):
    """An answer other than success.

    Attributes:
        status: HTTP status code.
        code: what the Hub puts into `X-Error-Code` for the client to raise the right exception; "" for none.
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class StoredFile:
    """One version of a file; a large one (LFS) is known by its SHA-256, any other by git's blob hash."""

    content: bytes
    is_large: bool = False

    @property
    def sha256(self) -> str:
        """Hex digest, the identity of a large file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git stores in place of a large file."""
        lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}", f"size {self.size}", "")
        return "\n".join(lines).encode()

    @property
    def blob_oid(self) -> str:
        """Git's hash of what git stores."""
        stored = self.pointer if self.is_large else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def content_oid(self) -> str:
        """The hash that the client compares with its own to see whether a file has changed."""
        return self.sha256 if self.is_large else self.blob_oid

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)


@dataclass(frozen=True)
class Commit:
    """A state of all files; `sha` is 40 hex digits."""

    sha: str
    summary: str
    parent: str | None
    files: Mapping[str, StoredFile]


@dataclass
class Repository:
    """A repository with at least its first commit, which `Store.create` makes."""

    kind: str
    id: str
    private: bool
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit:
        """The commit that a branch or a full hash names.

        Raises:
            HubError: 404 if neither exists.
        """
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, branch: str = DEFAULT_BRANCH) -> list[Commit]:
        """The commits of a branch, the newest first."""
        commits = [self.at(branch)]
        while (parent := commits[-1].parent) is not None:
            commits.append(self.commits[parent])
        return commits

    def add_branch(self, name: str, starting_point: str) -> None:
        """Create a branch.

        Raises:
            HubError: 409 if it exists, 400 for a name that git reserves, 404 without such a starting point.
        """
        if name in self.branches:
            raise HubError(409, f"Reference already exists: refs/heads/{name}")
        if name.startswith("refs/"):
            raise HubError(400, f"Invalid reference for a branch: {name}")
        self.branches[name] = self.at(starting_point).sha

    def add_commit(self, branch: str, summary: str, files: Mapping[str, StoredFile]) -> Commit:
        """Make `files` the state of a branch.

        Raises:
            HubError: 404 if there is no such branch.
        """
        if branch not in self.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        return self._append(branch, summary, files, self.branches[branch])

    def _append(self, branch: str, summary: str, files: Mapping[str, StoredFile], parent: str | None) -> Commit:
        tree = sorted((path, file.blob_oid) for path, file in files.items())
        sha = hashlib.sha1(repr((self.kind, self.id, len(self.commits), parent, summary, tree)).encode()).hexdigest()
        self.commits[sha] = Commit(sha, summary, parent, dict(files))
        self.branches[branch] = sha
        return self.commits[sha]


@dataclass
class Store:
    """Everything a local Hub knows.

    Args:
        tokens: access token -> the user whom it lets in.
    """

    tokens: dict[str, str]
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_objects: dict[str, bytes] = field(default_factory=dict)

    def create(self, kind: str, repo_id: str, private: bool, sdk: str | None) -> Repository:
        """Create a repository with the first commit that the Hub makes by itself.

        Raises:
            HubError: 409 if it exists.
        """
        if (kind, repo_id) in self.repositories:
            raise HubError(409, f"You already created this {kind[:-1]} repo: {repo_id}")
        repository = self.repositories[kind, repo_id] = Repository(kind, repo_id, private, sdk)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_FILE_SUFFIXES)
        first = {".gitattributes": StoredFile(attributes.encode())}
        if sdk is not None:
            first["README.md"] = StoredFile(f"---\ntitle: {repo_id}\nsdk: {sdk}\n---\n".encode())
        repository._append(DEFAULT_BRANCH, "initial commit", first, None)
        return repository

    def readable(self, kind: str, repo_id: str, user: str | None) -> Repository:
        """The repository, if `user` may see it.

        Raises:
            HubError: 404, and 401 to someone without a token, if it does not exist or is another's private one: like
                the Hub, without saying which.
        """
        repository = self.repositories.get((kind, repo_id))
        if repository is None or (repository.private and user != owner(repo_id)):
            raise HubError(401 if user is None else 404, f"Repository not found: {kind}/{repo_id}", "RepoNotFound")
        return repository

    def writable(self, kind: str, repo_id: str, user: str | None) -> Repository:
        """The repository, if `user` may change it.

        Raises:
            HubError: as `readable`; 401 without a token, 403 to another than the owner.
        """
        check_owner(repo_id, user)
        return self.readable(kind, repo_id, user)


def owner(repo_id: str) -> str:
    """The user before the slash."""
    return repo_id.partition("/")[0]


def check_owner(repo_id: str, user: str | None) -> None:
    """Refuse everyone but the owner.

    Raises:
        HubError: 401 without a token, 403 to another user.
    """
    if user is None:
        raise HubError(401, "Invalid username or password.")
    if user != owner(repo_id):
        raise HubError(403, f"You don't have the rights to create or change {repo_id} as {user}")
