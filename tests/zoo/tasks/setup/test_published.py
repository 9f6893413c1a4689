"""Networks that start from published weights, of the catalogue and of timm's repositories, and what reports say of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from medzoo.cli import main
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.registry import load_dataset
from medzoo.models.catalogue import card as cards
from medzoo.models.catalogue.card import WeightsCard
from medzoo.models.clip.model import TINY_CONFIG, build_clip
from medzoo.settings.schema import ModelConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.setup.contrast import contrast_with_weights
from medzoo.tasks.setup.source import build_source, find_source

PHANTOM = ["data=phantom", "data.size=24", "data.patients=16"]


@pytest.fixture
def phantom() -> object:
    return load_dataset("phantom", size=24, patients=16)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[WeightsCard, Path]]:
    """Put a card of a tiny network into the catalogue, and its weights on disk."""

    def make(**changes: object) -> tuple[WeightsCard, Path]:
        card = WeightsCard(
            "tiny", "Tiny", "phantoms", "nobody 2026", "MIT", ("cnn",), "test_resnet",
            preprocess={"size": 40, "mean": [0.3], "std": [0.2]}, channels=1, by_hand="a drawer",
            learnt_from=("eyepacs", "idrid"), revision="abc",
        )  # fmt: skip
        card = replace(card, **changes)
        monkeypatch.setattr(cards, "catalogue", lambda: {"tiny": card})
        torch.manual_seed(3)
        path = tmp_path / "tiny.safetensors"
        if "clip" in card.families:
            safetensors.torch.save_file(build_clip(TINY_CONFIG, seed=5).state_dict(), path)
        else:
            safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=7, in_chans=1).state_dict(), path)
        return card, path

    return make


def test_a_card_gives_architecture_preprocessing_and_what_was_learnt(tiny: Callable, phantom: object) -> None:
    _, path = tiny()
    config = ModelConfig(family="cnn", backbone="zoo:tiny", checkpoint_path=str(path))
    source = find_source(config, phantom)
    assert (source.architecture, source.preprocess.size, source.preprocess.channels) == ("test_resnet", (40, 40), 1)
    assert (source.preprocess.mean, source.preprocess.std) == ((0.3,), (0.2,))
    spec, network = build_source(source, config, phantom, 0, task="classify", objective={}, arguments={"outputs": 3})
    file, own = safetensors.torch.load_file(path), network.state_dict()
    head = {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[name], tensor) for name, tensor in file.items() if name not in head)
    assert spec.initial_weights is not None
    assert (spec.initial_weights["name"], spec.initial_weights["licence"], spec.initial_weights["revision"]) == (
        "zoo:tiny",
        "MIT",
        "abc",
    )
    assert [entry["name"] for entry in spec.data["learnt_from"]] == ["EyePACS", "IDRiD"]
    assert ModelSpec.from_dict(json.loads(spec.to_json())) == spec


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"families": ("clip",)}, {}, "zoo:tiny is for model=clip, not cnn"),
        ({}, {"checkpoint_path": None}, "cannot be fetched by a program (a drawer): give model.checkpoint_path"),
        ({"pickled": True, "convert": "python x"}, {"checkpoint_path": None}, "convert it once (python x)"),
        ({}, {"pretrained": True}, "model.pretrained has no effect on zoo:tiny"),
        ({"arguments": {"drop_rate": 0.0}}, {"arguments": {"drop_rate": 0.5}}, "is not that of zoo:tiny (0.0)"),
    ],
)
def test_what_does_not_go_with_a_card_is_refused(
    tiny: Callable, phantom: object, changes: dict, settings: dict, message: str
) -> None:
    _, path = tiny(**changes)
    config = replace(ModelConfig(family="cnn", backbone="zoo:tiny", checkpoint_path=str(path)), **settings)
    with pytest.raises(ConfigError) as told:
        find_source(config, phantom)
    assert message in str(told.value)


def test_a_volume_card_says_its_own_stem_where_nobody_asked_for_one(tiny: Callable, tmp_path: Path) -> None:
    own = {"stem_kernel": 7, "stem_stride": 2, "shortcut": "A", "width": 0.125}
    _, path = tiny(families=("cnn3d",), architecture="resnet18_3d", arguments=own, preprocess={})
    volumes = load_dataset("phantom", size=16, patients=8, dims=3)
    plain = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": True}  # of conf/model/cnn3d.yaml
    config = ModelConfig(family="cnn3d", backbone="zoo:tiny", checkpoint_path=str(path), arguments=plain)
    assert find_source(config, volumes).arguments == own
    with pytest.raises(ConfigError, match=r"stem_kernel=5 is not that of zoo:tiny \(7\)"):
        find_source(replace(config, arguments={**plain, "stem_kernel": 5}), volumes)


def test_a_file_of_another_network_is_told_by_names(tiny: Callable, phantom: object, tmp_path: Path) -> None:
    _, path = tiny()
    tensors = safetensors.torch.load_file(path)
    tensors["layer1.0.convX.weight"] = tensors.pop("layer1.0.conv1.weight")
    safetensors.torch.save_file(tensors, path)
    config = ModelConfig(family="cnn", backbone="zoo:tiny", checkpoint_path=str(path))
    source = find_source(config, phantom)
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight.*layer1\.0\.convX\.weight has no place"):
        build_source(source, config, phantom, 0, task="classify", objective={}, arguments={"outputs": 3})


def test_a_file_is_fetched_from_the_hub_by_its_commit(tiny: Callable, phantom: object, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = tiny(hub="owner/name", file="w.safetensors", gated=True)
    asked = []

    def fetch(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((repository, file, revision))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    find_source(ModelConfig(family="vit", backbone="zoo:tiny"), phantom)  # any flat family takes a flat network
    assert asked == [("owner/name", "w.safetensors", "abc")]

    def refused(*_: object, **__: object) -> str:
        raise OSError("401")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
    with pytest.raises(CheckpointError, match=r"accept its terms at https://huggingface\.co/owner/name"):
        find_source(ModelConfig(family="cnn", backbone="zoo:tiny"), phantom)


def test_every_report_names_the_public_sets_that_its_weights_have_learnt_from(tiny: Callable, tmp_path: Path) -> None:
    _, path = tiny()
    run = tmp_path / "run"
    options = ["model.backbone=zoo:tiny", f"model.checkpoint_path={path}", "trainer.epochs=1", "evaluation.replicates=0"]
    assert main(["train", *PHANTOM, *options, f"run={run}"]) == 0
    notes = json.loads((run / "metrics.json").read_text())["notes"]
    assert any("zoo:tiny" in note and "EyePACS, IDRiD" in note for note in notes)
    again = tmp_path / "again"  # of a run that starts from that run, too
    assert main(["train", *PHANTOM, f"model.backbone={run}", "trainer.epochs=1", "evaluation.replicates=0", f"run={again}"]) == 0
    assert any("EyePACS, IDRiD" in note for note in json.loads((again / "metrics.json").read_text())["notes"])


def test_an_image_text_card_is_trained_and_scored(tiny: Callable, phantom: object) -> None:
    card, path = tiny(
        families=("clip",),
        architecture="own",
        open_clip=TINY_CONFIG,
        channels=3,
        preprocess={"size": 64, "resize_mode": "squash"},
    )
    config = ModelConfig(family="clip", backbone="zoo:tiny", checkpoint_path=str(path))
    task = contrast_with_weights(replace(config, preprocess=replace(config.preprocess, mode="auto")))
    assert all(torch.equal(task.model.state_dict()[name], tensor) for name, tensor in safetensors.torch.load_file(path).items())
    assert task.spec.preprocess.mode == "stretch"
    assert [entry["name"] for entry in task.spec.data["learnt_from"]] == ["EyePACS", "IDRiD"]
    tower = find_source(replace(config, family="clip_image"), phantom)
    assert list(tower.cards) == card.learnt_cards()
    with pytest.raises(ConfigError, match="brings its own weights"):
        contrast_with_weights(replace(config, pretrained="openai"))


def test_a_folder_of_timms_form_is_a_start(phantom: object, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("test_resnet", num_classes=4, in_chans=3)
    theirs.pretrained_cfg.update(input_size=(3, 48, 48), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic")
    timm.models.save_for_hf(theirs, tmp_path / "theirs", safe_serialization=True)
    config = ModelConfig(family="cnn", backbone=f"local-dir:{tmp_path / 'theirs'}")
    source = find_source(config, phantom)
    assert (source.preprocess.size, source.preprocess.mean, source.preprocess.interpolation) == (
        (48, 48),
        (0.1, 0.2, 0.3),
        "bicubic",
    )
    spec, network = build_source(source, config, phantom, 0, task="classify", objective={}, arguments={"outputs": 3})
    images = torch.rand(1, 3, 48, 48)
    torch.testing.assert_close(network.eval().forward_features(images), theirs.eval().forward_features(images))
    assert spec.initial_weights is not None
    assert spec.initial_weights["name"] == "local-dir:theirs"
    with pytest.raises(ConfigError, match="timm's, for model=cnn, vit or slices"):
        find_source(replace(config, family="cnn3d"), phantom)
    (tmp_path / "theirs" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        find_source(config, phantom)


def test_a_repository_of_timms_is_a_start(phantom: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an earlier form: one level of configuration, and weights of torch.save alone."""
    theirs = timm.create_model("test_resnet", num_classes=0)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "input_size": [3, 32, 32], "mean": [0.5] * 3})
    )
    asked = []

    def fetch(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((file, revision))
        if not (tmp_path / file).is_file():
            raise OSError("404")
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    config = ModelConfig(family="cnn", backbone="hf-hub:owner/name@c0ffee")
    source = find_source(config, phantom)
    assert source.preprocess.size == (32, 32)
    assert {revision for _, revision in asked} == {"c0ffee"}
    spec, _ = build_source(source, config, phantom, 0, task="classify", objective={}, arguments={"outputs": 3})
    assert spec.initial_weights is not None
    assert (spec.initial_weights["name"], spec.architecture) == ("hf-hub:owner/name@c0ffee", "test_resnet")


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "weights"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 20
    assert main(["list", "weights", "zoo:uni*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["zoo:uni", "zoo:uni2_h"]
    assert all("CC-BY-NC-ND-4.0 (gated)" in line for line in lines)
    assert main(["list", "weights", "biomedclipp"]) == 2
    assert "did you mean 'biomedclip'" in capsys.readouterr().err
