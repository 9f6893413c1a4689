"""Every mistake ends with one clear line and exit status 2; the command is the real one."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from medzoo.cli import VERBS, main
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.load import load_checkpoint

TINY = [
    "data=phantom", "data.size=24", "data.patients=24", "model.backbone=test_resnet", "trainer.trackers=[]",
    "trainer.epochs=1", "trainer.batch_size=16", "evaluation.replicates=20",
]  # fmt: skip


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("medzoo: ")
    assert len(error.splitlines()) == 1
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "'train'"),
        (["train", "trainer.epoch=3"], "'trainer.epochs'"),
        (["train", "trainr.epochs=3"], "trainer.epochs"),
        (["train", "data=phantm"], "'phantom'"),
        (["train", "model=cn"], "'cnn'"),
        (["train", "trainer.epochs=many"], "trainer.epochs"),
        (["train", *TINY, "model.backbone=resnet81"], "'resnet18'"),
        (["train", *TINY, "model.backbone=resnet18.a1_in2k"], "'resnet18.a1_in1k'"),
        (["train", *TINY, "trainer.optimizer=adamww"], "'adamw'"),
        (["train", *TINY, "trainer.monitor=auroc1"], "'auroc'"),
        (["train", *TINY, "trainer.monitor=mathews_corrcoef"], "'matthews_corrcoef'"),
        (["train", *TINY, "trainer.monitor=fbeta_score"], "fbeta_score needs beta"),
        (["train", *TINY, "trainer.monitor=[auroc]"], "trainer.monitor: ['auroc'] is no metric; it is a name, or {name: "),
        (["train", *TINY, "evaluation.extra=[spesificity]"], "'specificity'"),
        (["train", *TINY, "evaluation.extra=[{fbeta_score: {betta: 2}}]"], "'beta'"),
        (["train", *TINY, "evaluation.extra=[r2_score]"], "is for regression labels, and these are multiclass"),
        (["train", *TINY, "trainer.trackers=[tensorbord]"], "'tensorboard'"),
        (["train", *TINY, "evaluation.splits=[tset]"], "'test'"),
        (["train", *TINY, "data.labels=multiclas"], "'multiclass'"),
        (["train", *TINY, "+data.sise=3"], "'size'"),
        (["train", *TINY, "data.packed=/no/such"], "make them with medzoo prepare"),
        (["train", *TINY, "trainer.augment=xry"], "'xray'"),
        (["train", *TINY, "trainer.precision=fp64"], "fp16"),
        (["train", *TINY, "trainer.schedule=cosin"], "'cosine'"),
        (["train", *TINY, "model=vit", "model.backbone=test_vit", "model.preprocess.size=24"], "model.preprocess.size"),
        (["train", *TINY, "model.checkpoint_path=/no/such.pth"], "no weights file"),
        (["train", *TINY, "model.pretrained=true", "model.backbone=resnet18"], "checkpoint_path"),
        (["train", "data=medmnist", "data.set=retinamnst"], "'retinamnist'"),
        (["train", "data=medmnist", "data.root=/no/such"], "data.download=true"),
        (["predict", "/no/such.onnx", "x.png"], "/no/such.onnx"),
        (["serve", "/no/such.onnx"], "/no/such.onnx"),
        (["serve", "a/model.onnx", "b/model.onnx"], "two models are called model (a/model.onnx and b/model.onnx)"),
        (["serve", "a b=model.onnx"], "'a b' is no name for a model"),
        (["serve", "model.onnx", "--queue", "3"], "--images 16 of a request would never find room in a --queue of 3"),
        (["serve", "model.onnx", "--batch", "0"], "--batch 0 is too small"),
        (["serve", "model.onnx", "--key-file", "/no/such"], "--key-file /no/such has no line"),
        (["list", "modls"], "'models'"),
        (["list", "models", "resnt18"], "no model matches 'resnt18'; did you mean 'resnet18'"),
        (["list", "models", "no-such*"], "no model matches 'no-such*'; medzoo list models prints all"),
        (["list", "datasets", "phantm"], "no dataset matches 'phantm'; did you mean 'phantom'"),
        (["list", "models", "vit_a", "vit_b"], "takes one pattern, got 2 words; quote it"),
        (["train", *TINY, "run=runs/a=b"], """cannot read run=runs/a=b: its value must stand in quotes"""),
        (["train", *TINY, "run=runs/a=b"], """'run="runs/a=b"'"""),
        (["evaluate", "run=runs/a=b"], """'run="runs/a=b"'"""),
        (["train", *TINY, "run=runs/#1"], """'run="runs/#1"'"""),
        (["train", "phantom"], "'phantom' is not a setting; settings are given as KEY=VALUE"),
        (["train", "trainer.milestones=[1,"], "cannot read trainer.milestones=[1, (no viable"),
        (["train", """run=runs/it's"""], "cannot read run=runs/it's; check its brackets and quotes"),
        (["evaluate", "run=x", "data.root=/new"], "unknown setting 'data.root'; what is added to data is written with a plus: "),
        (["export", "run=x", "data.root=/new"], "+data.root=/new"),
        (["train", *TINY, "model.arguments.drop_rate=0.1"], "+model.arguments.drop_rate=0.1"),
        (["train", *TINY, "data.sise=3"], "did you mean 'data.size'"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in fails(capsys, *arguments)


def test_a_run_directory_is_never_overwritten(capsys: pytest.CaptureFixture[str], trained_run: Path) -> None:
    assert "not empty" in fails(capsys, "train", *TINY, f"run={trained_run}")


def test_a_mistake_leaves_no_run_directory_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    fails(capsys, "train", *TINY, "trainer.monitor=auroc1", f"run={run}")
    assert main(["train", *TINY, "evaluate=false", f"run={run}"]) == 0


def test_a_nan_loss_stops_says_where_and_keeps_the_last_good_state(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    error = fails(
        capsys, "train", *TINY, "trainer.learning_rate=1e30", "trainer.clip=null", "trainer.optimizer=sgd", f"run={run}"
    )
    assert "epoch 1" in error
    assert "learning_rate" in error
    assert (run / "state" / "latest").is_file()


@pytest.mark.slow
def test_no_space_while_saving_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *TINY, f"run={run}"]) == 0
    before = (find_checkpoint(run, "best") / "model.safetensors").read_bytes()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"]["epochs"] = 3
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    state = run / "state" / (run / "state" / "latest").read_text() / "state.json"
    content = json.loads(state.read_text())
    content["progress"]["finished"], content["settings"]["trainer.epochs"] = False, 3
    state.write_text(json.dumps(content))

    def limit() -> None:  # a file may not grow past 20 kB: what a full disk does to a write
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    program = "import sys; from medzoo.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "train", f"resume={run}"], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "cannot save" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    load_checkpoint(find_checkpoint(run, "best"))
    assert (find_checkpoint(run, "best") / "model.safetensors").read_bytes() == before
    assert main(["train", f"resume={run}", "evaluate=false"]) == 0


