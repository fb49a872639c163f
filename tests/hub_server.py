"""A Hub for tests: the part of the Hugging Face Hub's HTTP API that zskd's client uses, on 127.0.0.1.

Repositories lie in memory as lists of commits. Faults can be planned: an answer with a status, or a connection that
breaks before, or after, the server did what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = (".safetensors", ".bin", ".parquet")  # what the Hub keeps outside of git
WHEN = "2026-01-01T00:00:00.000Z"


@dataclass
class Commit:
    """A commit: its files by path, and its title."""

    oid: str
    files: dict[str, bytes]
    title: str = ""


@dataclass
class Repo:
    """A repository; `commits` oldest first."""

    kind: str
    name: str
    private: bool = False
    commits: list[Commit] = field(default_factory=list)

    def add(self, files: dict[str, bytes], title: str) -> Commit:
        """A commit on top that changes `files`."""
        whole = {**(self.commits[-1].files if self.commits else {}), **files}
        digest = hashlib.sha1(f"{self.kind}{self.name}{len(self.commits)}{title}".encode())
        self.commits.append(Commit(digest.hexdigest(), whole, title))
        return self.commits[-1]

    @property
    def head(self) -> Commit:
        """The newest commit."""
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        """The commit that a revision means."""
        if revision == "main":
            return self.head
        return next((commit for commit in self.commits if commit.oid == revision), None)


@dataclass
class Fault:
    """Something that goes wrong when a request's method and path match.

    Attributes:
        status: answered instead; None breaks the connection.
        after: do what was asked, then break the connection.
        read: bytes of the body that are read before the connection breaks.
        skip: matches that go well first.
    """

    method: str
    part: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "planned"
    after: bool = False
    read: int = 0
    skip: int = 0


class Broken(Exception):
    """The connection is to be broken."""


class HubServer(ThreadingHTTPServer):
    """The server and what it holds.

    Attributes:
        tokens: token -> user name; a user may write to repositories under that name.
        roles: user name -> what its token may do: write (default), read, or none.
        requests: (method, path, status) in order; status 0 for a broken connection.
        waited: seconds that the client waited, where a test notes them.
        leaks: paths of the storage that a token came with.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, str] = {}
        self.roles: dict[str, str] = {}
        self.stored: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self.leaks: list[str] = []
        self.waited: list[float] = []
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections break on purpose."""

    @property
    def storage(self) -> str:
        """Address of large files: another host, as on the real Hub, where a token must not go."""
        return self.url.replace("127.0.0.1", "localhost")

    def put(self, kind: str, name: str, files: dict[str, bytes], *, private: bool = False) -> Repo:
        """A repository with one commit; `kind` is models or datasets."""
        repo = self.repos.setdefault((kind, name), Repo(kind, name, private))
        repo.add(files, "initial commit")
        return repo

    def fail(self, method: str, part: str, **fault: Any) -> Fault:
        """Plan a fault."""
        self.faults.append(Fault(method, part, **fault))
        return self.faults[-1]

    def seen(self, method: str, part: str) -> list[int]:
        """Statuses of the requests whose path contains `part`."""
        return [status for verb, path, status in self.requests if verb == method and part in path]


@contextmanager
def serving() -> Iterator[HubServer]:
    """A running server."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def blob_id(data: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(data: bytes) -> bytes:
    """What git keeps in place of a large file."""
    digest = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer in one packet
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """All methods go one way."""
        self._handle()

    do_POST = do_PUT = do_HEAD = do_GET

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.status = 0
        try:
            fault = self._fault(path)
            if fault is not None and not fault.after:
                if fault.status is None:
                    self.rfile.read(fault.read)
                    raise Broken
                self._body()
                return self._error(fault.status, "", fault.message, **fault.headers)
            self.body = self._body()
            self.muted = fault is not None
            with self.server.lock:
                self._route(path)
            if fault is not None:
                raise Broken
        except Broken:
            self.status = 0
            self.close_connection = True
            self.connection.close()
        finally:
            self.server.requests.append((self.command, path, self.status))

    def _fault(self, path: str) -> Fault | None:
        """What is to go wrong with this request."""
        with self.server.lock:
            for fault in self.server.faults:
                if fault.method == self.command and fault.part in path and fault.times:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, data: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.status = status
        if getattr(self, "muted", False):
            return
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._answer(json.dumps(value).encode(), status, **headers)

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        extra = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._json({"error": message}, status, **extra, **headers)

    def _user(self) -> str | None:
        """Whose token came with the request; None for no token."""
        sent = self.headers.get("Authorization")
        return None if sent is None else self.server.tokens.get(sent.removeprefix("Bearer "), "")

    def _route(self, path: str) -> None:
        words = path.strip("/").split("/")
        if words[0] == "storage":
            if "Authorization" in self.headers:
                self.server.leaks.append(path)
            return self._storage(words[1])
        if self._user() == "":
            # A token in the answer is the worst that a server, or a proxy before it, could do.
            found = {"error": f"unknown: {self.headers['Authorization']}"}
            return self._json(found, 401, X_Error_Message="Invalid credentials in Authorization header")
        if path == "/api/whoami-v2":
            return self._whoami()
        if path == "/api/validate-yaml":
            return self._validate()
        if path == "/api/repos/create":
            return self._create()
        if words[:2] == ["api", "models"] or words[:2] == ["api", "datasets"]:
            return self._api(words[1], "/".join(words[2:4]), words[4:])
        if words[0] == "verify":
            asked = json.loads(self.body)
            fine = len(self.server.stored.get(asked["oid"], b"")) == asked["size"]
            return self._json({}) if fine else self._error(404, "", "no such object")
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(path.strip("/").removesuffix(".git/info/lfs/objects/batch"))
        kind, words = ("datasets", words[1:]) if words[0] == "datasets" else ("models", words)
        if len(words) > 4 and words[2] == "resolve":
            return self._resolve(kind, "/".join(words[:2]), words[3], "/".join(words[4:]))
        return self._error(404, "", f"no such address: {path}")

    def _whoami(self) -> None:
        if (user := self._user()) is None:
            return self._error(401, "", "Invalid username or password.")
        role = self.server.roles.get(user, "write")
        return self._json({"type": "user", "name": user, "orgs": [], "auth": {"accessToken": {"role": role}}})

    def _validate(self) -> None:
        content = json.loads(self.body)["content"]
        try:
            data = yaml.safe_load(content.split("---")[1])
            errors = [] if isinstance(data, dict) else ["metadata is no mapping"]
            licence = (data or {}).get("license")
            errors += [f'"license" must be one of [...], found {licence}'] if licence == "no-such-licence" else []
        except (IndexError, yaml.YAMLError) as error:
            errors = [str(error)]
        found = {"errors": [{"message": message} for message in errors], "warnings": []}
        return self._json(found, 400 if errors else 200)

    def _may_write(self, name: str) -> bool:
        if self._user() is None:
            self._error(401, "", "Invalid username or password.")
        elif self._user() != name.partition("/")[0] or self.server.roles.get(self._user() or "") == "none":
            self._error(403, "", f"You don't have the rights to write to {name}")
        else:
            return True
        return False

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization'] or self._user()}/{asked['name']}"
        if not self._may_write(name):
            return
        if ("models", name) in self.server.repos:
            return self._json({"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}, 409)
        private = asked.get("visibility") == "private"
        self.server.put("models", name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        return self._json({"url": f"{self.server.url}/{name}", "name": name, "id": name})

    def _find(self, kind: str, name: str) -> Repo | None:
        """The repository, unless it is private and somebody else's."""
        repo = self.server.repos.get((kind, name))
        if repo is None or (repo.private and self._user() != name.partition("/")[0]):
            self._error(404 if self._user() else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _commit_of(self, repo: Repo, revision: str) -> Commit | None:
        if (commit := repo.at(revision)) is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _api(self, kind: str, name: str, rest: list[str]) -> None:
        if rest[:1] in (["preupload"], ["commit"]) and not self._may_write(name):
            return
        if (repo := self._find(kind, name)) is None:
            return
        action = rest[0] if rest else "revision"
        commit = self._commit_of(repo, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return
        if action == "revision":
            return self._info(repo, commit)
        if action == "preupload":
            return self._preupload(commit)
        if action == "commit":
            return self._commit(repo)
        if action == "tree":
            return self._tree(commit, "/".join(rest[2:]))
        if action == "paths-info":
            return self._paths(commit)
        return self._error(404, "", f"no such action: {action}")

    def _info(self, repo: Repo, commit: Commit) -> None:
        siblings = []
        for path, data in sorted(commit.files.items()):
            entry: dict[str, Any] = {"rfilename": path}
            if "blobs" in self.query:
                entry |= {"size": len(data), "blobId": self._entry(path, data)["oid"]}
                if path.endswith(LARGE):
                    sha = hashlib.sha256(data).hexdigest()
                    entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": len(pointer(data))}
            siblings.append(entry)
        found = {"_id": repo.name, "id": repo.name, "modelId": repo.name, "private": repo.private, "tags": []}
        self._json(found | {"sha": commit.oid, "siblings": siblings, "lastModified": WHEN, "createdAt": WHEN})

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
        if path.endswith(LARGE):
            sha = hashlib.sha256(data).hexdigest()
            entry["oid"] = blob_id(pointer(data))
            entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": len(pointer(data))}
        return entry

    def _tree(self, commit: Commit, folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        inside = {path: data for path, data in commit.files.items() if path.startswith(prefix)}
        if not inside:
            return self._error(404, "EntryNotFound", f"{folder} does not exist")
        found, folders = [], set()
        for path, data in sorted(inside.items()):
            rest = path.removeprefix(prefix)
            parents = [prefix + "/".join(rest.split("/")[:depth]) for depth in range(1, rest.count("/") + 1)]
            folders |= set(parents)
            if not parents or self.query.get("recursive") == ["True"] or self.query.get("recursive") == ["true"]:
                found.append(self._entry(path, data))
        found += [self._folder(path) for path in sorted(folders)]
        return self._json(found)

    def _folder(self, path: str) -> dict[str, Any]:
        return {"type": "directory", "path": path, "size": 0, "oid": blob_id(path.encode())}

    def _paths(self, commit: Commit) -> None:
        try:
            asked = json.loads(self.body)["paths"]
        except json.JSONDecodeError:
            asked = parse_qs(self.body.decode())["paths"]
        found = []
        for path in asked:
            if path in commit.files:
                found.append(self._entry(path, commit.files[path]))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                found.append(self._folder(path))
        return self._json(found)

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        if (repo := self._find(kind, name)) is None or (commit := self._commit_of(repo, revision)) is None:
            return
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            return self._error(404, "EntryNotFound", "Entry not found", **headers)
        data = commit.files[path]
        if not path.endswith(LARGE):
            return self._answer(data, kind="text/plain", ETag=f'"{blob_id(data)}"', **headers)
        sha = hashlib.sha256(data).hexdigest()
        self.server.stored[sha] = data
        headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{sha}"', "ETag": f'"{blob_id(pointer(data))}"'}
        return self._answer(b"", 302, Location=f"{self.server.storage}/storage/{sha}", **headers)

    def _storage(self, sha: str) -> None:
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != sha:
                return self._error(400, "", "the content is not what was announced")
            self.server.stored[sha] = self.body
            return self._answer(b"")
        return self._answer(self.server.stored[sha], kind="application/octet-stream", ETag=f'"{sha}"')

    def _batch(self, name: str) -> None:
        if not self._may_write(name):
            return
        objects = []
        for item in json.loads(self.body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.server.stored:
                hrefs = {
                    "upload": f"{self.server.storage}/storage/{item['oid']}",
                    "verify": f"{self.server.url}/verify",
                }
                entry["actions"] = {action: {"href": href} for action, href in hrefs.items()}
            objects.append(entry)
        return self._json({"transfer": "basic", "objects": objects})

    def _preupload(self, commit: Commit) -> None:
        found = []
        for item in json.loads(self.body)["files"]:
            held = commit.files.get(item["path"])
            large = item["path"].endswith(LARGE)
            entry = {"path": item["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if held is not None:
                entry["oid"] = hashlib.sha256(held).hexdigest() if large else blob_id(held)
            found.append(entry)
        self._json({"files": found})

    def _commit(self, repo: Repo) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, files = lines[0]["value"], {}
        if header.get("parentCommit", repo.head.oid) != repo.head.oid:
            return self._error(412, "", "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.stored:
                    return self._error(400, "", f"LFS pointer to a file that was not uploaded: {value['path']}")
                files[value["path"]] = self.server.stored[value["oid"]]
            else:
                return self._error(400, "", f"unknown operation {line['key']}")
        commit = repo.add(files, header["summary"])
        url = f"{self.server.url}/{repo.name}/commit/{commit.oid}"
        return self._json({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})
