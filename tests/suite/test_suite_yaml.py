"""The YAML reader: values as they are meant, the place of each, and nothing but SuiteError for what is wrong."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.errors import SuiteError
from tlbench.suite.yaml import MAX_BYTES, Document, parse, read

if TYPE_CHECKING:
    from pathlib import Path


def values(text: str) -> object:
    return parse(text.encode(), "s.yaml").data


def problem(content: str | bytes) -> str:
    with pytest.raises(SuiteError) as caught:
        parse(content.encode() if isinstance(content, str) else content, "s.yaml")
    return str(caught.value)


def test_scalars_are_read_as_yaml_1_2_reads_them() -> None:
    text = "[1, -2, 010, 0o10, 0x1f, 1.5, .5, 1e-3, 2E5, 1:30, 2024-01-01, ~, null, , abc, '5', \"no\", true, 1_000]"
    assert values(text.replace(", ,", ", ~,")) == [
        1, -2, 10, 8, 31, 1.5, 0.5, 0.001, 200000.0, "1:30", "2024-01-01", None, None, None,
        "abc", "5", "no", True, "1_000",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["no", "No", "OFF", "yes", "on"])
def test_the_old_booleans_are_read_and_what_was_written_is_remembered(text: str) -> None:
    document = parse(f"a: {text}".encode(), "s.yaml")
    assert document.data == {"a": text.lower() in ("yes", "on")}
    assert document.written == {("a",): text}


def test_a_written_tag_of_the_core_counts() -> None:
    assert values("[!!str 5, !!float 3, !!int '7', !!seq [a], !!map {b: c}]") == ["5", 3.0, 7, ["a"], {"b": "c"}]


def test_every_value_and_key_knows_its_line_and_column() -> None:
    document = parse(b"a: 1\nb:\n  - x\n  - {c: 2}\n", "s.yaml")
    assert document.mark(("a",)) == ("s.yaml", 1, 4)
    assert document.mark(("a",), key=True) == ("s.yaml", 1, 1)
    assert document.mark(("b", 1, "c")) == ("s.yaml", 4, 9)
    assert document.mark(("b", 1, "c"), key=True) == ("s.yaml", 4, 6)
    assert document.mark(("b", 0, "absent")) == ("s.yaml", 3, 5)


def test_an_alias_is_its_anchors_value() -> None:
    assert values("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "s.yaml:3:1: 'a' is there already, in line 1"),
        (
            "a: !!python/name:os.system x",
            "s.yaml:1:4: the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed",
        ),
        ("a: !mine 1", "s.yaml:1:4: the tag '!mine' is not allowed here"),
        ("a: !!timestamp 2024-01-01", "s.yaml:1:4: the tag"),
        ("a: !!int five", "s.yaml:1:4: 'five' is not of the kind int that its tag says"),
        ("? [1, 2]\n: 3", "s.yaml:1:3: a key must be plain text"),
        ("a: &x {b: 1}\nc: {<<: *x}", "s.yaml:2:5: merge keys"),
        ("a: .inf", "s.yaml:1:4: a number must be finite, got '.inf'"),
        ("a: 1e999", "s.yaml:1:4: a number must be finite"),
        ("a: 9223372036854775808", "s.yaml:1:4: '9223372036854775808' does not fit 64 bits"),
        ('a: "\\e[31m"', "s.yaml:1:4: control characters are not allowed"),
        ("a: [1", "s.yaml:1:6: expected ',' or ']'"),
        ("a: *b", "s.yaml:1:4: found undefined alias"),
        ("a: 1\n---\nb: 2", "s.yaml:2:1: but found another document"),
        ("a: \x07", "s.yaml:1:4: the character #x0007 is not allowed"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column(text: str, message: str) -> None:
    assert message in problem(text)


def test_all_problems_of_the_values_come_at_once_in_the_order_of_the_file() -> None:
    lines = problem("b: .nan\na: !x 1\nb: 2").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["s.yaml:1:4:", "s.yaml:2:4:", "s.yaml:3:1:"]


def test_bytes_that_are_no_utf_8_are_pointed_at() -> None:
    assert problem(b"a: 1\nb: caf\xe9") == "s.yaml:2:7: not UTF-8 (byte 0xe9)"


def test_deep_nesting_is_refused_whatever_its_form() -> None:
    assert "nested deeper than 20 levels" in problem("[" * 5000)
    assert "nested deeper than 20 levels" in problem("{a: " * 5000)
    assert "nested deeper than 20 levels" in problem("- " * 5000)
    assert values("[" * 20 + "]" * 20) is not None


def test_an_alias_that_holds_itself_is_refused() -> None:
    assert "nested deeper than 20 levels" in problem("&a [*a]")


def test_a_bomb_of_aliases_is_refused_in_a_moment() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    start = time.perf_counter()
    assert "more than 100,000 values" in problem("\n".join(lines))
    assert time.perf_counter() - start < 20


def test_a_file_of_many_values_is_refused() -> None:
    assert "more than 100,000 values" in problem("[" + "1," * 100_001 + "]")


def test_a_large_file_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SuiteError, match="larger than 1,000,000 bytes"):
        read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="there is no such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(SuiteError, match="this is a folder"):
        read(tmp_path)


def test_a_loop_of_links_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "a.yaml")
    with pytest.raises(SuiteError, match="cannot be read"):
        read(tmp_path / "a.yaml")


def test_an_empty_file_is_nothing() -> None:
    assert parse(b"", "s.yaml") == Document("s.yaml", None)
    assert values("# only a comment") is None


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    # safe_dump writes YAML 1.1, where 1E5 without a dot is a text and needs no quotes; in 1.2 it is a number
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(lambda s: not re.search(r"\d[eE][-+]?\d", s)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(plain)
@settings(max_examples=150, deadline=None)
def test_plain_data_written_as_json_or_yaml_comes_back(data: object) -> None:
    assert values(json.dumps(data)) == data
    assert values(yaml.safe_dump(data)) == data


def reads_or_says_what_is_wrong(content: bytes) -> None:
    error: SuiteError | None = None
    document = Document("s.yaml", None)
    try:
        document = parse(content, "s.yaml")
    except SuiteError as caught:
        error = caught
    assert error is None or (error.problems and all(line.startswith("s.yaml:") for line in error.problems))
    assert all(mark.line >= 1 and mark.column >= 1 for mark in document.values.values())


@given(st.binary(max_size=200))
@settings(max_examples=400, deadline=None)
def test_random_bytes_give_values_or_a_suite_error(content: bytes) -> None:
    reads_or_says_what_is_wrong(content)


@given(
    st.lists(
        st.sampled_from([*list("[]{}:,-?&*!|>%@`'\"#\n ~<=ab01.\\\t"), "&a ", "*a", "!!", "---", "...", "  - "]),
        max_size=60,
    )
)
@settings(max_examples=600, deadline=None)
def test_random_pieces_of_yaml_give_values_or_a_suite_error(pieces: list[str]) -> None:
    reads_or_says_what_is_wrong("".join(pieces).encode())
