"""Switches: the ways of going faster that can be switched off one by one, or all at once by ``--plain``.

A new way is a new field. ``Switches.plain()`` has every field off, so that it covers the new one too, and a test
compares the records of both.

What is no switch: the kernel of an optimiser, which is part of its arithmetic as the BLAS library is; a warm worker,
which is another process and not another computation; and how a strategy solves its own problem (many linear fits at
once), which is its parameters' to say.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGITS = ("channels_last", "compile")
"""Those that change the last digits of a result, as another kernel does; a record says where they were on."""
ON_A_GPU = ("graphs", "compile")
"""Those that there is nothing to do for elsewhere."""


@dataclass(frozen=True)
class Switches:
    """Which ways of going faster a run uses. None changes a result, but those in ``DIGITS``, which are off by default.

    ``share``          trainings that see nothing of the target are done once for all targets
    ``features``       features of a frozen backbone are kept from trial to trial
    ``episodes``       few-shot episodes are adapted to many at once, and share the features of their examples; scores
                       of heads that are solved together agree to a millionth, accuracies are equal
    ``decoded``        decoded data are kept in the cache folder, and read back from there
    ``graphs``         on a GPU, a step of training is captured once and replayed (a CUDA graph), where it can be
    ``channels_last``  convolutional networks keep their tensors in the order N, H, W, K
    ``fuse_seeds``     trainings that differ in the seed alone are done as one, where that pays: off by default too, as
                       sums are then taken in another order; a record's cost says where it was done
    ``compile``        on a GPU, ``torch.compile`` for large networks while they are trained
    """

    share: bool = True
    features: bool = True
    episodes: bool = True
    decoded: bool = True
    graphs: bool = False
    channels_last: bool = False
    fuse_seeds: bool = False
    compile: bool = False

    @classmethod
    def plain(cls) -> Switches:
        """Everything off."""
        return cls(**{f.name: False for f in fields(cls)})

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Switches:
        """Those of a bench's spec; what it does not name is as by default."""
        return cls(**spec.get("switches", {}))

    def on(self, device: str) -> Switches:
        """Those that do something on this device, ``cpu`` or a ``cuda`` one; the others off."""
        return self if device.startswith("cuda") else replace(self, **dict.fromkeys(ON_A_GPU, False))

    def to_json(self) -> dict[str, bool]:
        return asdict(self)

    def unusual(self) -> dict[str, bool]:
        """Those that are not as by default."""
        usual = Switches()
        return {name: on for name, on in self.to_json().items() if on != getattr(usual, name)}
