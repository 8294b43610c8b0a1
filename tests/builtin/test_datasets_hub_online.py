"""The data set ``hub`` over HTTP: a server on this machine speaks the hub's protocol for one tiny data set."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
license: cc0-1.0
configs:
- config_name: plain
  default: true
  data_files:
  - split: train
    path: data/train.parquet
  - split: test
    path: data/test.parquet
- config_name: other
  data_files:
  - split: train
    path: data/test.parquet
---
# Tiny
"""

LOAD = """
import json, sys
from pathlib import Path
from tlbench.builtin.hub import Hub
from tlbench.data.cache import DataCache
from tlbench.errors import DataError
folder, params = Path(sys.argv[1]), json.loads(sys.argv[2])
try:
    d = Hub(**params).load(DataCache(folder / "cache", None, folder))
except DataError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({
        "splits": {k: [s.x.tolist(), s.y.tolist()] for k, s in d.splits.items()},
        "names": d.label_names, "licence": d.licence, "source": d.source, "notes": d.notes,
    }))
"""


@dataclass
class Hub:
    """The files of the one repository, and what was asked for."""

    files: dict[str, bytes]
    port: int = 0
    requests: list[str] = field(default_factory=list)


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

        def json(self, value: Any) -> None:
            self.reply(200, json.dumps(value).encode(), Content_Type="application/json")

        def file(self, path: str) -> None:
            if path not in hub.files:
                return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=SHA)
            body = hub.files[path]
            status, extra = 200, {}
            if (asked := self.headers.get("Range")) is not None:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
                extra["Content_Range"] = f"bytes {start}-{end}/{len(body)}"
                status, body = 206, body[start : end + 1]
            return self.reply(status, body, ETag=f'"{hash(path) & 0xFFFFFFFF:x}"', X_Repo_Commit=SHA,
                              Accept_Ranges="bytes", **extra)  # fmt: skip

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            hub.requests.append(f"{self.command} {path}")
            rest = path.removeprefix("api/").removeprefix("datasets/")
            if not rest.startswith("acme/tiny"):
                return self.reply(404, X_Error_Code="RepoNotFound")
            what, _, rest = rest.removeprefix("acme/tiny").strip("/").partition("/")
            revision, _, rest = rest.partition("/")
            if revision not in ("", "main", SHA):
                return self.reply(404, X_Error_Code="RevisionNotFound")
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": f"{i:040x}"}
                for i, (name, data) in enumerate(hub.files.items())
            ]
            if what == "resolve":
                return self.file(rest)
            if what == "tree":
                inside = [e for e in entries if not rest or str(e["path"]).startswith(f"{rest}/")]
                return self.json(inside) if inside else self.reply(404, X_Error_Code="EntryNotFound")
            if what == "paths-info":
                if self.headers.get("Content-Type", "").startswith("application/json"):
                    paths = json.loads(body)["paths"]
                else:
                    paths = parse_qs(body)["paths"]
                folders = [
                    {"type": "directory", "path": p, "oid": SHA}
                    for p in paths
                    if any(name.startswith(f"{p}/") for name in hub.files)
                ]
                return self.json([e for e in entries if e["path"] in paths] + folders)
            if what in ("", "revision"):
                siblings = [{"rfilename": name} for name in hub.files]
                state = {"private": False, "gated": False, "disabled": False}
                numbers = {"downloads": 0, "likes": 0, "tags": []}
                return self.json({"_id": "1", "id": "acme/tiny", "sha": SHA, "siblings": siblings, **state, **numbers})
            return self.reply(404, X_Error_Code="EntryNotFound")

        do_HEAD = do_POST = do_GET  # noqa: N815  # names that the base class looks for

    return Handler


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _pixels(row: int) -> np.ndarray:
    return np.arange(12, dtype=np.uint8).reshape(3, 4) + 20 * row


