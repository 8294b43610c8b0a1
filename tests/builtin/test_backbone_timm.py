"""The backbone ``timm``: what it computes, its blocks, its weights from files and over HTTP, and what it refuses."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tlbench.api.data import Shape
from tlbench.builtin.timm_backbone import Timm
from tlbench.data.inputs import resize, scaling
from tlbench.errors import DataError, SkipTrial
from tlbench.models.torchvision_import import import_timm
from tlbench.results.store import RunFolder
from tlbench.testing import check_backbone

timm: Any = import_timm()
RGB = Shape("image", (3, 32, 32))
SHA = "0123456789abcdef0123456789abcdef01234567"
KINDS = [
    ("resnet18", 32),
    ("vit_tiny_patch16_224", 64),
    ("mobilenetv2_100", 64),
    ("mobilenetv3_small_050", 64),
    ("convnext_atto", 64),
    ("test_efficientnet", 64),
    ("deit_tiny_distilled_patch16_224", 64),
]


def _china() -> np.ndarray:
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg"))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side))).transpose(2, 0, 1)[None]


def _whole(name: str, folder: Path, **options: Any) -> tuple[Any, Path]:
    """A model with a classifier of seven classes and random weights, and its file."""
    torch.manual_seed(3)
    net = timm.create_model(name, pretrained=False, num_classes=7, **options).eval()
    for module in net.modules():  # statistics that are not those of a fresh model
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(std=0.1)
    path = folder / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    return net, path


# ---- what it computes ----------------------------------------------------------------------------


@pytest.mark.shared_data
def test_features_of_a_local_folder_are_what_the_classifier_of_the_whole_model_sees(shared_data: Path) -> None:
    folder = shared_data / "weights" / "mobilenetv2_100.imagenet"
    names = json.loads((folder / "config.json").read_text())["label_names"]
    net = Timm(model=f"local-dir:{folder}").load(RGB).eval()
    assert net.num_features == 1280
    assert net.transform is not None
    assert (net.transform.size, net.transform.mean, net.transform.std) == (224, (0.5,) * 3, (0.5,) * 3)
    x = scaling(net.transform, torch.device("cpu"))(torch.from_numpy(resize(_china(), net.transform)))
    whole = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        features = net(x)
        pooled = whole.forward_head(whole.forward_features(x), pre_logits=True)
        scores = whole.classifier(features).softmax(1)[0]
    torch.testing.assert_close(features, pooled)
    assert names[int(scores.argmax())] == "palace"
    assert 0.3 < float(scores.max()) < 0.6  # 0.43 with timm's own cut and interpolation
    assert Timm(model=f"local-dir:{folder}").pretrained_on == "imagenet"


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["inat_bird", "inat_insect"])
def test_other_weights_of_one_architecture_give_timms_own_features(shared_data: Path, name: str) -> None:
    folder = shared_data / "weights" / f"mobilenetv2_100.{name}"
    net = Timm(model=f"local-dir:{folder}", size=96).load(RGB).eval()
    own = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(x), own(x), rtol=0, atol=0)
    assert Timm(model=f"local-dir:{folder}").pretrained_on == name


SUITE = """
tlbench: 1
name: probes
sources: [pretrained]
targets: [{name: hub, id: tlbench/hymenoptera, test: val, label: label}]
tasks: [fine-tuning]
backbones:
  - {name: timm, model: "local-dir:WEIGHTS/mobilenetv2_100.imagenet", size: 160, label: imagenet}
  - {name: timm, model: "local-dir:WEIGHTS/mobilenetv2_100.inat_insect", size: 160, label: insect}
