"""What is frozen stays bit for bit; a cached probe is the uncached one; depths learn at their own rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import classify_features, depth_groups, pooled_features
from medzoo.models.finetune import freeze, parameter_groups, set_training
from medzoo.models.heads.ordinal import CornLink, OrdinalNetwork
from medzoo.models.registry import create_model
from medzoo.settings.schema import TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.train.optim import make_optimizer

TINY = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=2",
    "trainer.batch_size=16", "evaluate=false",
]  # fmt: skip


def trained(run: Path, *options: str) -> dict[str, torch.Tensor]:
    assert main(["train", *TINY, *options, f"run={run}"]) == 0
    return tensors_from_file(find_checkpoint(run, "last") / "model.safetensors")


def initial(outputs: int = 4) -> dict[str, torch.Tensor]:
    return create_model("test_resnet", outputs=outputs, channels=1, size=(24, 24), small_stem=True, seed=0).state_dict()


def test_a_linear_probe_changes_the_head_alone(tmp_path: Path) -> None:
    after, before = trained(tmp_path / "run", "trainer.finetune=linear", "trainer.ema=0.9"), initial()
    assert after.keys() == before.keys()
    assert any("running_mean" in name for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_the_cached_probe_equals_the_uncached_one(tmp_path: Path) -> None:
    same = ["trainer.finetune=linear", "trainer.augment=none", "+model.arguments.drop_rate=0.3"]
    cached = trained(tmp_path / "a", *same, "trainer.cache_features=true")
    plain = trained(tmp_path / "b", *same, "trainer.cache_features=false")
    for name, tensor in plain.items():
        torch.testing.assert_close(cached[name], tensor, rtol=1e-5, atol=1e-6)
    assert not torch.equal(cached["fc.weight"], initial()["fc.weight"])


def test_a_cached_probe_resumes_exactly(tmp_path: Path) -> None:
    """The state holds no features: they are computed again, to the same bit."""
    whole = trained(tmp_path / "a", "trainer.finetune=linear", "trainer.epochs=4")
    with pytest.MonkeyPatch.context() as patch:
        from medzoo.train.loop import Trainer

        done = Trainer._end_epoch

        def stop(self: Trainer) -> None:
            done(self)
            if self.progress.epoch == 2:
                raise KeyboardInterrupt

        patch.setattr(Trainer, "_end_epoch", stop)
        assert main(["train", *TINY, "trainer.finetune=linear", "trainer.epochs=4", f"run={tmp_path / 'b'}"]) == 130
    assert main(["train", f"resume={tmp_path / 'b'}"]) == 0
    again = tensors_from_file(find_checkpoint(tmp_path / "b", "last") / "model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_partial_finetuning_keeps_the_first_blocks_and_their_statistics(tmp_path: Path) -> None:
    after, before = trained(tmp_path / "run", "trainer.finetune=partial", "trainer.unfreeze=1"), initial()
    last = max(name.split(".")[0] for name in before if name.startswith("layer"))
    for name, tensor in before.items():
        trainable = name.startswith((last, "fc"))
        if not trainable or name.endswith("num_batches_tracked"):
            assert torch.equal(after[name], tensor) == (not trainable), name
    assert not torch.equal(after[f"{last}.0.bn1.running_mean"], before[f"{last}.0.bn1.running_mean"])
    assert not torch.equal(after[f"{last}.0.conv1.weight"], before[f"{last}.0.conv1.weight"])


@pytest.mark.parametrize(
    ("name", "family", "size"),
    [
        ("test_resnet", "cnn", (32, 32)),
        ("test_vit", "vit", (160, 160)),
        ("test_efficientnet", "cnn", (32, 32)),
        ("zach_vit", "vit", (32, 32)),
        ("resnet18_3d", "cnn3d", (16, 16, 16)),
        ("densenet121_3d", "cnn3d", (32, 32, 32)),
        ("swin_3d", "cnn3d", (32, 32, 64)),
        ("test_resnet", "slices", (3, 32, 32)),
    ],
)
def test_features_and_head_make_the_whole_and_every_parameter_has_a_depth(name: str, family: str, size: tuple) -> None:
    model = create_model(name, outputs=4, family=family, channels=1, size=size).eval()
    model = OrdinalNetwork(model, CornLink())
    images = torch.randn(2, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(classify_features(model, pooled_features(model, images)), model(images))
    head = {"backbone." + n for n, _ in model.backbone.named_parameters() if model.backbone.get_classifier() is not None}
    deep = [n for names in depth_groups(model) for n in names]
    assert len(deep) == len(set(deep))
    assert set(deep) <= head
    classifier = {id(p) for p in model.get_classifier().parameters()}
    assert {n for n, p in model.named_parameters() if id(p) not in classifier} == set(deep)
    assert len(depth_groups(model)) >= 2


def test_rates_fall_with_the_distance_from_the_head() -> None:
    model = create_model("test_vit", outputs=3, channels=3, size=(160, 160))
    groups = parameter_groups(model, 0.05, 0.5)
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert len(scale) == sum(p.requires_grad for p in model.parameters())
    depth = len(depth_groups(model))
    assert scale[id(model.head.weight)] == 1
    assert scale[id(model.blocks[-1].attn.qkv.weight)] == 0.5
    assert scale[id(model.patch_embed.proj.weight)] == 0.5**depth
    assert decay[id(model.head.weight)] == 0.05
    assert decay[id(model.head.bias)] == decay[id(model.pos_embed)] == 0
    optimizer = make_optimizer(model, TrainerConfig(layer_decay=0.5))
    assert sorted({g["lr_scale"] for g in optimizer.param_groups}) == sorted({g["lr_scale"] for g in groups})


def test_dropout_and_statistics_of_what_is_frozen_are_off() -> None:
    model = create_model("test_resnet", outputs=3, channels=3, arguments={"drop_rate": 0.5})
    config = TrainerConfig(finetune="partial", unfreeze=1)
    freeze(model, config)
    set_training(model, config)
    assert not model.bn1.training
    assert not model.layer1.training
    assert model.fc.training
    set_training(model, TrainerConfig())
    assert all(module.training for module in [model.fc])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["trainer.finetune=liner"], "'linear'"),
        (["trainer.finetune=partial", "trainer.unfreeze=40"], "trainer.unfreeze=40 is not between 1 and"),
        (["trainer.cache_features=true"], "is for trainer.finetune=linear"),
        (["trainer.finetune=linear", "trainer.cache_features=true", "trainer.augment=fundus"], "no augmentation"),
        (["trainer.finetune=linear", "trainer.cache_features=true", "trainer.mixup=0.2"], "need images"),
        (["trainer.layer_decay=1.5"], "trainer.layer_decay=1.5"),
        (["trainer.sampling=weighted"], "trainer.sampling"),
        (["data.labels=regression", "trainer.cutmix=1"], "cutmix is for classes"),
        (["data.labels=regression", "trainer.sampling=balanced"], "needs classes"),
        (["loss=corn"], "unknown loss 'corn'"),
        (["loss.label_smoothing=1"], r"loss.label_smoothing=1 is not in \[0, 1\)"),
        (["loss.class_weights=[1,2]"], "4 positive numbers"),
        (["loss.positive_weights=balanced"], "is not for cross_entropy"),
        (["loss=focal", "data.labels=multilabel", "+loss.arguments.gama=1"], "'gamma'"),
        (["loss=focal", "data.labels=multilabel", "loss.arguments.gamma=-3"], "gamma=-3 is not a number of at least 0"),
        (["model.neighbours=0"], "model.neighbours=0"),
        (["trainer.trackers=[wandb]"], "wandb"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_run(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert main(["train", *TINY, *options, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_head_must_be_one_layer() -> None:
    with pytest.raises(ConfigError, match="not one linear layer"):
        freeze(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), TrainerConfig(finetune="linear"))
