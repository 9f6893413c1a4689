"""Weights files of others: what fits is loaded to the last tensor and counted, what does not is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from medzoo.cli import main
from medzoo.data.errors import CheckpointError, ConfigError, MedzooError
from medzoo.models.clip.model import build_clip, find_clip, load_clip_weights
from medzoo.models.registry import create_model
from medzoo.models.weights_file import LoadedWeights, describe_loaded, find_prefix, load_weights_file, read_weights_file
from tests.zoo.models.clip.clip_folder import write_folder

NAME, SIZE = "test_resnet", (32, 32)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146" + "0" * 56 + "\nsize 10240\n"


def pretrained(name: str = NAME, classes: int = 7, seed: int = 1) -> dict[str, Tensor]:
    """Weights that no random start of medzoo's has, running statistics included."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=classes)
    return {k: v + 0.01 * torch.rand(v.shape) if v.is_floating_point() else v + 3 for k, v in model.state_dict().items()}


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in weights.items()}


def backbone_equals(network: nn.Module, weights: dict[str, Tensor], head: str = "fc") -> bool:
    own = network.state_dict()
    return all(torch.equal(own[key], weights[key]) for key in own if not key.startswith(f"{head}."))


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def as_safetensors(path: Path, weights: dict[str, Tensor]) -> Path:
    safetensors.torch.save_file(weights, path)
    return path


WRITTEN = {
    "bare": lambda w: w,
    "lightning": lambda w: {"state_dict": prefixed("model.", w), "epoch": 3, "hparams_name": "kwargs"},
    "moco": lambda w: {"state_dict": prefixed("module.encoder_q.", w) | prefixed("module.encoder_k.", pretrained(seed=2))},
    "dino": lambda w: {"student": prefixed("module.backbone.", pretrained(seed=2)), "teacher": prefixed("backbone.", w)},
    "compiled": lambda w: {"model": prefixed("_orig_mod.module.", w)},
    "average": lambda w: {"state_dict": pretrained(seed=2), "state_dict_ema": w, "args": None},
    "average under a short key": lambda w: {"model": pretrained(seed=2), "ema": w},
    "average without a network beside it": lambda w: {"ema": w, "model": None},
    "average of Lightning": lambda w: {"state_dict": pretrained(seed=2), "ema_state_dict": prefixed("model.", w)},
    "average below its counts": lambda w: {"model": pretrained(seed=2), "ema": {"decay": torch.tensor(0.9), "shadow": w}},
    "average in the network's": lambda w: {"model": {"raw": pretrained(seed=2), "ema": {"module": prefixed("module.", w)}}},
    "an average without names": lambda w: {"ema": {"steps": torch.tensor(3), "shadow_params": list(w.values())}, "model": w},
    "two keys": lambda w: {"model": {"state_dict": w, "step": torch.tensor(3)}},
    "of a trainer nobody knows": lambda w: {"state_dict": prefixed("learner.image_net.", w)},
    "without counts": lambda w: {k: v for k, v in w.items() if not k.endswith("num_batches_tracked")},
    "without a head": lambda w: {k: v for k, v in w.items() if not k.startswith("fc.")},
    "with a projection instead": lambda w: {**{k: v for k, v in w.items() if "fc." not in k}, "fc.0.weight": torch.rand(4, 4)},
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_a_script_wraps_around_a_network_is_taken_off(kind: str, tmp_path: Path) -> None:
    weights = pretrained()
    file = saved(tmp_path / "weights.pth", WRITTEN[kind](weights))
    network = create_model(NAME, outputs=2, size=SIZE)
    own_head = network.fc.weight.clone()
    loaded = load_weights_file(network, file, NAME)
    if kind == "without counts":
        weights |= {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    assert backbone_equals(network, weights)
    assert torch.equal(network.fc.weight, own_head)  # the file's answers another question
    counters = sum(k.endswith("num_batches_tracked") for k in weights)
    assert (loaded.tensors, loaded.loaded) == (len(weights), len(weights) - 2 - (counters if kind == "without counts" else 0))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("pytorch_model.bin", as_safetensors),
        ("w.safetensors", saved),
        ("w.safetensors", lambda path, weights: torch.save(weights, path, _use_new_zipfile_serialization=False)),
    ],
)
def test_a_file_is_what_it_begins_with(name: str, write: Callable, tmp_path: Path) -> None:
    write(tmp_path / name, weights := pretrained())
    assert backbone_equals(create_model(NAME, outputs=2, size=SIZE, checkpoint_path=tmp_path / name), weights)
    source = find_clip("clip_tiny")
    good = build_clip(source.config, seed=1).state_dict()
    write(tmp_path / name, good)
    load_clip_weights(model := build_clip(source.config, seed=2), find_clip("clip_tiny", checkpoint_path=str(tmp_path / name)))
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in good.items())


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        ({"model": 1, "ema_model": 2, "state_dict_ema": 3}, "state_dict_ema"),
        ({"teacher": 1, "params": 1, "params_ema": 2}, "params_ema"),
        ({"model": 1, "ema_0.999": {"state_dict": 2}}, "ema_0.999.state_dict"),
        ({"student": 1, "teacher": {"model": 2}}, "teacher.model"),
        ({"cinema": 1, "schema": 1, "net": 2}, "net"),
    ],
)
def test_averages_come_first_and_it_is_said_where_they_lay(content: dict, inside: str, tmp_path: Path) -> None:
    def filled(value: Any) -> dict[str, Any]:
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else {"w": torch.tensor(float(value))}

    tensors, found = read_weights_file(saved(tmp_path / "w.pt", filled(content)))
    assert found == inside
    card = LoadedWeights(tmp_path / "w.pt", 1, 1, inside=found).card()
    assert f"under {inside!r}" in describe_loaded(card)
    assert tensors["w"] == (3.0 if inside == "state_dict_ema" else 2.0)