strategies: [linear-probe]
seeds: 1
recipe: {steps: 1, batch_size: 2, curve_points: 1, curve_examples: 2}
"""


@pytest.mark.shared_data
@pytest.mark.slow  # half a minute of features and references on one core
@pytest.mark.timeout(600)
def test_published_linear_probes_come_out_of_the_whole_pipeline(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "probes.yaml").write_text(SUITE.replace("WEIGHTS", str(shared_data / "weights")))
    words = ["run", "--matrix", "probes.yaml", "--data-root", str(shared_data / "hub"), "--no-plugins", "--json",
             "--cache", "cache", "--out", "out", "--executor", "in-process", "--device", "cpu"]  # fmt: skip
    code = "import sys; from tlbench.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True,
                          timeout=500, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {
        r.trial["backbone"]["label"]: r.metrics["target"]["accuracy"]
        for r in RunFolder(tmp_path / "out").records().values()
        if r.trial["strategy"]["name"] == "linear-probe"
    }
    # 153 images, and another cut of them: differences under 5 points mean nothing
    assert found == {"imagenet": pytest.approx(0.889, abs=0.05), "insect": pytest.approx(0.895, abs=0.05)}


@pytest.mark.parametrize(("name", "size"), KINDS)
def test_the_contract_holds_for(name: str, size: int) -> None:
    check_backbone(Timm(model=name, pretrained=False, size=size))


@pytest.mark.parametrize(("name", "size"), KINDS)
def test_blocks_are_in_the_order_of_the_forward_pass(name: str, size: int) -> None:
    """The first use of each block's parameters in a forward pass, as seen by hooks, is in the order of the blocks."""
    net = Timm(model=name, pretrained=False, size=size).load(RGB).eval()
    place = {id(p): i for i, block in enumerate(net.blocks) for p in block.parameters()}
    assert set(place) == {id(p) for p in net.parameters()}
    used: list[int] = []

    def note(module: torch.nn.Module, _: Any) -> None:
        used.extend(place[id(p)] for p in module.parameters(recurse=False))

    for module in net.modules():
        if not list(module.children()):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    assert used[0] == 0
    assert used[-1] == len(net.blocks) - 1
    firsts = list(dict.fromkeys(used))
    assert firsts == sorted(firsts)
    assert used == sorted(used)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_frozen_first_block_is_the_stem(name: str) -> None:
    net = Timm(model=name, pretrained=False, size=64).load(RGB)
    net.blocks[0].requires_grad_(False)
    frozen = {n.removeprefix("net.") for n, p in net.named_parameters() if not p.requires_grad}
    stems = {
        "resnet18": {"conv1.weight", "bn1.weight", "bn1.bias"},
        "vit_tiny_patch16_224": {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"},
    }
    assert frozen == stems[name]
    net.blocks[-1].requires_grad_(False)
    top = {n.removeprefix("net.") for n, p in net.named_parameters() if not p.requires_grad} - frozen
    assert top
    assert all(n.startswith(("layer4.", "norm.", "blocks.11.")) for n in top)


def test_features_of_a_data_set_of_numbers_are_skipped() -> None:
    with pytest.raises(SkipTrial, match="takes images"):
        Timm(pretrained=False).load(Shape("features", (7,)))


# ---- weights from files --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), KINDS)
def test_a_checkpoint_of_a_whole_model_gives_its_features(name: str, size: int, tmp_path: Path) -> None:
    fixed = {"img_size": size} if "vit" in name or "deit" in name else {}
    whole, path = _whole(name, tmp_path, **fixed)
    backbone = Timm(model=name, checkpoint=str(path), size=size, trained_on="seven things")
    net = backbone.load(RGB).eval()
    whole.reset_classifier(0)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(x), whole(x), rtol=0, atol=0)
        other = backbone.load(RGB, pretrained=False).eval()
        assert not torch.allclose(net(x), other(x))
    assert backbone.pretrained_on == "seven things"
    assert Timm(model=name, checkpoint=str(path)).pretrained_on == name


def test_a_folder_of_a_transformer_can_be_used_at_another_size(tmp_path: Path) -> None:
    _, path = _whole("vit_tiny_patch16_224", tmp_path)
    path.rename(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", "num_classes": 7}))
    check_backbone(Timm(model=f"local-dir:{tmp_path}", size=64))


def _spoil(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    if how == "missing":
        del state["layer3.0.conv1.weight"]
    if how == "extra":
        state["layer9.weight"] = torch.zeros(1)
    if how == "shape":
        state["layer3.0.conv1.weight"] = torch.zeros(2, 3)
    if how == "bigger":
        return {k: v.contiguous() for k, v in timm.create_model("resnet34", pretrained=False).state_dict().items()}
    return state


@pytest.mark.parametrize("place", ["checkpoint", "folder"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", ["resnet18", "missing: layer3.0.conv1.weight"]),
        ("extra", ["not of this model: layer9.weight"]),
        ("shape", ["of another shape: layer3.0.conv1.weight [2, 3], not [256, 128, 3, 3]"]),
        ("bigger", ["resnet18", "not of this model: layer1.2", "more"]),
    ],
)
def test_weights_that_do_not_fit_are_refused(how: str, words: list[str], place: str, tmp_path: Path) -> None:
    net, _ = _whole("resnet18", tmp_path)
    path = tmp_path / "model.safetensors"
    (tmp_path / "resnet18.safetensors").unlink()
    save_file(_spoil({k: v.contiguous() for k, v in net.state_dict().items()}, how), path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 7}))
    backbone = Timm(checkpoint=str(path)) if place == "checkpoint" else Timm(model=f"local-dir:{tmp_path}")
    with pytest.raises(DataError) as caught:
        backbone.load(RGB)
    for word in [*words, str(path)]:
        assert word in str(caught.value)