def test_a_damaged_checkpoint_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, trained_run: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(trained_run, copy)
    weights = find_checkpoint(copy) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in fails(capsys, "evaluate", f"run={copy}")


@pytest.mark.parametrize("labels", ["binary", "ordinal", "multilabel", "regression"])
def test_every_label_kind_trains_and_reports(labels: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    metric, shown = ("mae", "r2") if labels == "regression" else ("auroc", "auroc")
    assert main(["train", *TINY, f"data.labels={labels}", f"run={run}"]) == 0
    result = json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"][shown]
    assert result.get("no_interval") or result["low"] <= result["value"] <= result["high"]
    assert f"val_{metric}" in (run / "history.csv").read_text()
    for name in ("config.yaml", "spec.json", "history.csv", "predictions.parquet", "plots/learning_curves.png"):
        assert (run / name).stat().st_size > 0


@pytest.mark.parametrize("options", [["model=vit", "model.backbone=test_vit"], ["trainer.precision=bf16", "data.channels=3"]])
def test_other_models_and_precisions_train(options: list[str], tmp_path: Path) -> None:
    assert main(["train", *TINY, *options, f"run={tmp_path / 'run'}"]) == 0


def test_evaluating_again_gives_the_same_results(trained_run: Path) -> None:
    before = json.loads((trained_run / "metrics.json").read_text())["splits"]
    assert main(["evaluate", f"run={trained_run}", "evaluation.replicates=100"]) == 0
    assert json.loads((trained_run / "metrics.json").read_text())["splits"] == before
    assert main(["evaluate", f"run={trained_run}", "predict=false", "evaluation.replicates=100"]) == 0
    assert json.loads((trained_run / "metrics.json").read_text())["splits"] == before


def test_predictions_of_other_weights_are_not_scored(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    again = ["evaluate", f"run={run}", "predict=false", "evaluation.replicates=20"]
    assert main(again) == 0
    weights = find_checkpoint(run, "best") / "model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights)
    assert main(again) == 2
    error = capsys.readouterr().err
    assert "was made by other weights than checkpoint=best has now; leave out predict=false" in error
    assert error.count("\n") == 1
    assert main([*again[:2], *again[3:]]) == 0  # predicted anew
    assert main(again) == 0
    shutil.rmtree(run / "checkpoints")  # a run sent without its weights is scored as it is
    assert main(again) == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["evaluation.tta=2"], "evaluation.tta has no effect with predict=false; leave it out"),
        (["evaluation.batch_size=8"], "evaluation.batch_size has no effect"),
        (["device=cpu"], "device has no effect"),
        (["workers=1"], "workers has no effect"),
        (["+data.root=/no/such", "device=cpu"], "device, data.root have no effect with predict=false; leave them out"),
        (["checkpoint=last"], "was made with checkpoint=best, not last; give checkpoint=best to score it"),
    ],
)
def test_scoring_again_refuses_what_it_would_ignore(
    trained_run: Path, capsys: pytest.CaptureFixture[str], settings: list[str], expected: str
) -> None:
    assert expected in fails(capsys, "evaluate", f"run={trained_run}", "predict=false", *settings)


