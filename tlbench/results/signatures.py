"""Signatures: who vouches for a run, by Ed25519 over the hashes of its records and of its plan.

``RUN/signatures/FINGERPRINT.json`` holds the public key, the signer's stated name, the date, what was signed and the
signature. That a signature is valid says that the holder of the key saw these records; who that is, is known only to
those who know the key. Needs the library ``cryptography``: ``pip install 'tlbench[sign]'``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tlbench.api.trials import canonical
from tlbench.errors import StoreError
from tlbench.results.integrity import contents, digests

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

VERSION = 1
_DOMAIN = b"tlbench run signature 1\n"
"""Goes before what is signed, so that the signature is of no use for anything else."""
_MOST_BYTES = 2**16
_MOST_FILES = 100
_MOST_NAME = 200
MAKE_A_KEY = "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"


class Unavailable(StoreError):
    """The library for signatures is not installed."""


@dataclass(frozen=True)
class Signature:
    """One signature of a run; ``fault`` says what is wrong with it, empty where it is valid for the run as it is."""

    file: Path
    signer: str = ""
    fingerprint: str = ""
    date: str = ""
    fault: str = ""


def sign(folder: Path, key: Path, signer: str) -> Path:
    """Sign the run in a folder with the private key in a file; the file of the signature.

    Raises ``StoreError`` where the key or the run cannot be read, ``Unavailable`` without the library.
    """
    from tlbench.leaderboard.forms.files import write_text

    private = private_key(key)
    name = " ".join(signer.split())[:_MOST_NAME]
    records, run = digests(folder)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    said = {"version": VERSION, "records": records, "run": run, "signer": name, "date": date}
    public = private.public_key()
    whole = {
        **said,
        "public_key": base64.b64encode(public.public_bytes_raw()).decode(),
        "signature": base64.b64encode(private.sign(_message(said))).decode(),
    }
    path = folder / "signatures" / f"{fingerprint(public)}.json"
    return write_text(path, json.dumps(whole, indent=1) + "\n")


def read(folder: Path, hashes: tuple[str, str]) -> list[Signature]:
    """All signatures of a run whose records and plan have these hashes. Raises ``Unavailable`` where there are some."""
    place = folder / "signatures"
    if place.is_symlink():
        return [Signature(place, fault="a link; signatures are read from the run folder alone")]
    files = sorted(place.glob("*.json"))
    if files:
        _library()
    found = [_checked(file, hashes) for file in files[:_MOST_FILES]]
    if len(files) > _MOST_FILES:
        found.append(Signature(place, fault=f"more than {_MOST_FILES} signatures"))
    return found


def _checked(file: Path, hashes: tuple[str, str]) -> Signature:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        told = json.loads(contents(file, _MOST_BYTES))
        if told.get("version") != VERSION:
            return Signature(
                file, fault=f"a signature of version {told.get('version')!r}; this tlbench reads {VERSION}"
            )
        said = {name: told[name] for name in ("version", "records", "run", "signer", "date")}
        if not all(isinstance(said[name], str) for name in ("records", "run", "signer", "date")):
            raise ValueError("a field is no text")
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(told["public_key"], validate=True))
        signature = base64.b64decode(told["signature"], validate=True)
        message = _message(said)
    except StoreError as error:
        return Signature(file, fault=str(error).removeprefix(f"{file}: "))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Signature(file, fault=f"no signature: {type(error).__name__}: {str(error)[:200]}")
    about = (file, said["signer"][:_MOST_NAME], fingerprint(public), said["date"][:40])
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return Signature(*about, fault="the signature is not by the key that it names, or what it says was changed")
    if said["records"] != hashes[0]:
        return Signature(*about, fault="it is of other records: they have changed since they were signed")
    if said["run"] != hashes[1]:
        return Signature(*about, fault="it is of another plan: run.json has changed since it was signed")
    return Signature(*about)


def _message(said: dict[str, Any]) -> bytes:
    return _DOMAIN + canonical(said).encode()


# ---- keys ----------------------------------------------------------------------------------------


def fingerprint(public: Ed25519PublicKey) -> str:
    """32 hexadecimal digits of SHA-256 over the public key's 32 bytes."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:32]


def private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM or OpenSSH file. Raises ``StoreError`` that never has any of the key in it."""
    _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    content = _key_file(path)
    load: Any = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        key = load(content, password=None)
    except TypeError:
        raise StoreError(f"{path}: the key is encrypted; give one that is not, from a safe place") from None
    except (ValueError, UnsupportedAlgorithm):
        raise StoreError(f"{path}: no private key in PEM or OpenSSH form; {MAKE_A_KEY}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreError(f"{path}: not an Ed25519 key; {MAKE_A_KEY}")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 public key in a PEM or OpenSSH file. Raises ``StoreError``."""
    _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    content = _key_file(path)
    load: Any = load_ssh_public_key if content.lstrip().startswith(b"ssh-") else load_pem_public_key
    make = "`openssl pkey -in key.pem -pubout` gives that of a private key"
    try:
        key = load(content)
    except (ValueError, UnsupportedAlgorithm):
        raise StoreError(f"{path}: no public key in PEM or OpenSSH form; {make}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise StoreError(f"{path}: not an Ed25519 key; {make}")
    return key


def _key_file(path: Path) -> bytes:
    try:
        content = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if content is None or len(content) > _MOST_BYTES:
        raise StoreError(f"{path}: no file with a key; {MAKE_A_KEY}")
    return content


def _library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise Unavailable("signatures need cryptography: pip install 'tlbench[sign]'") from error