class _Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["BOMB"],))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "weights.pth"])
def test_a_pickle_is_not_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "exploded"
    monkeypatch.setenv("BOMB", str(mark))
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"conv1.weight": _Bomb()}, folder / name)
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(DataError, match="safetensors"):
        Timm(model=f"local-dir:{folder}").load(RGB)
    if name.endswith(".safetensors"):
        with pytest.raises(DataError, match=r"cannot be read as a \.safetensors file"):
            Timm(checkpoint=str(folder / name)).load(RGB)
    else:
        with pytest.raises(ValueError, match="can run code"):
            Timm(checkpoint=str(folder / name))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": "resnet81"}, ["unknown timm model 'resnet81'", "Did you mean 'resnet18'?"]),
        ({"model": "vit_tiny_patch16_244"}, ["Did you mean 'vit_tiny_patch16_224'?"]),
        ({"model": "resnet18.a1_in1l"}, ["unknown weights of resnet18 'a1_in1l'", "Did you mean 'a1_in1k'?"]),
        ({"model": "local-dir:nowhere"}, ["no folder 'nowhere'", "the suite's folder"]),
        ({"checkpoint": "nowhere.safetensors"}, ["no checkpoint 'nowhere.safetensors'"]),
        ({"model": "resnet18"}, ["resnet18", "local-dir:FOLDER", "checkpoint:"]),
        ({"model": "hf_hub:acme/none"}, ["hf_hub:acme/none", "local-dir:FOLDER"]),
    ],
)
def test_what_is_not_there_is_said(params: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch,
                                   tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        Timm(**params).load(RGB)
    for word in words:
        assert word in str(caught.value)


def test_a_folder_without_its_description_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no config\.json"):
        Timm(model=f"local-dir:{tmp_path}").load(RGB)


def test_random_weights_need_no_file() -> None:
    net = Timm(model="resnet18.a1_in1k", pretrained=False).load(RGB)
    assert net.num_features == 512
    assert Timm(model="resnet18.a1_in1k", pretrained=False).pretrained_on is None
    assert Timm(model="resnet18.a1_in1k").pretrained_on == "a1_in1k"


@pytest.mark.parametrize("params", [{"checkpoint": "x.pth"}, {"size": 0}])
def test_parameters_that_cannot_be_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"safetensors|positive"):
        Timm(**params)


# ---- weights of the hub, over HTTP ---------------------------------------------------------------


LOAD = """
import sys, torch, hashlib
from tlbench.api.data import Shape
from tlbench.builtin.timm_backbone import Timm
from tlbench.errors import DataError
try:
    b = Timm(model=sys.argv[1])
    net = b.load(Shape("image", (3, 32, 32))).eval()
except DataError as error:
    print("DataError:", error)
else:
    with torch.no_grad():
        print(b.pretrained_on, net.transform.size, net(torch.ones(1, 3, 64, 64)).double().sum().item())
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[int, Any, list[str]]]:
    """A server with one repository, ``acme/tiny``: a resnet with its weights."""
    (tmp_path / "served").mkdir()
    whole, path = _whole("test_resnet", tmp_path / "served")
    config = {"architecture": "test_resnet", "num_classes": 7, "num_features": whole.num_features,
              "pretrained_cfg": {"tag": "seven", "input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3,
                                 "num_classes": 7, "first_conv": "conv1.0", "classifier": "fc"}}  # fmt: skip
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": path.read_bytes()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            asked.append(f"{self.command} {path}")
            if not path.startswith("acme/tiny/resolve/"):
                return self.reply(404, X_Error_Code="RepoNotFound")
            name = path.split("/", 4)[-1]
            if name not in files:
                return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=SHA)
            tag = hashlib.sha1(files[name]).hexdigest()
            return self.reply(200, files[name], ETag=f'"{tag}"', X_Repo_Commit=SHA, Accept_Ranges="bytes")

        do_HEAD = do_GET  # noqa: N815  # a name that the base class looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    whole.reset_classifier(0)
    yield server.server_address[1], whole, asked
    server.shutdown()
    server.server_close()
    thread.join()


def _ask(port: int, folder: Path, model: str, offline: bool = False) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
    environment |= {
        "HF_HOME": str(folder / "home"),
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    done = subprocess.run([sys.executable, "-c", LOAD, model], env=environment, cwd=folder, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_of_the_hub_arrives_and_is_there_offline_afterwards(hub: Any, tmp_path: Path) -> None:
    port, whole, asked = hub
    with torch.no_grad():
        expected = whole(torch.ones(1, 3, 64, 64)).double().sum().item()
    name, size, total = _ask(port, tmp_path, "hf_hub:acme/tiny").split()
    assert (name, int(size)) == ("acme/tiny", 64)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert any("model.safetensors" in line for line in asked)
    asked.clear()
    assert _ask(port, tmp_path, "hf_hub:acme/tiny", offline=True).split()[-1] == total
    assert not asked
    missing = _ask(port, tmp_path, "hf_hub:acme/huge")
    assert missing.startswith("DataError:")
    assert "acme/huge" in missing
