"""Import timm beside a torchvision that was built for another torch.

The package index's torchvision is built for CUDA. Beside a CPU torch its import stops with
``operator torchvision::nms does not exist``, and timm imports it. Declaring the two operators that
torchvision registers Python fallbacks for is enough; nothing of tlbench or timm's classifiers calls them.
It is done only where the import fails, and only for that reason.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_declared: list[Any] = []  # the declarations live as long as the library object does


def import_timm() -> ModuleType:
    """The module ``timm``."""
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    for name in [n for n in sys.modules if n.split(".")[0] in {"timm", "torchvision"}]:
        del sys.modules[name]
    return importlib.import_module("timm")
