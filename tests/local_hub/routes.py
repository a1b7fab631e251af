"""The routes of the Hub that its Python client uses: plain functions from a request to a response."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .store import (
    DEFAULT_BRANCH,
    LARGE_FILE_SUFFIXES,
    REPOSITORY_KINDS,
    Commit,
    HubError,
    Repository,
    Store,
    StoredFile,
    check_owner,
)

_TIME = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        base_url: scheme, host and port that the client used.
        headers: names in lower case.
        user: whose token came with it, None for none.
        parts: named parts of the path, unquoted.
    """

    store: Store
    base_url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    user: str | None
    parts: Mapping[str, str]

    @property
    def kind(self) -> str:
        """One of `REPOSITORY_KINDS`; models have no prefix outside of the API."""
        return self.parts["kind"] or "models"

    @property
    def readable(self) -> Repository:
        """The repository that the path names, for reading."""
        return self.store.readable(self.kind, self.parts["id"], self.user)

    @property
    def writable(self) -> Repository:
        """The repository that the path names, for writing."""
        return self.store.writable(self.kind, self.parts["id"], self.user)

    @property
    def revision(self) -> str:
        """Branch or hash that the path names."""
        return self.parts["revision"] or DEFAULT_BRANCH

    def url(self, repository: Repository) -> str:
        """Address of the repository's page."""
        prefix = "" if repository.kind == "models" else f"{repository.kind}/"
        return f"{self.base_url}/{prefix}{repository.id}"


@dataclass(frozen=True)
class Response:
    """One answer; a body that is not bytes is sent as JSON."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def whoami(request: Request) -> Response:
    """GET /api/whoami-v2."""
    if request.user is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    token = {"role": "write", "displayName": "local"}
    return Response({"type": "user", "name": request.user, "orgs": [], "auth": {"accessToken": token}})


def validate_yaml(request: Request) -> Response:
    """POST /api/validate-yaml: models and datasets that a README's head names must be ids of repositories."""
    head = re.match(r"---\n(.*?)\n---", json.loads(request.body)["content"], re.DOTALL)
    metadata = yaml.safe_load(head[1]) if head else {}
    errors = []
    for key in ("base_model", "datasets"):
        named = metadata.get(key, [])
        for name in [named] if isinstance(named, str) else named:
            try:
                validate_repo_id(name)
            except HFValidationError:
                errors.append({"message": f'"{key}" with value "{name}" is not valid.'})
    return Response({"errors": errors, "warnings": []}, 400 if errors else 200)


def create_repository(request: Request) -> Response:
    """POST /api/repos/create."""
    asked = json.loads(request.body)
    repo_id = f"{asked['organization'] or request.user}/{asked['name']}"
    check_owner(repo_id, request.user)
    kind = f"{asked.get('type', 'model')}s"
    try:
        repository = request.store.create(kind, repo_id, asked.get("visibility") == "private", asked.get("sdk"))
    except HubError as error:
        url = request.url(request.store.repositories[kind, repo_id])
        return Response({"error": str(error), "url": url}, error.status)
    return Response({"url": request.url(repository), "name": repo_id, "id": repo_id})


def repository_info(request: Request) -> Response:
    """GET /api/KIND/ID and /api/KIND/ID/revision/REVISION."""
    repository = request.readable
    commit = repository.at(request.revision)
    siblings = [
        {"rfilename": path, **_file_entry(path, file), "blobId": file.blob_oid}
        for path, file in sorted(commit.files.items())
    ]
    flags = {"private": repository.private, "gated": False, "disabled": False, "sdk": repository.sdk}
    counts = {"downloads": 0, "likes": 0, "tags": []}
    times = {"lastModified": _TIME, "createdAt": _TIME}
    return Response({"id": repository.id, "sha": commit.sha, "siblings": siblings, **flags, **counts, **times})


def refs(request: Request) -> Response:
    """GET /api/KIND/ID/refs."""
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
        for name, sha in request.readable.branches.items()
    ]
    return Response({"branches": branches, "tags": [], "converts": []})


