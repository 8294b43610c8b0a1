"""Compact: columns of texts as sequences that are small and quickly read, and make a text when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


class _Column(Sequence[str]):
    """Equal to every sequence of the same texts."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class Keys(_Column):
    """Keys of trials, 16 bytes each, as texts of 32 digits when they are asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @classmethod
    def of(cls, keys: Sequence[str]) -> Keys:
        return keys if isinstance(keys, Keys) else cls(bytes.fromhex("".join(keys)))

    def __len__(self) -> int:
        return len(self.content) // 16

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        place = range(len(self))[at]  # also from the end; raises IndexError
        return self.content[16 * place : 16 * place + 16].hex()

    def __iter__(self) -> Iterator[str]:
        digits = self.content.hex()
        return (digits[i : i + 32] for i in range(0, len(digits), 32))


class Texts(_Column):
    """Texts of which many are the same: those that there are, and the place [N] of each.

    Raises ``ValueError`` where a place is none.
    """

    def __init__(self, distinct: Sequence[str], places: Ints) -> None:
        if len(places) and not 0 <= places.min() <= places.max() < len(distinct):
            raise ValueError(f"places from {places.min()} to {places.max()} in {len(distinct)} texts")
        self.distinct, self.places = tuple(distinct), places

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        if isinstance(texts, Texts):
            return texts
        known: dict[str, int] = {}
        places = [known.setdefault(text, len(known)) for text in texts]
        return cls(tuple(known), np.array(places, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Texts: ...
    def __getitem__(self, at: int | slice) -> str | Texts:
        return Texts(self.distinct, self.places[at]) if isinstance(at, slice) else self.distinct[self.places[at]]
