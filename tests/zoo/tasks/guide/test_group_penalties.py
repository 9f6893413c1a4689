"""Trainings in which groups shall tell nothing: weight 0 changes no bit, resuming is exact, every family learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.losses.domains import RANGES
from medzoo.settings.schema import FusionConfig, LossConfig, ModelConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.storage import pointed_folder
from medzoo.tasks.classify import Classify
from medzoo.tasks.guide.groups import GROUP, WEIGHT
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.adversary import oppose
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.task import Batch
from medzoo.train.checks import check_trainer
from medzoo.train.loop import Trainer

SHORT = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=2",
    "trainer.batch_size=8", "evaluate=false", "device=cpu",
]  # fmt: skip
TINY = {"size": 24, "patients": 12}


def weights(run: Path) -> bytes:
    return (find_checkpoint(run, "last") / "model.safetensors").read_bytes()


def built(how: str, *, model: ModelConfig | None = None, options: dict | None = None, **arguments: object) -> Classify:
    dataset = load_dataset("phantom", **TINY, **(options or {}))
    asked = LossConfig(group={"column": "site", "how": how, **arguments})
    task = task_from_config(model or ModelConfig(backbone="test_resnet"), asked, dataset, seed=0)
    assert isinstance(task, Classify)
    return oppose(task, TrainerConfig(), seed=0)  # type: ignore[return-value]


def batch_of(rows: int = 6) -> Batch:
    images = torch.randint(0, 256, (rows, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    target = torch.eye(4)[torch.arange(rows) % 4]
    target[1] = float("nan")
    return {"image": images, "target": target, GROUP: torch.arange(rows) % 2, WEIGHT: torch.ones(rows)}


@pytest.mark.parametrize("how", ["adversarial", *(pytest.param(how, marks=pytest.mark.slow) for how in ("coral", "irm"))])
def test_a_weight_of_0_changes_no_bit(how: str, tmp_path: Path) -> None:
    options = [*SHORT, "trainer.epochs=1"]
    assert main(["train", *options, f"run={tmp_path / 'plain'}"]) == 0
    assert main(["train", *options, f"loss.group={{column: site, how: {how}, weight: 0}}", f"run={tmp_path / how}"]) == 0
    found, plain = (load_file(find_checkpoint(tmp_path / name) / "model.safetensors") for name in (how, "plain"))
    assert all(torch.equal(found[name], plain[name]) for name in found | plain)


@pytest.mark.parametrize(("how", "learnt"), [
    ("how: adversarial, rise: 4, hidden: 8", "beside.penalty.head.0.weight"),
    pytest.param("how: irm, after: 3", "beside.penalty.steps", marks=pytest.mark.slow),
])  # fmt: skip
def test_resuming_is_exact(how: str, learnt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*SHORT, "trainer.save_every=2", "trainer.ema=0.9", f"loss.group={{column: site, {how}}}"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", *options, f"run={whole}"]) == 0
    step = Trainer._step

    def interrupted(self: Trainer, *given: object) -> float:
        if self.progress.step == 5:
            raise KeyboardInterrupt
        return step(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", interrupted)
    assert main(["train", *options, f"run={stopped}"]) == 130
    monkeypatch.setattr(Trainer, "_step", step)
    assert main(["train", f"resume={stopped}"]) == 0
    states = [load_file(pointed_folder(run / "state", "latest") / "tensors.safetensors") for run in (whole, stopped)]  # type: ignore[operator]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert learnt in states[0]
    assert int(states[0]["beside.penalty.steps"]) > 5
    assert weights(whole) == weights(stopped)
    # What is learnt beside is thrown away: the checkpoint loads as any, and holds the classifier alone.
    assert not any("penalty" in name for name in load_file(find_checkpoint(whole) / "model.safetensors"))
    task = load_checkpoint(find_checkpoint(whole))
    assert task.guide is not None
    assert set(task.guide.state_dict()) == {"penalty.steps"}


@pytest.mark.parametrize("how", RANGES)
def test_the_loss_is_the_plain_one_and_the_penalty_of_its_features(how: str) -> None:
    task, batch = built(how, weight=0.7).eval(), batch_of()
    plain = built(how, weight=0).eval()
    plain.model.load_state_dict(task.model.state_dict())
    assert plain.guide is not None
    assert plain.guide.penalty is None
    found, expected = task.training_step(batch), plain.training_step(batch)
    assert torch.equal(found["count"], expected["count"])
    assert int(found["count"]) == 5
    assert task.guide is not None
    codes = batch[GROUP]
    given = task.loss, task.logits(batch), task.features(batch), batch["target"], codes, batch[WEIGHT]
    penalty = task.guide.penalty(*given)
    assert penalty.item() > 0
    assert found["loss"].item() == pytest.approx((expected["loss"] + penalty).item(), rel=1e-5)
    found["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in task.model.parameters())


def test_heads_are_drawn_by_the_seed_and_leave_the_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    heads = []
    for seed in (0, 0, 1):
        task = oppose(built("adversarial", hidden=7), TrainerConfig(), seed)
        assert task.guide is not None
        heads.append(task.guide.penalty.head[0].weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].shape[0] == 7
    torch.set_rng_state(before)
    oppose(built("adversarial"), TrainerConfig(), 0)
    drawn = torch.get_rng_state()
    torch.set_rng_state(before)
    built("coral")
    assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize("label", ["binary", "multilabel", "regression", "ordinal"])
@pytest.mark.parametrize("how", RANGES)
def test_every_kind_of_label_learns(how: str, label: str) -> None:
    task = built(how, options={"labels": label}).train()
    batch = batch_of()
    width = task.spec.label_space.width
    targets = torch.eye(width)[torch.arange(6) % width]
    said = task.training_step({**batch, "target": targets if label != "regression" else targets * 3 + 5})
    said["loss"].backward()
    assert torch.isfinite(said["loss"])


@pytest.mark.parametrize("how", ["dro", pytest.param("adversarial", marks=pytest.mark.slow)])
def test_models_of_several_modalities_learn_by_groups(how: str, tmp_path: Path) -> None:
    model = ModelConfig(family="fusion", backbone="test_resnet", fusion=FusionConfig(width=16))
    task = built(how, model=model, options={"modalities": ["image", "second"]}).eval()
    batch = {name: batch_of()["image"] for name in ("image", "second")}
    logits, features = task._seen({"images": batch})
    assert torch.allclose(logits, task.logits({"images": batch}))
    assert torch.allclose(features, task.features({"images": batch}))
    options = [
        *SHORT, "trainer.epochs=1", "data.modalities=[image,second]", "model.fusion.width=16", f"run={tmp_path / how}",
        f"loss.group={{column: site, how: {how}}}",
    ]  # fmt: skip
    assert main(["train", "model=fusion", *options]) == 0
    states = load_file(pointed_folder(tmp_path / how / "state", "latest") / "tensors.safetensors")  # type: ignore[operator]
    assert any(name.startswith("beside.") for name in states)


@pytest.mark.parametrize("how", [*RANGES, "dro"])
def test_parts_of_batches_are_refused_and_several_processes_are_not(how: str) -> None:
    task = built(how)
    check_trainer(TrainerConfig(), task, 2)
    with pytest.raises(ConfigError, match="any how but balanced"):
        check_trainer(TrainerConfig(accumulate=2), task, 1)


MISTAKES = {
    "coral of a probe": (["loss.group={column: site, how: coral}", "trainer.finetune=linear"], "how=coral changes features"),
    "an adversary of a probe": (
        ["loss.group={column: site, how: adversarial}", "trainer.finetune=linear"], "how=adversarial changes features",
    ),
    "a solved probe by irm": (
        ["loss.group={column: site, how: irm}", "trainer.finetune=linear", "trainer.probe=solved", "trainer.epochs=20",
         "trainer.batch_size=64"], "no solution at once",
    ),
    "irm of corn": (["data.labels=ordinal", "loss=corn", "loss.group={column: site, how: irm}"], "loss=corn has none of classes"),
    "coral and mixup": (["loss.group={column: site, how: coral}", "trainer.mixup=0.2"], "mix samples of two groups"),
    "irm and accumulation": (["loss.group={column: site, how: irm}", "trainer.accumulate=2"], "held against each other"),
    "no such way": (["loss.group={column: site, how: dann}"], "'dann'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, words = MISTAKES[mistake]
    capsys.readouterr()
    assert main(["train", *SHORT, *options, f"run={tmp_path / 'run'}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", RANGES)
def test_one_group_alone_is_refused(how: str) -> None:
    rows = load_dataset("phantom", **TINY)
    one = rows.with_table(rows.table.assign(site="north"))
    with pytest.raises(ConfigError, match="groups are weighed against each other"):
        task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(group={"column": "site", "how": how}), one, seed=0)


def test_irm_of_a_linear_probe_takes_steps(trained_run: Path, tmp_path: Path) -> None:
    options = [
        "data=phantom", "data.size=32", "data.patients=12", f"model.backbone={trained_run}", "trainer.finetune=linear",
        "trainer.epochs=1", "trainer.batch_size=8", "evaluate=false", "device=cpu",
        "loss.group={column: site, how: irm, weight: 10}",
    ]  # fmt: skip
    assert main(["train", *options, f"run={tmp_path / 'run'}"]) == 0
    learnt, before = (load_file(find_checkpoint(run) / "model.safetensors") for run in (tmp_path / "run", trained_run))
    assert [name for name in learnt if not np.array_equal(learnt[name], before[name])] == ["fc.bias", "fc.weight"]