def create_branch(request: Request) -> Response:
    """POST /api/KIND/ID/branch/REVISION."""
    request.writable.add_branch(request.revision, json.loads(request.body).get("startingPoint", DEFAULT_BRANCH))
    return Response({})


def auth_check_write(request: Request) -> Response:
    """GET /api/KIND/ID/auth-check/write."""
    _ = request.writable
    return Response({})


def set_variable(request: Request) -> Response:
    """POST /api/spaces/ID/variables."""
    asked = json.loads(request.body)
    request.writable.variables[asked["key"]] = asked["value"]
    return Response({name: {"value": value} for name, value in request.writable.variables.items()})


def tree(request: Request) -> Response:
    """GET /api/KIND/ID/tree/REVISION[/PATH], recursive or not."""
    commit = request.readable.at(request.revision)
    folder = request.parts["path"].strip("/") if request.parts["path"] else ""
    entries = list(_tree_entries(commit, f"{folder}/" if folder else "", request.query.get("recursive") == "true"))
    if folder and not entries:
        raise HubError(404, f"{folder} does not exist on {request.revision!r}", "EntryNotFound")
    return Response(entries)


def paths_info(request: Request) -> Response:
    """POST /api/KIND/ID/paths-info/REVISION; paths that do not exist are left out."""
    files = request.readable.at(request.revision).files
    entries = []
    for path in parse_qs(request.body.decode()).get("paths", []):
        if path in files:
            entries.append(_file_entry(path, files[path]))
        elif any(other.startswith(f"{path}/") for other in files):
            entries.append(_folder_entry(path))
    return Response(entries)


def preupload(request: Request) -> Response:
    """POST /api/KIND/ID/preupload/REVISION: how to send each file, and what is there now."""
    commit = request.writable.at(request.revision)
    files = []
    for path in (entry["path"] for entry in json.loads(request.body)["files"]):
        mode = "lfs" if path.endswith(LARGE_FILE_SUFFIXES) else "regular"
        oid = commit.files[path].content_oid if path in commit.files else None
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Response({"files": files, "commitOid": commit.sha})


def large_file_batch(request: Request) -> Response:
    """POST ID.git/info/lfs/objects/batch: where to PUT those objects that are not stored yet."""
    request.store.writable(request.kind, request.parts["id"], request.user)
    objects = []
    for asked in json.loads(request.body)["objects"]:
        upload = {"upload": {"href": f"{request.base_url}/large-objects/{asked['oid']}"}}
        stored = asked["oid"] in request.store.large_objects
        objects.append({"oid": asked["oid"], "size": asked["size"], **({} if stored else {"actions": upload})})
    return Response({"transfer": "basic", "objects": objects})


def put_large_object(request: Request) -> Response:
    """PUT /large-objects/SHA256."""
    file = StoredFile(request.body, is_large=True)
    if file.sha256 != request.parts["oid"]:
        raise HubError(400, f"content has SHA-256 {file.sha256}, not {request.parts['oid']}")
    request.store.large_objects[file.sha256] = file.content
    return Response(b"")


def commit(request: Request) -> Response:
    """POST /api/KIND/ID/commit/REVISION: all operations of the NDJSON body or, after an error, none."""
    repository = request.writable
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    parent = repository.at(request.revision)
    if header["value"].get("parentCommit", parent.sha) != parent.sha:
        raise HubError(412, f"{request.revision} is at {parent.sha}, not at the stated parent commit")
    files = dict(parent.files)
    for operation in operations:
        _apply(operation["key"], operation["value"], files, request.store)
    made = repository.add_commit(request.revision, header["value"]["summary"], files)
    return Response(
        {"success": True, "commitOid": made.sha, "commitUrl": f"{request.url(repository)}/commit/{made.sha}"}
    )