def _parquet(rows: range) -> bytes:
    """Images of 3 × 4 pixels that tell their row; the labels are texts, as in many data sets."""
    import datasets

    out = io.BytesIO()
    table = {"picture": [{"bytes": _png(_pixels(i)), "path": None} for i in rows], "label": ["ab"[i % 2] for i in rows]}
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.Value("string")})
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(table, features=features).to_parquet(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    files = {
        "README.md": CARD.encode(),
        "data/train.parquet": _parquet(range(6)),
        "data/test.parquet": _parquet(range(6, 10)),
    }
    state = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def _load(hub: Hub, folder: Path, offline: bool = False, cwd: Path | None = None, **params: Any) -> dict[str, Any]:
    """Load in a process of its own, with nothing of the hub on this machine but what is in ``folder``."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
    environment |= {
        "HF_HOME": str(folder / "home"),
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}",
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), json.dumps(params)],
        env=environment, cwd=cwd or folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_data_set_of_the_hub_arrives_whole_and_a_second_time_without_its_files(hub: Hub, tmp_path: Path) -> None:
    first = _load(hub, tmp_path, id="acme/tiny")
    for split, rows in (("train", range(6)), ("test", range(6, 10))):
        x, y = first["splits"][split]
        assert x == [[_pixels(i).tolist()] for i in rows]
        assert y == [i % 2 for i in rows]
    assert first["names"] == ["a", "b"]
    assert first["licence"] == "cc0-1.0"
    assert SHA in first["source"]
    assert "given split 'test'" in first["notes"]

    hub.requests.clear()
    assert _load(hub, tmp_path, id="acme/tiny", revision=SHA)["splits"] == first["splits"]
    assert not [r for r in hub.requests if r.startswith("GET") and r.endswith(".parquet")]

    hub.requests.clear()
    assert _load(hub, tmp_path, offline=True, id="acme/tiny") == first
    assert not hub.requests

    another = "f" * 40
    assert another in _load(hub, tmp_path, offline=True, id="acme/tiny", revision=another)["error"]


def test_a_configuration_is_loaded_by_name(hub: Hub, tmp_path: Path) -> None:
    loaded = _load(hub, tmp_path, id="acme/tiny", config="other")
    assert sorted(len(y) for _, y in loaded["splits"].values()) == [2, 2]
    assert "set aside" in loaded["notes"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"id": "acme/huge"}, ["acme/huge", "no such data set", "--data-root"]),
        ({"id": "acme/tiny", "revision": "v9"}, ["no such data set at revision 'v9'"]),
        ({"id": "acme/tiny", "config": "plane"}, ["unknown config 'plane'", "Did you mean 'plain'?", "other"]),
        ({"id": "acme/tiny", "train": "trian"}, ["unknown split 'trian'", "Did you mean 'train'?"]),
        ({"id": "acme/tiny", "label_column": "lable"}, ["unknown column 'lable'", "Did you mean 'label'?", "picture"]),
    ],
)
def test_what_the_hub_does_not_have_is_said(hub: Hub, tmp_path: Path, params: dict[str, str], words: list[str]) -> None:
    error = _load(hub, tmp_path, **params)["error"]
    for word in words:
        assert word in error


def test_offline_and_not_there_names_the_data_root(hub: Hub, tmp_path: Path) -> None:
    error = _load(hub, tmp_path, offline=True, id="acme/tiny")["error"]
    assert "HF_HUB_OFFLINE=1" in error
    assert "--data-root" in error


@pytest.mark.slow  # the library asks again and again for half a minute
def test_a_hub_that_does_not_answer_is_said(tmp_path: Path) -> None:
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it, and it refuses
        error = _load(Hub({}, unused.getsockname()[1]), tmp_path, id="acme/tiny")["error"]
    assert "cannot be reached" in error
    assert "--data-root" in error


def test_a_folder_of_the_same_name_where_one_stands_is_not_mistaken_for_the_hub(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "acme" / "tiny").mkdir(parents=True)
    assert "./acme/tiny" in _load(hub, tmp_path, id="acme/tiny")["error"]
