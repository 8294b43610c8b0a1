"""Publishing to the hub: the real library against a server on this machine, in a process of its own for each time."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.publish.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.publish.model import Bundle

_server = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))
WRITER, READER, Repository = _server["WRITER"], _server["READER"], _server["Repository"]

PUT = """
import json, sys
from pathlib import Path
from tlbench.errors import TlbenchError
from tlbench.publish.model import Bundle
from tlbench.publish.places import place
for to, folder, files in json.loads(sys.argv[1]):
    try:
        print(json.dumps(place(to).put(Bundle(Path(folder), files))))
    except TlbenchError as error:
        print(json.dumps({"error": str(error)}))
"""


def environment(hub: Any, home: Path, token: str | None) -> dict[str, str]:
    """Nothing of the hub on this machine but what is in ``home``."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
    known |= {"HF_HOME": str(home), "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
              "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}  # fmt: skip
    return known | ({"HF_TOKEN": token} if token else {})


def put(hub: Any, home: Path, *what: tuple[str, Bundle], token: str | None = WRITER, **more: str) -> list[Any]:
    """Publish, one after another; what came of each. No token is in what was printed or written."""
    home.mkdir(exist_ok=True)
    asked = json.dumps([(to, str(bundle.folder), bundle.files) for to, bundle in what])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PUT, asked],
        env=environment(hub, home, token) | more, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for secret in (WRITER, READER):
        assert secret not in done.stdout + done.stderr
        stored = [p for p in home.rglob("*") if p.is_file() and p.name != "token"]
        assert not [p for p in stored if secret.encode() in p.read_bytes()]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_is_made_and_filled_in_one_commit_and_a_second_time_nothing_happens(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    bundle = bundle_of(README_md="---\nconfigs: []\n---\n", downloads__pairs_parquet="PAR1", runs__a__run_json="{}")
    to = "hf://datasets/acme/board"
    first, second = put(hub, tmp_path / "home", (to, bundle), (to, bundle))
    repository = hub.repositories["dataset", "acme/board"]
    assert first == [f"{hub.address}/datasets/acme/board", True, 0]
    assert second == [f"{hub.address}/datasets/acme/board", False, 0]
    assert len(repository.commits) == 2  # that of the hub, which makes it, and ours
    assert {name: repository.files[name] for name in bundle.files} == {
        name: (bundle.folder / name).read_bytes() for name in bundle.files
    }
    assert repository.created["type"] == "dataset"


def test_an_update_takes_out_what_is_stale_and_leaves_what_others_put_there(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    to = "hf://datasets/acme/board"
    put(hub, tmp_path / "home", (to, bundle_of(a_txt="1", b_txt="2", README_md="---\na: 1\n---\n")))
    repository = hub.repositories["dataset", "acme/board"]
    repository.files["THEIRS.md"] = b"by hand"
    (done,) = put(hub, tmp_path / "home", (to, bundle_of(a_txt="1", c_txt="3", README_md="---\na: 1\n---\n")))
    assert done[1:] == [True, 1]
    assert repository.commits[-1][1:] == (["c.txt", MANIFEST], ["b.txt"])
    assert sorted(repository.files) == [".gitattributes", "README.md", "THEIRS.md", "a.txt", "c.txt", MANIFEST]


def test_a_new_space_is_static_and_its_example_page_goes(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    bundle = bundle_of(README_md="---\nsdk: static\n---\n", index_html="ours", downloads__pairs_parquet="PAR1")
    (done,) = put(hub, tmp_path / "home", ("hf://spaces/acme/board", bundle))
    repository = hub.repositories["space", "acme/board"]
    assert done[:2] == [f"{hub.address}/spaces/acme/board", True]
    assert repository.created["sdk"] == "static"
    assert repository.files["index.html"] == b"ours"
    assert "style.css" not in repository.files
    assert ".gitattributes" in repository.files


def test_a_repository_with_other_content_is_left_alone(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    before = {"train.parquet": b"precious", "README.md": b"---\na: 1\n---\n"}
    hub.repositories["dataset", "acme/real-data"] = Repository(dict(before))
    (done,) = put(hub, tmp_path / "home", ("hf://datasets/acme/real-data", bundle_of(a_txt="1")))
    assert "'train.parquet'" in done["error"]
    assert "did not put there" in done["error"]
    assert hub.repositories["dataset", "acme/real-data"].files == before


def test_a_commit_of_somebody_else_meanwhile_is_kept_and_ours_goes_on_top(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    def theirs(repository: Any) -> None:
        repository.files["THEIRS.md"] = b"by hand"
        repository.commits.append(("theirs", ["THEIRS.md"], []))

    to = "hf://datasets/acme/board"
    put(hub, tmp_path / "home", (to, bundle_of(a_txt="1")))
    hub.before_commit = [theirs]
    (done,) = put(hub, tmp_path / "home", (to, bundle_of(a_txt="2")))
    repository = hub.repositories["dataset", "acme/board"]
    assert done[1]
    assert repository.commits[-2][0] == "theirs"
    assert repository.files["a.txt"] == b"2"
    assert repository.files["THEIRS.md"] == b"by hand"


def test_without_a_token_nothing_is_asked_and_the_command_that_logs_in_is_named(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    (done,) = put(hub, tmp_path / "home", ("hf://datasets/acme/board", bundle_of(a_txt="1")), token=None)
    assert "hf auth login" in done["error"]
    assert "HF_TOKEN" in done["error"]
    assert hub.requests == []


def test_the_token_that_the_tool_itself_stored_is_used(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(WRITER)
    (done,) = put(hub, home, ("hf://datasets/acme/board", bundle_of(a_txt="1")), token=None)
    assert done[1]


@pytest.mark.parametrize(
    ("token", "owner", "words"),
    [
        ("hf_expiredEXPIREDexpired", "acme", ["does not take the token", "hf auth login"]),
        (READER, "acme", ["may not write to 'acme'", "hf auth login"]),
        (WRITER, "others", ["may not write to 'others'", "don't have the rights"]),
    ],
)
def test_a_refused_token_is_said_with_what_helps(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle], token: str, owner: str, words: list[str]
) -> None:
    (done,) = put(hub, tmp_path / "home", (f"hf://datasets/{owner}/board", bundle_of(a_txt="1")), token=token)
    for word in words:
        assert word in done["error"]
    assert token not in done["error"]
    assert hub.repositories == {}


MISHAPS: list[tuple[str, list[Any], list[str]]] = [
    ("POST api/datasets/{}/commit", [None, 500], ["failed with 500", "nothing was committed", "tries again"]),
    ("POST api/datasets/{}/commit", [None, 409, 412], ["somebody else is writing"]),
    ("POST api/datasets/{}/commit", [None, 404], ["knows no 'acme'"]),
    ("POST api/datasets/{}/commit", [None, "cut"], ["did not answer as it should", "tries again"]),
    ("POST api/datasets/{}/preupload", [None, 403], ["may not write to 'acme'"]),
    ("POST datasets/{}.git/info/lfs", [400], ["refused with 400"]),
    ("GET api/datasets/{}", [None, None, 400], ["refused with 400"]),
    ("HEAD datasets/{}/resolve", [400], ["refused with 400"]),
]
"""Where, in the second publication, something goes wrong, and what is said of it."""


def test_a_hub_that_fails_is_said_and_changes_nothing(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    first, second = bundle_of(a_txt="1"), bundle_of(a_txt="2", b_parquet="PAR1")
    names = [f"acme/board-{number}" for number in range(len(MISHAPS))]
    for name, (at, answers, _) in zip(names, MISHAPS, strict=True):
        hub.mishaps[at.format(name)] = list(answers)
    done = put(hub, tmp_path / "home", *((f"hf://datasets/{name}", b) for name in names for b in (first, second)))
    for name, came, (at, answers, words) in zip(names, done[1::2], MISHAPS, strict=True):
        assert all(word in came["error"] for word in words), came
        assert "\x1b" not in came["error"]
        files = hub.repositories["dataset", name].files
        assert files.keys() - {".gitattributes"} == first.files.keys()
        assert files["a.txt"] == b"1"
        assert len(hub.mishaps[at.format(name)]) < len(answers)


def test_a_hub_that_is_not_there_or_forbidden_is_said(
    hub: Any, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    what = ("hf://datasets/acme/board", bundle_of(a_txt="1"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it, and it refuses
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        (done,) = put(hub, tmp_path / "home", what, HF_ENDPOINT=away)
    assert away in done["error"]
    assert "tries again" in done["error"]
    (done,) = put(hub, tmp_path / "home", what, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in done["error"]
    assert hub.requests == []


def test_the_command_publishes_a_run_with_a_card_whose_tables_are_there(hub: Any, tmp_path: Path, run: Path) -> None:
    import yaml

    words = [
        sys.executable,
        "-m",
        "tlbench.cli",
        "publish",
        str(run),
        "--no-plugins",
        "--to",
        "hf://datasets/acme/board",
    ]
    env = environment(hub, tmp_path / "home", WRITER)
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert WRITER not in done.stdout + done.stderr
    files = hub.repositories["dataset", "acme/board"].files
    header = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    tables = {c["config_name"]: c["data_files"][0]["path"] for c in header["configs"]}
    assert set(tables) == {"leaderboard", "pairs", "trials"}
    assert all(files[path][:4] == b"PAR1" for path in tables.values())
    assert not [name for name, content in files.items() if WRITER.encode() in content]
