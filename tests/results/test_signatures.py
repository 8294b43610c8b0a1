"""Signatures: valid for the records that were signed, by the key that signed them, and for nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tlbench.cli import main
from tlbench.plugins import Plugins
from tlbench.results.store import RunFolder
from tlbench.results.verify import verify

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytest.importorskip("cryptography", reason="signatures are an extra")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public one, as openssl makes them."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(private))
    openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    return private, public


def sign(folder: Path, key: Path, name: str = "A. Signer") -> Path:
    assert main(["sign", str(folder), "--key", str(key), "--name", name]) == 0
    (file,) = (folder / "signatures").iterdir()
    return file


def faults(folder: Path, plugins: Plugins, signer: Path | None = None) -> list[str]:
    return [f.line for f in verify(folder, plugins, signer=signer).faults if f.check == "signatures"]


def test_a_signed_run_is_accepted_with_its_signer_s_key(
    run_folder: Path, keys: tuple[Path, Path], plugins: Plugins
) -> None:
    sign(run_folder, keys[0])
    found = verify(run_folder, plugins, signer=keys[1])
    assert found.faults == ()
    assert any(note.startswith("signed by 'A. Signer' with ") for note in found.notes)


def test_openssl_itself_accepts_the_signature(run_folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """What is signed is stated: a line, and the canonical JSON of version, hashes, name and date."""
    import base64

    told = json.loads(sign(run_folder, keys[0]).read_text())
    said = {k: told[k] for k in ("version", "records", "run", "signer", "date")}
    message = b"tlbench run signature 1\n" + json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(base64.b64decode(told["signature"]))
    command = ["pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin"]
    openssl(*command, "-in", str(tmp_path / "message"), "-sigfile", str(tmp_path / "signature"))


def test_a_key_of_ssh_keygen_will_do(run_folder: Path, tmp_path: Path, plugins: Plugins) -> None:
    key = tmp_path / "id"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    sign(run_folder, key)
    assert faults(run_folder, plugins, key.with_suffix(".pub")) == []


def test_another_signer_is_not_the_one_asked_for(
    run_folder: Path, keys: tuple[Path, Path], tmp_path: Path, plugins: Plugins
) -> None:
    sign(run_folder, keys[0])
    other, public = tmp_path / "other.pem", tmp_path / "other-public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(other))
    openssl("pkey", "-in", str(other), "-pubout", "-out", str(public))
    (fault,) = faults(run_folder, plugins, public)
    assert "no valid signature by the key" in fault


def test_an_unsigned_run_is_not_accepted_where_a_signer_is_asked_for(
    run_folder: Path, keys: tuple[Path, Path], plugins: Plugins
) -> None:
    assert faults(run_folder, plugins) == []
    assert len(faults(run_folder, plugins, keys[1])) == 1


def test_records_that_changed_since_are_named(
    run_folder: Path, keys: tuple[Path, Path], plugins: Plugins, make: Any
) -> None:
    sign(run_folder, keys[0])
    with RunFolder(run_folder).writing() as writer:
        writer.write(make("new"))
    (fault,) = faults(run_folder, plugins)
    assert "they have changed since they were signed" in fault


def test_a_plan_that_changed_since_is_named(run_folder: Path, keys: tuple[Path, Path], plugins: Plugins) -> None:
    sign(run_folder, keys[0])
    plan = run_folder / "run.json"
    plan.write_text(plan.read_text() + " ")
    (fault,) = faults(run_folder, plugins)
    assert "run.json has changed since it was signed" in fault


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("signer", "Somebody Else", "was changed"),
        ("date", "2000-01-01", "was changed"),
        ("records", "0" * 64, "was changed"),
        ("signature", "AAAA", "was changed"),
        ("public_key", "AAAA", "no signature"),
        ("public_key", "not base64!", "no signature"),
        ("version", 2, "of version 2"),
        ("signer", 5, "no signature"),
        ("signature", None, "no signature"),
    ],
)
def test_a_changed_signature_is_named(
    run_folder: Path, keys: tuple[Path, Path], plugins: Plugins, field: str, value: object, reason: str
) -> None:
    file = sign(run_folder, keys[0])
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    found = faults(run_folder, plugins, keys[1])
    assert f"{file}: " in found[0]
    assert reason in found[0]
    assert len(found) == 2  # and the signer asked for is not there


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "x" * 70_000])
def test_a_file_that_is_no_signature_is_named(run_folder: Path, plugins: Plugins, text: str) -> None:
    (run_folder / "signatures").mkdir()
    (run_folder / "signatures" / "a.json").write_text(text)
    assert len(faults(run_folder, plugins)) == 1


@pytest.mark.parametrize(
    ("make_key", "reason"),
    [
        (lambda path: path.write_text("hello"), "no private key in PEM or OpenSSH form"),
        (lambda path: openssl("genpkey", "-algorithm", "x25519", "-out", str(path)), "not an Ed25519 key"),
        (
            lambda path: openssl(
                "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:xyzzy", "-out", str(path)
            ),
            "the key is encrypted",
        ),
        (lambda path: None, "no file with a key; `openssl genpkey"),
    ],
)
def test_a_key_that_cannot_sign_is_told_in_a_line(
    run_folder: Path, tmp_path: Path, make_key: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "bad.pem"
    make_key(key)
    assert main(["sign", str(run_folder), "--key", str(key)]) == 1
    assert reason in capsys.readouterr().err
    assert not (run_folder / "signatures").exists()


def test_without_the_library_it_is_said_how_to_get_it(
    run_folder: Path, keys: tuple[Path, Path], plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from tlbench.results.signatures import Unavailable

    sign(run_folder, keys[0])
    monkeypatch.setitem(sys.modules, "cryptography", None)
    found = verify(run_folder, plugins)
    skipped = {c.name: c.skipped for c in found.checks}
    assert skipped["signatures"] == "signatures need cryptography: pip install 'tlbench[sign]'"
    with pytest.raises(Unavailable):
        verify(run_folder, plugins, signer=keys[1])
