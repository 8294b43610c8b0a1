"""A hub on this machine: as much of the protocol as an upload needs, with tokens, roles, a history and mishaps."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITER, READER = "hf_writerWRITERwriterWRITER", "hf_readerREADERreaderREADER"
KINDS = ("dataset", "space")


@dataclass
class Repository:
    """Files by path, and every commit: its message, what it added and what it deleted."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[tuple[str, list[str], list[str]]] = field(default_factory=list)
    created: dict[str, Any] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(self.commits).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """``mishaps``: how a request begins -> its answers in turn: a status, ``cut``, or ``None`` for the right one."""

    port: int = 0
    owners: tuple[str, ...] = ("acme",)
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    mishaps: dict[str, list[Any]] = field(default_factory=dict)
    before_commit: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def oid(content: bytes) -> str:
    """The name that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def json(self, value: Any, status: int = 200) -> None:
            self.reply(status, json.dumps(value).encode(), Content_Type="application/json")

        def refuse(self, status: int, said: str, **headers: str) -> None:
            self.reply(status, json.dumps({"error": said}).encode(), Content_Type="application/json", **headers)

        def answer(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.requests.append(f"{self.command} {path}")
            for start, answers in hub.mishaps.items():
                if f"{self.command} {path}".startswith(start) and answers:
                    status = answers.pop(0)
                    if status is None:
                        continue
                    if status == "cut":
                        self.close_connection = True
                        return None
                    return self.refuse(status, f"a mishap of {status} \x1b[31m")
            if path.startswith("objects/"):  # an address of storage, which gets no token
                return self.store(path.removeprefix("objects/"))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if token not in (WRITER, READER):
                return self.refuse(401, "Invalid username or password.")
            if path == "api/validate-yaml":
                header = json.loads(self.body)["content"].split("---\n")[1]
                errors = [] if isinstance(yaml.safe_load(header), dict) else [{"message": "no header"}]
                return self.json({"errors": errors, "warnings": []})
            if path == "api/repos/create":
                return self.create(token)
            for kind in KINDS:
                for start in (f"api/{kind}s/", f"{kind}s/"):
                    if path.startswith(start):
                        return self.repository(kind, path.removeprefix(start), token)
            return self.refuse(404, "no such page")

        def create(self, token: str) -> None:
            asked = json.loads(self.body)
            if token != WRITER or asked["organization"] not in hub.owners:
                return self.refuse(403, f"You don't have the rights to create a repository in {asked['organization']}")
            name = f"{asked['organization']}/{asked['name']}"
            if (asked["type"], name) in hub.repositories:
                return self.refuse(409, "You already created this repository")
            files = {".gitattributes": b"*.parquet filter=lfs\n"}
            if asked["type"] == "space":
                files |= {
                    "index.html": b"an example",
                    "style.css": b"an example",
                    "README.md": b"---\nsdk: static\n---\n",
                }
            hub.repositories[asked["type"], name] = Repository(files, [("initial commit", [*files], [])], asked)
            return self.json({"url": f"{hub.address}/{asked['type']}s/{name}"})

        def repository(self, kind: str, path: str, token: str) -> None:
            name = "/".join(path.split("/")[:2]).removesuffix(".git")
            repository = hub.repositories.get((kind, name))
            what = "/".join(path.split("/")[2:])
            if repository is None:
                return self.refuse(404, "Repository not found", X_Error_Code="RepoNotFound")
            if what in ("", "revision/main"):
                siblings = [{"rfilename": file} for file in repository.files]
                state = {"private": False, "disabled": False, "gated": False, "downloads": 0, "likes": 0, "tags": []}
                return self.json({"_id": "1", "id": name, "sha": repository.sha, "siblings": siblings, **state})
            if what.startswith("resolve/"):
                return self.file(repository, "/".join(what.split("/")[2:]))
            if token != WRITER:
                return self.refuse(403, "Forbidden: you need a token of the role write")
            if what == "preupload/main":
                return self.json({"files": [self.mode(repository, f) for f in json.loads(self.body)["files"]]})
            if what == "info/lfs/objects/batch":
                objects = json.loads(self.body)["objects"]
                return self.json({"transfer": "basic", "objects": [self.upload(o) for o in objects]})
            if what == "commit/main":
                return self.commit(repository, kind, name)
            return self.refuse(404, f"no {what}")

        def mode(self, repository: Repository, asked: dict[str, Any]) -> dict[str, Any]:
            large = asked["path"].endswith(".parquet")
            there = repository.files.get(asked["path"])
            known = None if there is None else hashlib.sha256(there).hexdigest() if large else oid(there)
            mode = "lfs" if large else "regular"
            return {
                "path": asked["path"],
                "uploadMode": mode,
                "shouldIgnore": False,
                **({"oid": known} if known else {}),
            }

        def upload(self, asked: dict[str, Any]) -> dict[str, Any]:
            if asked["oid"] in hub.objects:
                return asked
            return asked | {"actions": {"upload": {"href": f"{hub.address}/objects/{asked['oid']}"}}}

        def store(self, name: str) -> None:
            if hashlib.sha256(self.body).hexdigest() != name:
                return self.refuse(400, "the content is another")
            hub.objects[name] = self.body
            return self.reply(200)

        def file(self, repository: Repository, path: str) -> None:
            if path not in repository.files:
                return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=repository.sha)
            content = repository.files[path]
            return self.reply(200, content, ETag=f'"{oid(content)}"', X_Repo_Commit=repository.sha)

        def commit(self, repository: Repository, kind: str, name: str) -> None:
            if hub.before_commit:
                hub.before_commit.pop(0)(repository)
            lines = [json.loads(line) for line in self.body.splitlines()]
            header = next(line["value"] for line in lines if line["key"] == "header")
            if header.get("parentCommit") not in (None, repository.sha):
                return self.refuse(412, "A commit has happened since. Please refresh and try again.")
            added, gone = [], []
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                    added.append(value["path"])
                elif line["key"] == "lfsFile":
                    repository.files[value["path"]] = hub.objects[value["oid"]]
                    added.append(value["path"])
                elif line["key"] == "deletedFile":
                    del repository.files[value["path"]]
                    gone.append(value["path"])
            repository.commits.append((header["summary"], added, gone))
            address = f"{hub.address}/{kind}s/{name}/commit/{repository.sha}"
            return self.json({"success": True, "commitOid": repository.sha, "commitUrl": address, "hookOutput": ""})

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815  # names that the base class looks for

    return Handler


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers at ``address`` until the end of the block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
