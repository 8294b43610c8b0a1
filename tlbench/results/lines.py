"""Lines: a record as one line of JSON, with a checksum over the rest."""

from __future__ import annotations

import hashlib
import json
import re

from tlbench.api.records import Record

HEAD, NECK = b'{"check":"', b'","record":'
START = len(HEAD) + 24 + len(NECK)
"""Where the record begins in a line."""
_HEAD = re.compile(r'\{"check":"([0-9a-f]{24})","record":')


def to_line(record: Record) -> str:
    """One line of JSON with a checksum over the rest; ends in a newline."""
    body = json.dumps(record.to_json(), separators=(",", ":"), allow_nan=False)
    return f'{{"check":"{checksum(body)}","record":{body}}}\n'


def from_line(line: str) -> Record:
    """The inverse of ``to_line``. Raises ``ValueError`` where the line is damaged or no record."""
    return Record.from_json(json.loads(checked_body(line), parse_constant=no_number))


def checked_body(line: str) -> str:
    """The record's JSON in a line whose checksum is right. Raises ``ValueError``."""
    found = _HEAD.match(line)
    line = line.rstrip("\n")
    if found is None or not line.endswith("}"):
        raise ValueError("not a record")
    body = line[found.end() : -1]
    if checksum(body) != found[1]:
        raise ValueError("the checksum does not match: the line was changed or damaged")
    return body


def no_number(constant: str) -> None:
    """Refuses NaN and infinities, which Python's JSON reads and JSON does not have. Raises ``ValueError``."""
    raise ValueError(f"{constant} is no number of JSON")


def checksum(body: str) -> str:
    """Of a record's JSON: 24 hexadecimal digits."""
    return hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