def test_the_head_is_never_taken_even_where_it_fits(tmp_path: Path) -> None:
    weights = pretrained(classes=2)
    network = create_model(NAME, outputs=2, size=SIZE, checkpoint_path=saved(tmp_path / "w.pth", weights))
    assert backbone_equals(network, weights)
    assert not torch.equal(network.fc.weight, weights["fc.weight"])


def test_a_first_layer_for_colours_is_repeated_over_more_channels_and_scaled(tmp_path: Path) -> None:
    weights = pretrained()
    network = create_model(NAME, outputs=7, channels=5, size=SIZE, checkpoint_path=saved(tmp_path / "w.pth", weights))
    first = next(key for key, tensor in weights.items() if tensor.ndim == 4 and tensor.shape[1] == 3)
    own, colours = network.state_dict()[first], weights[first]
    wanted = torch.cat([colours, colours[:, :2]], dim=1) * 3 / 5  # red, green, blue, red, green
    torch.testing.assert_close(own, wanted)


def test_gray_networks_and_other_sizes_are_fitted_as_timm_fits_them(tmp_path: Path) -> None:
    weights = pretrained()
    gray = create_model(NAME, outputs=2, channels=1, size=SIZE, checkpoint_path=saved(tmp_path / "w.pth", weights))
    torch.testing.assert_close(gray.conv1[0].weight, weights["conv1.0.weight"].sum(1, keepdim=True))
    vit = pretrained("test_vit", classes=3)
    file = tmp_path / "vit.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in vit.items()}, file)
    larger = create_model("test_vit", outputs=2, size=(224, 224), checkpoint_path=file)
    theirs = timm.create_model(
        "test_vit", num_classes=2, img_size=224, pretrained=True, pretrained_cfg_overlay={"file": str(file)}
    )
    assert backbone_equals(larger, theirs.state_dict(), "head")
    headless = {k: v.contiguous() for k, v in vit.items() if not k.startswith("head.")}
    safetensors.torch.save_file(headless, file)
    assert backbone_equals(
        create_model("test_vit", outputs=2, size=(224, 224), checkpoint_path=file), theirs.state_dict(), "head"
    )


