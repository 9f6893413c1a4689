"""Metrics of torchmetrics from the command line: in the report, choosing the epoch, and on the page of results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.functional import classification as tm

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions

TINY = [
    "data=phantom", "data.size=16", "data.patients=60", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.epochs=3",
    "trainer.batch_size=16", "trainer.learning_rate=0.003", "evaluation.replicates=30", "device=cpu",
]  # fmt: skip
AT = "specificity_at_sensitivity(min_sensitivity=0.8)"
EXTRA = "evaluation.extra=[matthews_corrcoef,{specificity_at_sensitivity: {min_sensitivity: 0.8}},auroc]"
MONITOR = "trainer.monitor={specificity_at_sensitivity: {min_sensitivity: 0.8}}"


def report(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("extra") / "run-0"
    assert main(["train", *TINY, EXTRA, MONITOR, f"run={run}"]) == 0
    return run


def test_the_report_has_them_under_their_names(run: Path) -> None:
    found = report(run)
    assert found["extra"]["by"].startswith("torchmetrics ")
    assert found["extra"]["metrics"] == ["matthews_corrcoef", AT, "auroc"]
    rows = Predictions.read(run / "predictions.parquet").of_split("test")
    p, y = torch.from_numpy(rows.logits).double().softmax(1), torch.from_numpy(rows.targets).argmax(1)
    part = found["splits"]["test"]
    direct = float(tm.multiclass_matthews_corrcoef(p, y, num_classes=p.shape[1]))
    assert part["extra"]["matthews_corrcoef"]["value"] == pytest.approx(direct, abs=1e-9)
    assert part["extra"]["auroc"]["value"] == pytest.approx(part["metrics"]["auroc"]["value"], abs=1e-6)
    assert set(part["extra"][AT]["classes"]) == set(found["labels"]["names"])
    assert all(AT in level["extra"] for level in part["subgroups"]["sex"].values())


def test_the_epoch_is_chosen_by_it(run: Path) -> None:
    with (run / "history.csv").open() as file:
        values = [float(row[f"val_{AT}"]) for row in csv.DictReader(file)]
    details = report(run)["details"]
    assert details["chosen_by"] == f"val {AT}"
    assert details["epoch"] == 1 + values.index(max(values))
    assert report(run)["splits"]["val"]["extra"][AT]["value"] == pytest.approx(max(values), abs=1e-6)


def test_scoring_anew_takes_others_and_leaves_the_rest_as_it_was(run: Path, tmp_path: Path, capsys: Any) -> None:
    before = report(run)
    words = ["evaluate", f"run={run}", "predict=false", "evaluation.replicates=30"]
    assert main([*words, "evaluation.extra=['f1_score(average=micro)']"]) == 0
    assert "f1_score(average=micro)" in capsys.readouterr().out
    after = report(run)
    accuracy = after["splits"]["test"]["metrics"]["accuracy"]["value"]
    assert after["splits"]["test"]["extra"]["f1_score(average=micro)"]["value"] == pytest.approx(accuracy, abs=1e-6)
    assert main(words) == 0
    plain = report(run)
    assert "extra" not in json.dumps(plain)
    assert main([*words, EXTRA]) == 0
    assert report(run) == before
    for part in (before, *before["splits"].values()):
        part.pop("extra")
    for part in before["splits"].values():
        for levels in part["subgroups"].values():
            for level in levels.values():
                level.pop("extra")
    assert plain == before
    assert main(["evaluate", f"run={run}", "predict=false", "evaluation.extra=[mcc]"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_page_of_results_has_a_column_for_what_all_runs_share(run: Path, tmp_path: Path, capsys: Any) -> None:
    other = tmp_path / "run-1"
    assert main(["train", *TINY, MONITOR, "evaluation.extra=[matthews_corrcoef]", "seed=1", f"run={other}"]) == 0
    capsys.readouterr()
    assert main(["compare", str(run)]) == 0
    assert f"| matthews_corrcoef | {AT} |" in capsys.readouterr().out
    assert main(["compare", str(run), str(other)]) == 0
    page = capsys.readouterr().out
    assert "| matthews_corrcoef |" in page
    assert f"| {AT} |" not in page
    pooled = next(line for line in page.splitlines() if line.startswith("| run |") and "test_resnet" in line)
    assert "| 2 |" in pooled  # one setting: what else is looked at does not part runs
    assert main(["compare", str(run), "--metrics", "specificity_at_sensitivity", "auroc"]) == 0
    value = report(run)["splits"]["test"]["extra"][AT]["value"]
    assert f"| {value:.3f} |" in capsys.readouterr().out
    assert main(["compare", str(run), "--metrics", "mathews_corrcoef"]) == 2
    assert "did you mean 'matthews_corrcoef'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "monitor", "extra"),
    [
        ("multilabel", "hamming_distance", "exact_match"),
        ("ordinal", "{cohen_kappa: {weights: linear}}", "jaccard_index"),
        ("regression", "pearson_corrcoef", "concordance_corrcoef"),
    ],
)
def test_the_other_kinds_of_labels_train_and_report(tmp_path: Path, labels: str, monitor: str, extra: str) -> None:
    words = [f"data.labels={labels}", "trainer.epochs=1", f"trainer.monitor={monitor}", f"evaluation.extra=[{extra}]"]
    assert main(["train", *TINY, *words, f"run={tmp_path / 'run'}"]) == 0
    found = report(tmp_path / "run")
    assert found["splits"]["test"]["extra"][extra]["value"] is not None
    assert found["details"]["chosen_by"].startswith(f"val {monitor.strip('{').split(':')[0]}")


def test_a_metric_that_is_undefined_on_the_val_split_gives_way_to_the_loss(tmp_path: Path, capsys: Any) -> None:
    words = ["data.labels=regression", "trainer.epochs=1", "trainer.monitor={critical_success_index: {threshold: 1e9}}"]
    assert main(["train", *TINY, *words, "evaluate=false", f"run={tmp_path / 'run'}"]) == 0
    assert "note: critical_success_index(threshold=1000000000.0) is undefined on the val split" in capsys.readouterr().out
