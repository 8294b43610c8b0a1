"""Soundness: what a data set must give, looked at once when it is loaded, so that a fault is not found by torch later.

Nothing is copied. Values are read only of labels, which are small, and of floats, where NaN may hide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.api.data import Domain, Split
from tlbench.data.rows import Rows, pieces
from tlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlbench.api.data import Array

MUCH = 1 << 26
"""Bytes of an array on the disk beyond which its values are not read for this."""
_DTYPES = {"image": np.dtype(np.uint8), "features": np.dtype(np.float32)}
_REMEDIES = {
    "image": "bring the values to 0 .. 255 and use .astype(np.uint8)",
    "features": "use .astype(np.float32)",
}


def require_sound(domain: object, name: str, *, thorough: bool = False) -> None:
    """Raise ``DataError`` with the data set's name, the field, its value and the remedy, for the first fault.

    ``thorough``: also values of large arrays on the disk.
    """
    for fault in _faults(domain, thorough):
        raise DataError(f"the data set {name!r}: {fault}")


def _faults(domain: object, thorough: bool) -> Iterator[str]:
    if not isinstance(domain, Domain):
        yield f"load() returned a {type(domain).__name__}; return a tlbench.Domain"
        return
    if domain.kind not in (*_DTYPES, "graph"):
        yield f"kind is {domain.kind!r}; it must be 'image', 'features' or 'graph'"
    if not {"train", "test"} <= set(domain.splits):
        yield f"a domain needs train and test splits; this one has {sorted(domain.splits)}"
    if not domain.label_names:
        yield "label_names is empty; name every class, in the order of the labels"
    for name, split in domain.splits.items():
        if not isinstance(split, Split):
            yield f"the split {name} is a {type(split).__name__}; make it a tlbench.Split"
            return
        yield from _labels(split, name, domain.num_classes)
        yield from _examples(split, name, domain, thorough)
        yield from _groups(split, name, domain)
    yield from _classes(domain)


def _labels(split: Split, name: str, num_classes: int) -> Iterator[str]:
    y = split.y
    if not isinstance(y, np.ndarray):
        yield f"labels of {name} are a {type(y).__name__}; expected a NumPy array int64 [N]"
    if y.ndim != 1:
        yield f"labels of {name} have shape {list(y.shape)}; expected one label for each example, [N]"
    if not len(y):
        yield f"the split {name} is empty; leave out a split that has no examples (train and test must have some)"
    if y.dtype != np.int64:
        yield f"labels of {name} are {y.dtype}, expected int64; number the classes from 0 and use .astype(np.int64)"
    least, most = int(y.min()), int(y.max())
    if least < 0:
        yield f"the split {name} has negative labels ({least}); labels are 0 .. {num_classes - 1}"
    if most >= num_classes:
        remedy = "labels start at 0: subtract 1" if least > 0 and most == num_classes else "name every class"
        yield (
            f"the split {name} has labels beyond its {num_classes} classes: {least} .. {most}, "
            f"and label_names has {num_classes} names; {remedy}"
        )


def _examples(split: Split, name: str, domain: Domain, thorough: bool) -> Iterator[str]:
    parts, train = _parts(split.x), _parts(domain.splits["train"].x)
    if list(parts) != list(train):
        yield f"the examples of {name} have the parts {sorted(parts)}, those of train {sorted(train)}"
    for part, x in parts.items():
        what = f"{name} ({part})" if part else name
        if not isinstance(x, np.ndarray | Rows):
            yield f"the examples of {what} are a {type(x).__name__}; expected a NumPy array"
        if len(x) != len(split.y):
            yield f"{what} has {len(x)} examples and {len(split.y)} labels; there is one label for each example"
        expected = x.dtype if part else _DTYPES.get(domain.kind, x.dtype)
        if x.dtype != expected:
            yield f"{what} is {x.dtype}, expected {expected} for kind {domain.kind!r}; {_REMEDIES[domain.kind]}"
        if domain.kind == "image" and not part and x.ndim != 4:
            yield f"the images of {what} have shape {list(x.shape)}; expected [N, channels, height, width]"
        if domain.kind == "features" and x.ndim < 2:
            yield f"the features of {what} have shape {list(x.shape)}; expected [N, D]"
        if tuple(x.shape[1:]) != tuple(train[part].shape[1:]):
            yield f"examples of {what} have shape {tuple(x.shape[1:])}, those of train {tuple(train[part].shape[1:])}"
        if x.dtype.kind == "f" and (thorough or _is_at_hand(x)) and not _is_finite(x):
            yield f"{what} has values that are not finite; fill in or leave out what is missing"


def _groups(split: Split, name: str, domain: Domain) -> Iterator[str]:
    group, count = split.group, len(domain.group_names)
    if (group is None) != (not count):
        yield "groups of examples go into every split, and their names into `group_names`"
    if group is None:
        return
    if group.dtype != np.int64:
        yield f"the groups of {name} are {group.dtype}, expected int64; use .astype(np.int64)"
    if group.shape != split.y.shape:
        yield f"{name} has {len(group)} groups and {len(split.y)} labels; there is one group for each example"
    if int(group.min()) < 0:
        yield f"the split {name} has negative groups ({int(group.min())}); groups are 0 .. {count - 1}"
    if int(group.max()) >= count:
        yield f"the split {name} has groups beyond its {count} names, up to {int(group.max())}; name every group"


def _classes(domain: Domain) -> Iterator[str]:
    """What is said of each class."""
    for field in ("class_attributes", "groups"):
        values = getattr(domain, field)
        if values is None:
            continue
        if len(values) != domain.num_classes:
            yield f"{field} has {len(values)} rows and label_names {domain.num_classes} names; give one for each class"
        if not np.isfinite(values).all():
            yield f"{field} has values that are not finite; fill in what is missing"


def _parts(x: Array | Mapping[str, Array]) -> Mapping[str, Array]:
    return x if isinstance(x, Mapping) else {"": x}


def _is_at_hand(x: Any) -> bool:
    """Whether reading all of it is cheap: it is in memory, or little."""
    return x.nbytes <= MUCH or not isinstance(x, np.memmap | Rows)


def _is_finite(x: Array) -> bool:
    # A sum is not finite where a value is not; it is the quicker look, and says nothing more where it overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        return all(bool(np.isfinite(part.sum()) or np.isfinite(part).all()) for part in pieces(x))