@pytest.mark.parametrize(("name", "family"), [("zach_vit", "vit"), ("resnet18_3d", "cnn3d"), (NAME, "slices")])
def test_every_family_that_takes_a_file_counts_it(name: str, family: str, tmp_path: Path) -> None:
    size = SIZE if family == "vit" else (8, *SIZE)
    arguments = {"width": 0.25} if family == "cnn3d" else {}
    one = create_model(name, outputs=4, family=family, channels=1, size=size, arguments=arguments, seed=1)
    other = create_model(name, outputs=2, family=family, channels=1, size=size, arguments=arguments, seed=2)
    inner = [network.backbone if family == "slices" else network for network in (one, other)]
    file = saved(tmp_path / "w.pt", {"state_dict": prefixed("module.", inner[0].state_dict())})
    loaded = load_weights_file(other, file, name)
    last = {id(p) for p in other.get_classifier().parameters()}
    same = [torch.equal(a, b) for a, b in zip(inner[0].parameters(), inner[1].parameters(), strict=True) if id(b) not in last]
    assert all(same)
    assert loaded.tensors - loaded.loaded == len(last)
    cut = dict(list(inner[0].state_dict().items())[:-4])
    with pytest.raises(CheckpointError, match=f"does not fit model {name}: .* not in it"):
        load_weights_file(other, saved(tmp_path / "cut.pt", cut), name)


def test_what_lacks_a_layer_loads_nothing(tmp_path: Path) -> None:
    weights = pretrained()
    network = create_model(NAME, outputs=2, size=SIZE)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    gone = [k for k in weights if k.startswith("layer3.") and not k.endswith("num_batches_tracked")]
    cases = {
        "a layer": ({k: v for k, v in weights.items() if k not in gone}, rf"{len(gone)} of the model's .* \({gone[0]}, "),
        "other names": (prefixed("stem_", weights), "not in it .* names begin stem_conv1.0.weight"),
        "another shape": (weights | {"conv1.0.weight": torch.rand(9, 3, 3, 3)}, r"conv1.0.weight: \[9, 3, 3, 3\], not \["),
        "another network": (pretrained("test_vit"), "not in it"),
    }
    for content, message in cases.values():
        with pytest.raises(CheckpointError, match=message) as caught:
            load_weights_file(network, saved(tmp_path / "w.pth", content), NAME)
        assert "\n" not in str(caught.value)
        assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_two_networks_of_equal_right_are_refused(tmp_path: Path) -> None:
    weights = pretrained()
    file = saved(tmp_path / "w.pth", prefixed("left.", weights) | prefixed("right.", weights))
    with pytest.raises(CheckpointError, match=r"under 'left\.' and 'right\.'"):
        load_weights_file(create_model(NAME, outputs=2, size=SIZE), file, NAME)
    assert find_prefix(["a.w", "a.b", "w"], {"w", "b"}, "f") == "a."
    assert find_prefix(["x.y"], {"w"}, "f") == ""


