"""Any model of timm as a backbone, with its own weights, a local checkpoint, or from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from tlbench.api.types import InputTransform, Shape
from tlbench.errors import DataError, SkipTrial, unknown
from tlbench.models.torchvision_import import import_timm

if TYPE_CHECKING:
    from collections.abc import Mapping


class TimmFeatures(nn.Module):
    """A timm model without its classifier; x [B, 3, H, W] -> features [B, D]."""

    def __init__(self, net: nn.Module, transform: InputTransform) -> None:
        super().__init__()
        self.net = net
        self.num_features = int(getattr(net, "head_hidden_size", None) or net.num_features)  # type: ignore[arg-type]
        self.transform = transform

    @property
    def blocks(self) -> list[nn.Module]:
        """timm's own coarse groups of layers, from input to output; every parameter is in exactly one."""
        return ordered_blocks(self.net)

    def forward(self, x: Any) -> Tensor:
        features: Tensor = self.net(x)
        return features


@dataclass(frozen=True)
class Timm:
    """A model of timm by name; ``local-dir:FOLDER`` and ``hf_hub:OWNER/NAME`` go to timm as they are.

    Images are brought to the model's own input size, mean and standard deviation. Relative paths are
    relative to the suite's folder.
    """

    name: ClassVar[str] = "timm"

    model: str = "resnet18"
    """Name of the model, as in ``timm.list_models()``, or ``local-dir:`` or ``hf_hub:`` and where it is."""
    pretrained: bool = True
    """Whether it starts from its own weights."""
    checkpoint: str | None = None
    """A local .safetensors file that takes the place of the model's own weights."""
    size: int | None = None
    """Side of the square input; by default the model's own."""
    trained_on: str | None = None
    """What the weights were trained on, for the board; by default the tag or folder of the weights."""

    def __post_init__(self) -> None:
        if self.checkpoint is not None and not self.checkpoint.endswith(".safetensors"):
            raise ValueError(
                f"checkpoint must be a .safetensors file, got {self.checkpoint!r}: other forms can run code"
            )
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")

    @property
    def pretrained_on(self) -> str | None:
        if not self.pretrained and self.checkpoint is None:
            return None
        if self.trained_on is not None:
            return self.trained_on
        if self.checkpoint is not None:
            return Path(self.checkpoint).stem
        name = self.model.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
        return name.split(".", 1)[1] if "." in name else f"timm's weights for {name}"

    def load(self, shape: Shape, *, pretrained: bool = True) -> TimmFeatures:
        if shape.kind != "image":
            raise SkipTrial(
                f"the backbone {self.model!r} takes images; this data set has {shape.kind} of shape {shape.dims}"
            )
        timm = import_timm()
        net = self._create(timm, pretrained=pretrained and self.pretrained_on is not None)
        cfg: Mapping[str, Any] = net.pretrained_cfg
        size = self.size or int(cfg["input_size"][-1])
        channels = int(cfg["input_size"][0])
        return TimmFeatures(net, InputTransform(size, channels, tuple(cfg["mean"]), tuple(cfg["std"])))

    def _create(self, timm: Any, *, pretrained: bool) -> Any:
        options: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained}
        source, _, where = self.model.rpartition(":")
        if source == "local-dir":
            if not Path(where).is_dir():
                raise DataError(
                    f"no folder {where!r} for the backbone {self.model!r}; relative paths start at the suite's folder"
                )
        elif not source:
            architecture = self.model.split(".")[0]
            if not timm.is_model(architecture):
                raise DataError(_unknown_model(timm, architecture))
        if self.size is not None and not source and _takes_img_size(timm, self.model):
            options["img_size"] = self.size
        if pretrained and self.checkpoint is not None:
            if not Path(self.checkpoint).is_file():
                raise DataError(f"no checkpoint {self.checkpoint!r}; relative paths start at the suite's folder")
            options["pretrained_cfg_overlay"] = {"file": self.checkpoint}
        try:
            return timm.create_model(self.model, **options)
        except (OSError, RuntimeError, ValueError) as error:
            if not pretrained and source != "hf_hub":
                raise
            first = str(error).strip().splitlines()[0]
            raise DataError(
                f"the weights of the backbone {self.model!r} cannot be loaded: {type(error).__name__}: {first}. "
                "Without a network, name a local file with `checkpoint:` or a folder with `model: local-dir:FOLDER`."
            ) from error


def ordered_blocks(net: nn.Module) -> list[nn.Module]:
    """The coarse layer groups that timm states for its model, as modules; the model's own order."""
    if not hasattr(net, "group_matcher"):
        return [child for child in net.children() if any(True for _ in child.parameters())]
    import_timm()
    from timm.models import group_parameters

    groups: dict[Any, list[str]] = group_parameters(net, net.group_matcher(coarse=True))  # type: ignore[operator]
    return [_block(net, names) for _, names in sorted(groups.items()) if names]


def _block(net: nn.Module, names: list[str]) -> nn.Module:
    """A module of exactly the named parameters: whole modules where their parameters are all named."""
    wanted = set(names)
    modules: list[nn.Module] = []
    loose: list[nn.Parameter] = []
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in names):
        module = net.get_submodule(owner)
        prefix = f"{owner}." if owner else ""
        if all(prefix + name in wanted for name, _ in module.named_parameters()):
            modules.append(module)
        else:
            loose += [p for name, p in module.named_parameters(recurse=False) if prefix + name in wanted]
    return nn.ModuleList([*modules, *([nn.ParameterList(loose)] if loose else [])])


def _takes_img_size(timm: Any, model: str) -> bool:
    cfg = timm.get_pretrained_cfg(model, allow_unregistered=True)
    return bool(cfg is not None and cfg.fixed_input_size)


def _unknown_model(timm: Any, name: str) -> str:
    return unknown("timm model", name, timm.list_models(f"*{name[:4]}*")[:20] or timm.list_models("resnet*")[:10])
