"""`medzoo robustness` on a tiny run: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from medzoo.cli import main
from medzoo.data.dataset import Dataset
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.devices import make_accelerator
from medzoo.inference.robustness import corrupted_predictions
from medzoo.inference.run import Runner
from medzoo.tasks.load import load_checkpoint

TINY = [
    "data=phantom", "data.size=16", "data.patients=80", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=1",
    "trainer.batch_size=32", "evaluation.replicates=20", "evaluation.splits=[test]", "device=cpu",
]  # fmt: skip
TRY = ["severities=[2,5]", "corruptions=[gaussian_noise, jpeg, stain_shift]", "replicates=20", "device=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("robustness") / "run"
    assert main(["train", *TINY, f"run={place}"]) == 0
    return place


def files(run: Path) -> dict[str, str]:
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()
    }


def test_it_writes_its_file_and_plot_and_touches_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(run)
    assert main(["robustness", f"run={run}", *TRY]) == 0
    said = capsys.readouterr().out
    after = files(run)
    assert set(after) - set(before) == {"robustness.json", "plots/robustness_test.png"}
    assert {name: after[name] for name in before} == before
    report = json.loads((run / "robustness.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert report["clean"]["value"] == metrics["splits"]["test"]["metrics"]["auroc"]["value"]
    assert report["spec"] == metrics["spec"]
    assert report["details"]["weights"] == metrics["details"]["weights"]
    assert list(report["corruptions"]) == ["gaussian_noise", "jpeg"]
    assert report["corruptions"]["jpeg"]["amounts"] == {"2": 30, "5": 7}
    assert report["corruptions"]["jpeg"]["source"] == "MedMNIST-C, chestmnist"
    assert report["left_out"] == {"stain_shift": "stain_shift changes stains, which a gray image does not show"}
    assert "left out: stain_shift" in said
    assert main(["robustness", f"run={run}", *TRY]) == 0
    assert files(run) == after  # the same to the last byte
    assert main(["robustness", f"run={run}", *TRY, f"baseline={run}"]) == 0
    assert json.loads((run / "robustness.json").read_text())["mean_corruption_error"]["value"] == pytest.approx(1)


def test_the_model_sees_the_corrupted_pixels_and_at_severity_0_its_own(run: Path) -> None:
    task = load_checkpoint(run / "checkpoints" / (run / "checkpoints" / "best").read_text().strip())
    dataset: Dataset = load_dataset("phantom", size=16, patients=80)
    runner = Runner(make_accelerator("cpu"), 64, 0)
    own = Predictions.read(run / "predictions.parquet").of_split("test")
    same = corrupted_predictions(task, dataset, "test", runner, "hair", 0, 0)
    assert (same.logits == own.logits).all()
    assert (same.sample_id == own.sample_id).all()
    other = corrupted_predictions(task, dataset, "test", runner, "hair", 5, 0)
    assert (other.logits != own.logits).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["severities=[0,1]"], "severities=[0, 1] must be some of [1, 2, 3, 4, 5], each once"),
        (["corruptions=[jpg]"], "'jpeg'"),
        (["split=holdout"], "'holdout'"),
        (["metric=dice"], "dice"),
        (["batch_size=0"], "batch_size=0 must be at least 1"),
        (["corruptions=[volume_spike]"], "volume_spike is of volumes, and this is an image"),
        (["+data.size=32"], "data.size=32"),
        (["baseline=nowhere"], "nowhere is not a run directory"),
    ],
)
def test_mistakes_are_one_line(run: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(run)
    assert main(["robustness", f"run={run}", "device=cpu", *settings]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert files(run) == before


@pytest.mark.slow
def test_an_image_text_model_is_scored_by_its_prompts(tmp_path: Path) -> None:
    run = tmp_path / "clip"
    train = [setting for setting in TINY if not setting.startswith("model.")]
    assert main(["train", *train, "model=clip", "model.backbone=clip_tiny", f"run={run}"]) == 0
    assert main(["robustness", f"run={run}", *TRY, "metric=balanced_accuracy"]) == 0
    report = json.loads((run / "robustness.json").read_text())
    own = json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"]["balanced_accuracy"]["value"]
    assert report["clean"]["value"] == pytest.approx(own)
    assert report["metric"] == "balanced_accuracy"
