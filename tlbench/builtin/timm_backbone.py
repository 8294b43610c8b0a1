"""Any model of timm as a backbone, with its own weights, a local checkpoint, or from the hub."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from tlbench.api.types import InputTransform
from tlbench.errors import DataError, SkipTrial, unknown
from tlbench.models.torchvision_import import import_timm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlbench.api.data import Shape


class TimmFeatures(nn.Module):
    """A timm model without its classifier; x [B, 3, H, W] -> features [B, D]."""

    def __init__(
        self, net: nn.Module, transform: InputTransform, head: Callable[[], nn.Linear | None] = lambda: None
    ) -> None:
        super().__init__()
        self.net, self._head = net, head
        self.num_features = int(getattr(net, "head_hidden_size", None) or net.num_features)  # type: ignore[arg-type]
        self.transform = transform

    @property
    def blocks(self) -> list[nn.Module]:
        """timm's own coarse groups of layers, from input to output; every parameter is in exactly one."""
        return ordered_blocks(self.net)

    def own_head(self) -> nn.Linear | None:
        """The classifier that the weights were trained with, features [B, D] -> scores; ``None`` if not one layer."""
        head = self._head()
        return head if head is not None and head.in_features == self.num_features else None

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
        source, _, where = self.model.rstrip("/").rpartition(":")
        name = where.rpartition("/")[2]
        if "." in name:
            return name.partition(".")[2]
        if not source:
            return f"timm's weights for {name}"
        return where if source == "hf_hub" else name

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
        transform = InputTransform(size, channels, tuple(cfg["mean"]), tuple(cfg["std"]))
        return TimmFeatures(net, transform, partial(self._own_head, pretrained and self.pretrained_on is not None))

    def _own_head(self, pretrained: bool) -> nn.Linear | None:
        """The linear classifier of the weights, from the same place as they."""
        if not pretrained:
            return None
        timm = import_timm()
        if (file := self._file()) is None:
            whole = timm.create_model(self.model, pretrained=True)
            head = whole.get_classifier()
            return head if isinstance(head, nn.Linear) else None
        from safetensors.torch import load_file

        state = load_file(file)
        for name in _classifiers(self._create(timm, pretrained=False).pretrained_cfg):
            weight, bias = state.get(f"{name}weight"), state.get(f"{name}bias")
            if weight is not None and weight.dim() == 2:
                head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
                head.load_state_dict({"weight": weight, **({} if bias is None else {"bias": bias})})
                return head
        return None

    def _file(self) -> Path | None:
        """The file that its own weights are in; ``None`` where timm finds them by itself."""
        source, _, where = self.model.rpartition(":")
        if self.checkpoint is not None:
            file = Path(self.checkpoint)
            if not file.is_file():
                raise DataError(f"no checkpoint {self.checkpoint!r}; relative paths start at the suite's folder")
            return file
        return _only_safetensors(Path(where)) if source == "local-dir" else None

    def _create(self, timm: Any, *, pretrained: bool) -> Any:
        source, _, where = self.model.rpartition(":")
        if source == "local-dir":
            _require_folder(self.model, Path(where))
        elif not source:
            _require_known(timm, self.model)
        file = self._file() if pretrained else None
        options: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained and file is None}
        if self.size is not None and not source and _takes_img_size(timm, self.model):
            options["img_size"] = self.size
        try:
            net = timm.create_model(self.model, **options)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise DataError(
                f"the weights of the backbone {self.model!r} cannot be loaded: {type(error).__name__}: {first}. "
                "Without a network, name a local file with `checkpoint:` or a folder with `model: local-dir:FOLDER`."
            ) from error
        if file is not None:
            load_weights(net, file)
        if self.size is not None and source and hasattr(net, "set_input_size"):
            net.set_input_size(img_size=(self.size, self.size))
        return net


def load_weights(net: Any, path: Path) -> None:
    """A .safetensors file into a timm model without a classifier; nothing is unpickled.

    timm leaves what the file lacks at random, without a word, where the classifier is left out. Here every tensor
    of the backbone must be in the file, and nothing else but a classifier may be; else ``DataError``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as a .safetensors file: {error}") from error
    adapt = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if adapt is not None:  # older names of tensors, and position embeddings of another size
        try:
            state = adapt(state, net)
        except (KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"the tensors in {path} are not those of {type(net).__name__}: {error!r}") from error
    heads = _classifiers(net.pretrained_cfg)
    state = {k: v for k, v in state.items() if not k.startswith(heads)}
    own = net.state_dict()
    both = [k for k in own if k in state and state[k].shape != own[k].shape]
    wrong = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (
            ("missing:", [k for k in own if k not in state and not k.endswith("num_batches_tracked")]),
            ("not of this model:", [k for k in state if k not in own]),
            ("of another shape:", [f"{k} {list(state[k].shape)}, not {list(own[k].shape)}" for k in both]),
        )
        if names
    ]
    if wrong:
        raise DataError(
            f"the tensors in {path} are not those of {net.pretrained_cfg['architecture']}: {'; '.join(wrong)}"
        )
    net.load_state_dict(state, strict=False)


def _classifiers(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    """How the names of a classifier's tensors begin; a folder's own description may leave that out."""
    known = import_timm().get_pretrained_cfg(cfg["architecture"], allow_unregistered=True)
    heads = cfg.get("classifier") or (known.classifier if known is not None else None) or ()
    return tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))


def _require_folder(model: str, folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            f"no folder {str(folder)!r} for the backbone {model!r}; relative paths start at the suite's folder"
        )
    if not (folder / "config.json").is_file():
        raise DataError(f"the folder {str(folder)!r} of the backbone {model!r} has no config.json that names its model")


def _only_safetensors(folder: Path) -> Path:
    """The weights in a folder: model.safetensors, or the one .safetensors file that is there."""
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise DataError(
            f"the folder {str(folder)!r} must have its weights in model.safetensors; it has "
            f"{', '.join(sorted(p.name for p in folder.iterdir())) or 'nothing'} (other forms of weights can run code)"
        )
    return found[0]


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


def _require_known(timm: Any, model: str) -> None:
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=8)
        raise DataError(unknown("timm model", architecture, close or ["resnet18", "vit_tiny_patch16_224"]))
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise DataError(unknown(f"weights of {architecture}", tag, tags))