def test_nobody_scores_another_checkpoint_than_he_believes(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    command = ["evaluate", f"run={run}", "evaluation.replicates=20"]
    assert main([*command, "checkpoint=last", "evaluation.tta=1"]) == 0
    assert "scored: predictions of checkpoint=last, tta=1" in capsys.readouterr().out
    for given in ([], ["checkpoint=best"]):
        assert "made with checkpoint=last, not best; give checkpoint=last" in fails(capsys, *command, "predict=false", *given)
    assert main([*command, "predict=false", "checkpoint=last"]) == 0
    assert "scored: predictions of checkpoint=last, tta=1" in capsys.readouterr().out
    assert json.loads((run / "metrics.json").read_text())["details"]["checkpoint"] == "last"


def test_a_quoted_run_directory_may_hold_an_equals_sign(tmp_path: Path) -> None:
    run = tmp_path / "a=b"
    assert main(["train", *TINY, "evaluate=false", f'run="{run}"']) == 0
    assert (run / "config.yaml").is_file()


def test_list_prints_image_text_models_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models", "ViT-B-32*"]) == 0
    assert "ViT-B-32\n" in capsys.readouterr().out
    assert main(["list", "models", "clip_tiny"]) == 0
    assert capsys.readouterr().out == "clip_tiny\n"
    assert main(["list", "models"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {"zach_vit", "resnet18", "ViT-B-16", "clip_tiny"} <= set(names)
    assert names == sorted(set(names))
    assert not any(name.startswith("coca") for name in names)  # model=clip refuses these
    assert main(["list", "datasets", "phantom"]) == 0
    assert capsys.readouterr().out.startswith("phantom/binary ")


def test_a_folder_of_your_own_yaml_joins(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("defaults: [default]\nepochs: 1\nlearning_rate: 0.5\n")
    run = tmp_path / "run"
    options = [o for o in TINY if o != "trainer.epochs=1"]
    assert main(["train", "--config-dir", str(tmp_path), "trainer=mine", *options, "evaluate=false", f"run={run}"]) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["learning_rate"] == 0.5


def test_constant_labels_and_a_one_image_val_split_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "medmnist"
    root.mkdir()
    rng = np.random.default_rng(0)
    arrays = {
        f"{s}_images": rng.integers(0, 255, (n, 28, 28, 3), dtype=np.uint8) for s, n in (("train", 20), ("val", 1), ("test", 6))
    }
    labels = {f"{s}_labels": np.full((n, 1), 2, np.uint8) for s, n in (("train", 20), ("val", 1), ("test", 6))}
    np.savez(root / "retinamnist.npz", **arrays, **labels)
    run = tmp_path / "run"
    options = ["data=medmnist", "data.set=retinamnist", f"data.root={root}", "data.verify=false", *TINY[3:]]
    assert main(["train", *options, f"run={run}"]) == 0
    assert "undefined on the val split" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"]
    assert metrics["auroc"]["value"] is None
    assert metrics["accuracy"]["value"] is not None


@pytest.mark.parametrize(
    ("verb", "then"),
    [
        ("train", "; medzoo train resume=<run> goes on from the last saved state"),
        ("suite", "; the same command goes on"),
        ("tune", "; the same command goes on"),
        ("list", ""),
    ],
)
def test_who_interrupts_is_told_how_to_go_on(capsys, monkeypatch, verb, then):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(VERBS, verb, interrupted)
    assert main([verb]) == 130
    assert capsys.readouterr().err == f"medzoo: interrupted{then}\n"


@pytest.mark.parametrize("verb", ["train", "export", "report", "compare", "demo", "search", "verify"])
def test_a_name_that_no_file_can_have_is_one_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 5000
    words = {
        "train": ["data=phantom", f"run={name}"], "compare": [name, "x"], "demo": [name], "search": [name, "--like", "3"],
        "verify": ["data=phantom", "--config-dir", name],
    }  # fmt: skip
    error = fails(capsys, verb, *words.get(verb, [f"run={name}"]))
    assert "a" * 100 in error


def test_a_place_that_cannot_be_written_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "mkdir", full)
    error = fails(capsys, "demo", str(tmp_path / "demo"))
    assert str(tmp_path / "demo") in error
    assert "No space left on device" in error


@pytest.mark.parametrize("words", [["train", "data=phantom", "run={}/x"], ["demo", "{}/x"], ["suite", "{}/grid.yaml"]])
def test_a_path_through_a_file_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in fails(capsys, *(word.format(tmp_path / "file") for word in words))


@pytest.mark.parametrize("words", [["card", "output={}/x.md"], ["export", "output={}/x.onnx"], ["report", "output={}/x.html"]])
def test_what_a_run_is_written_to_may_lead_through_no_file(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, trained_run: Path
) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in fails(capsys, words[0], f"run={trained_run}", words[1].format(tmp_path / "file"))


def test_what_the_output_cannot_write_is_escaped(tmp_path: Path) -> None:
    """A pipe of a Windows console or of LC_ALL=C has not every letter; what is told must not end in the middle."""
    for name in ("gut", "bösartig"):
        for number in range(6):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("L", (4, 4), 20 * number + len(name)).save(tmp_path / name / f"{number}.png")
    command = [sys.executable, "-m", "medzoo", "verify", "data=folder", f"data.root={tmp_path}"]
    ended = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"b\\xf6sartig" in ended.stdout