def holds_code(path: Path) -> None:
    saved(path, {"state_dict": pretrained(), "config": SimpleNamespace(lr=1)})


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("w.safetensors", lambda p: p.write_text(POINTER), "git-lfs pointer (130 bytes of text)"),
        ("w.pth", lambda p: p.write_text(POINTER), "git-lfs pointer"),
        ("w.bin", lambda p: p.write_text("<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
        ("w.pt", lambda p: p.write_bytes(b""), "is empty"),
        ("w.safetensors", lambda p: p.write_bytes(b"\xff" * 300), "damaged or no safetensors file"),
        ("w.bin", lambda p: p.write_bytes(as_safetensors(p, pretrained()).read_bytes()[:5000]), "damaged or no safetensors file"),
        ("w.safetensors", lambda p: p.write_bytes(saved(p, pretrained()).read_bytes()[:5000]), "damaged or no weights file"),
        ("w.pth", lambda p: saved(p, {"generator": pretrained()}), "by name; under 'generator' it does: save the one you want"),
        ("w.pth", lambda p: p.write_bytes(saved(p, pretrained()).read_bytes()[:5000]), "damaged or no weights file"),
        ("w.pth", lambda p: saved(p, [1, 2]), "holds no tensors by name"),
        ("w.pth", holds_code, "would run their code"),
        ("none.pth", lambda p: None, "no weights file at"),
    ],
)
def test_what_is_no_weights_file_says_what_it_is(name: str, write, message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(MedzooError) as caught:
        read_weights_file(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    options = ["data=phantom", "data.size=32", "data.patients=10", f"model.backbone={NAME}", f"run={tmp_path / 'run'}"]
    assert main(["train", *options, f"model.checkpoint_path={tmp_path / name}"]) == 2
    assert not (tmp_path / "run").exists()


def test_a_run_says_what_it_started_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = pretrained()
    file = saved(tmp_path / "moco.pth", {"state_dict": prefixed("module.encoder_q.", weights)})
    options = ["data=phantom", "data.size=32", "data.patients=16", "data.channels=3", "trainer.trackers=[]", "evaluate=false"]
    options += [f"model.backbone={NAME}", f"model.checkpoint_path={file}", "trainer.epochs=1", "trainer.learning_rate=1e-12"]
    assert main(["train", *options, f"run={tmp_path / 'run'}"]) == 0
    card = json.loads((tmp_path / "run" / "spec.json").read_text())["initial_weights"]
    assert (card["file"], card["prefix"], card["loaded"]) == ("moco.pth", "module.encoder_q.", len(weights) - 2)
    assert describe_loaded(card) in capsys.readouterr().out
    assert str(tmp_path) not in json.dumps(card)
    with pytest.raises(ConfigError, match="not both"):
        create_model(NAME, outputs=2, size=SIZE, pretrained=True, checkpoint_path=file)


def test_image_text_weights_are_counted_and_lose_their_prefix(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny")
    source = find_clip(f"local-dir:{folder}")
    model = build_clip(source.config, source.text_config)
    plain = load_clip_weights(model, source)
    assert plain is not None
    assert plain.loaded == plain.tensors == len(model.state_dict())
    assert plain.prefix == ""
    file = folder / "open_clip_model.safetensors"
    weights = safetensors.torch.load_file(file)
    safetensors.torch.save_file(prefixed("model.clip.", weights), file)
    again = build_clip(source.config, source.text_config, seed=9)
    loaded = load_clip_weights(again, source)
    assert loaded is not None
    assert loaded.prefix == "model.clip."
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    file.write_text(POINTER)
    with pytest.raises(CheckpointError, match="git-lfs pointer"):
        load_clip_weights(again, source)


def turned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values in another order of memory, as conversions leave them."""
    return {
        name: tensor.to(memory_format=torch.channels_last)
        if tensor.ndim == 4
        else tensor.mT.contiguous().mT
        if tensor.ndim == 2
        else tensor
        for name, tensor in weights.items()
    }


@pytest.mark.parametrize(
    ("wrapped", "inside", "prefix"),
    [
        (lambda good, bad: {"state_dict": bad, "state_dict_ema": good, "epoch": 3}, "state_dict_ema", ""),  # timm's training
        (lambda good, bad: {"model_ema": good, "model": bad}, "model_ema", ""),
        (lambda good, bad: {"state_dict": prefixed("module.", good), "epoch": 3}, "state_dict", "module."),  # open_clip's own
        (lambda good, bad: {"state_dict": prefixed("clip.", good)}, "state_dict", "clip."),  # Lightning
        (lambda good, bad: {"model_state": good}, "model_state", ""),
        (lambda good, bad: prefixed("module.", good), "", "module."),
        (lambda good, bad: {"state_dict": prefixed("module.", turned(good))}, "state_dict", "module."),
    ],
)
def test_image_text_weights_are_taken_from_where_training_scripts_keep_them(
    wrapped: Callable, inside: str, prefix: str, tmp_path: Path
) -> None:
    """Averaged weights before plain ones, whose values here are others."""
    source = find_clip("clip_tiny")
    good, bad = (build_clip(source.config, seed=seed).state_dict() for seed in (1, 2))
    torch.save(wrapped(good, bad), file := tmp_path / "w.pt")
    model = build_clip(source.config, seed=3)
    loaded = load_clip_weights(model, find_clip("clip_tiny", checkpoint_path=str(file)))
    assert loaded is not None
    assert (loaded.inside, loaded.prefix, loaded.unused) == (inside, prefix, 0)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in good.items())