def _apply(key: str, value: dict[str, Any], files: dict[str, StoredFile], store: Store) -> None:
    path = value["path"]
    if key == "file":
        files[path] = StoredFile(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in store.large_objects:
            raise HubError(400, f"{path}: object {value['oid']} was never uploaded")
        files[path] = StoredFile(store.large_objects[value["oid"]], is_large=True)
    elif key in ("deletedFile", "deletedFolder"):
        gone = [name for name in files if name == path or name.startswith(f"{path.rstrip('/')}/")]
        if not gone:
            raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise HubError(400, f"unknown operation {key!r}")


def resolve(request: Request) -> Response:
    """GET and HEAD ID/resolve/REVISION/PATH, whole or one `Range`."""
    found = request.readable.at(request.revision)
    headers = {"X-Repo-Commit": found.sha, "Accept-Ranges": "bytes"}
    file = found.files.get(request.parts["path"])
    if file is None:
        message = f"{request.parts['path']} does not exist on {request.revision!r}"
        missing = {"X-Error-Code": "EntryNotFound", "X-Error-Message": message}
        return Response({"error": message}, 404, headers | missing)
    headers |= {"ETag": f'"{file.content_oid}"', "Content-Type": "application/octet-stream"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if asked is None:
        return Response(file.content, headers=headers)
    start = int(asked[1]) if asked[1] else max(file.size - int(asked[2]), 0)
    stop = min(int(asked[2]) + 1, file.size) if asked[1] and asked[2] else file.size
    if start >= file.size:
        return Response(b"", 416, headers | {"Content-Range": f"bytes */{file.size}"})
    return Response(
        file.content[start:stop], 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
    )


def _tree_entries(commit: Commit, prefix: str, recursive: bool) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for path, file in sorted(commit.files.items()):
        if not path.startswith(prefix):
            continue
        folders = path.removeprefix(prefix).split("/")[:-1]
        for depth in range(1, len(folders) + 1 if recursive else min(len(folders), 1) + 1):
            folder = prefix + "/".join(folders[:depth])
            if folder not in seen:
                seen.add(folder)
                yield _folder_entry(folder)
        if recursive or not folders:
            yield _file_entry(path, file)


def _file_entry(path: str, file: StoredFile) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": file.size, "oid": file.blob_oid}
    if not file.is_large:
        return entry
    # `oid` for listings of the tree, `sha256` for those of a repository's information
    large = {"oid": file.sha256, "sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return {**entry, "lfs": large}


def _folder_entry(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


_ID = r"(?P<id>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>{'|'.join(REPOSITORY_KINDS)})/{_ID}"
_PAGE = rf"/(?:(?P<kind>datasets|spaces)/)?{_ID}"
_REVISION = r"(?P<revision>[^/]+)"

ROUTES: list[tuple[str, re.Pattern[str], Callable[[Request], Response]]] = [
    (method, re.compile(pattern), route)
    for method, pattern, route in [
        ("GET", "/api/whoami-v2", whoami),
        ("POST", "/api/validate-yaml", validate_yaml),
        ("POST", "/api/repos/create", create_repository),
        ("GET", rf"{_API}(?:/revision/{_REVISION})?", repository_info),
        ("GET", rf"{_API}/refs", refs),
        ("POST", rf"{_API}/branch/{_REVISION}", create_branch),
        ("GET", rf"{_API}/auth-check/write", auth_check_write),
        ("POST", rf"/api/(?P<kind>spaces)/{_ID}/variables", set_variable),
        ("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<path>.+))?", tree),
        ("POST", rf"{_API}/paths-info/{_REVISION}", paths_info),
        ("POST", rf"{_API}/preupload/{_REVISION}", preupload),
        ("POST", rf"{_API}/commit/{_REVISION}", commit),
        ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", large_file_batch),
        ("PUT", "/large-objects/(?P<oid>[0-9a-f]{64})", put_large_object),
        ("GET", rf"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)", resolve),
    ]
]


def find_route(method: str, quoted_path: str) -> tuple[Callable[[Request], Response], dict[str, str]]:
    """The route of a request and the named parts of its path, unquoted; a HEAD takes the route of its GET.

    Raises:
        HubError: 404 if there is no such route.
    """
    for known_method, pattern, route in ROUTES:
        match = pattern.fullmatch(quoted_path)
        if match and known_method == ("GET" if method == "HEAD" else method):
            return route, {name: unquote(part) if part else "" for name, part in match.groupdict().items()}
    raise HubError(404, f"this local Hub has no route {method} {quoted_path}", "EntryNotFound")
