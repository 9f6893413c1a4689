"""What a reader is told first: planted faults, and only them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from medzoo.cli import main
from medzoo.data.dataset import target_matrix
from medzoo.data.registry import load_dataset
from medzoo.demo.shipped import HOME, MODEL
from medzoo.evaluation.attention import KINDS, attention_lines, pointer
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate
from medzoo.export.runtime.model import OnnxModel


def resolve(report: Any, place: str) -> Any:
    """Follow a JSON pointer (RFC 6901)."""
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        report = report[int(key)] if isinstance(report, list) else report[key]
    return report


def predicted(blurred: str | None) -> Predictions:
    """Predict the demo's test patients with the shipped model; the images of one site are blurred."""
    model = OnnxModel(HOME / MODEL)
    data = load_dataset(**{**model.spec["data"]["options"], "patients": 600})
    rows = data.rows("test").reset_index(drop=True)
    images = [np.asarray(data.reader.read(*values)[0]) for values in rows[list(data.reader.columns)].itertuples(index=False)]
    for place in np.flatnonzero(rows["site"] == blurred):
        images[place] = np.asarray(Image.fromarray(images[place]).filter(ImageFilter.GaussianBlur(3)))
    logits = model.predict(images)["logits"]
    assert data.labels is not None
    return Predictions(
        labels=data.labels, sample_id=rows["sample_id"].to_numpy(dtype=object), split=rows["split"].to_numpy(dtype=object),
        group=rows["group"].to_numpy(dtype=object), targets=target_matrix(rows, data.labels), logits=logits.astype(np.float32),
        probabilities=logits.astype(np.float32), subgroups=rows[list(data.subgroups)], split_unit="patient",
    )  # fmt: skip


@pytest.mark.parametrize("blurred", ["north", "south"])
def test_a_site_whose_images_are_blurred_is_told_first(blurred: str) -> None:
    report = evaluate(predicted(blurred), splits=["test"], interval=Interval(200), intersections="auto")
    first = report["attention"][0]
    assert (first["kind"], first["at"]) == ("worse subgroup", f"/splits/test/disparity/site/auroc/levels/{blurred}/difference")
    assert first["high"] < 0
    assert f"site={blurred}" in attention_lines(report["attention"])[0]
    for entry in report["attention"]:
        found = resolve(report, entry["at"])
        if "value" in entry:
            assert {end: found[end] for end in ("value", "low", "high")} == {end: entry[end] for end in ("value", "low", "high")}
    kinds = [KINDS.index(entry["kind"]) for entry in report["attention"]]
    assert kinds == sorted(kinds)
    columns = [entry["at"].split("/")[4] for entry in report["attention"] if entry["kind"] == "worse subgroup"]
    assert [" & " in column for column in columns] == sorted(" & " in column for column in columns)


def test_sites_that_are_alike_are_not_told() -> None:
    report = evaluate(predicted(None), splits=["test"], interval=Interval(200))
    assert not [entry for entry in report["attention"] if entry["kind"] in ("worse subgroup", "leak", "empty class")]


def test_pointers_escape_what_keys_may_hold() -> None:
    assert resolve({"a/b": {"~": [1, 2]}}, pointer("a/b", "~", 1)) == 2


def pictures(folder: Path) -> None:
    """Write 60 patients of two images each; one in test is one of train by another name, in other files of equal pixels."""
    lines = ["image,patient,split,label,sex"]
    rng = np.random.default_rng(0)
    for number in range(120):
        split = "train" if number < 60 else "val" if number < 90 else "test"
        picture = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
        lines.append(f"{number}.png,P{number // 2},{split},{'ab'[number % 2]},{'fm'[number % 3 == 0]}")
    for copy, original in ((110, 10), (111, 11)):
        with Image.open(folder / f"{original}.png") as image:
            image.save(folder / f"{copy}.png", compress_level=0)
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("audit", [True, False])
def test_a_patient_leaked_under_another_name_is_told_first(
    audit: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.target=label", "data.group=patient", "data.split=split",
            "data.subgroups=[sex]", "data.channels=1"]  # fmt: skip
    assert main(["verify", *data]) == 1  # the audit finds it too
    run = tmp_path / "run"
    assert main([
        "train", *data, "model.backbone=test_resnet", "model.preprocess.size=16", "trainer.trackers=[]", "trainer.epochs=1",
        "evaluation.replicates=20", f"evaluation.audit={str(audit).lower()}", "device=cpu", f"run={run}",
    ]) == 0  # fmt: skip
    report = json.loads((run / "metrics.json").read_text())
    leaks = [entry for entry in report["attention"] if entry["kind"] == "leak"]
    assert len(leaks) == audit
    if audit:
        assert report["attention"][0] == leaks[0]
        listed = resolve(report, leaks[0]["at"])
        assert sorted(sorted(one["sample_ids"]) for one in listed) == [["10.png", "110.png"], ["11.png", "111.png"]]
        assert "look first: 2 images stand, identical, in several splits" in capsys.readouterr().out
        assert main(["evaluate", f"run={run}", "predict=false", "evaluation.replicates=20"]) == 0
        again = json.loads((run / "metrics.json").read_text())
        assert again["attention"][0]["kind"] == "leak"  # the predictions file keeps it


def test_an_empty_class_and_few_patients_are_told() -> None:
    given = predicted(None)
    keep = np.array([group in set(sorted(set(given.group))[:20]) for group in given.group])
    few = given.take(keep & (given.targets[:, 3] != 1))
    report = evaluate(few, splits=["test"], interval=Interval(0))
    told = {entry["kind"]: entry for entry in report["attention"][::-1]}  # the first of each kind
    assert resolve(report, told["empty class"]["at"]) == "no positive sample"
    assert resolve(report, told["few groups"]["at"]) == len(set(few.group))
