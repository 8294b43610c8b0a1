"""Layout: the order of a convolutional network's weights in memory, which its tensors then take over."""

from __future__ import annotations

import torch
from torch import nn


def channels_last(model: nn.Module) -> nn.Module:
    """The same network with images as N, H, W, K in memory; one without convolutions stays as it is.

    Convolutions pass the order on, so that inputs may come in any. Other kernels run: last digits change.
    """
    if not any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules()):
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
