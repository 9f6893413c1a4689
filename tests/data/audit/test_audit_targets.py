"""An audit of several targets looks at the labels of each, not of the first alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.dataset import Dataset
from tests.data.datasets.own_tables import frame, load_table, write_images

SPLITS = [("train", "val", "test")[n // 4] for n in range(12)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Reports that name the diagnosis, which is the second target; two copies of an image that differ in it alone."""
    images = [f"i{n:02}.png" for n in range(12)]
    write_images(tmp_path, images)
    (tmp_path / "i01.png").write_bytes((tmp_path / "i00.png").read_bytes())
    diagnoses = ["nevus", "melanoma"] * 6
    notes = [f"biopsy of a {word}" for word in diagnoses]
    frame(image=images, split=SPLITS, age=[40.5] * 12, diagnosis=diagnoses, note=notes).to_csv(tmp_path / "t.csv", index=False)
    targets = {
        "age": {"target": "age", "kind": "regression"},
        "diagnosis": {"target": "diagnosis", "names": ["nevus", "melanoma", "Nevus"]},
    }
    return load_table(tmp_path / "t.csv", target=None, targets=targets, split="split", group=None, texts=["note"])


def test_a_text_that_names_a_further_target_is_warned_of(dataset: Dataset) -> None:
    report = audit(dataset)
    assert report["texts"]["note"]["texts"] == 12
    assert report["texts"]["note"]["told"]["diagnosis: melanoma"] == {"own": 1.0, "others": 0.0}
    assert any("names the label that is asked for: diagnosis: " in line for line in report["warnings"])


def test_classes_of_a_further_target_are_looked_at(dataset: Dataset) -> None:
    report = audit(dataset)
    assert report["unlearnt"] == ["diagnosis: Nevus"]
    assert report["alike"]["classes of diagnosis"]["listed"] == [["Nevus", "nevus"]]
    assert report["contradictions"]["listed"] == [["i00.png", "i01.png"]]
    assert any("look at the classes of diagnosis: 'Nevus' and 'nevus' look alike" in line for line in as_lines(report))


def test_a_val_split_that_lacks_the_classes_of_a_further_target_is_noted(dataset: Dataset, tmp_path: Path) -> None:
    sites = ["a", "b", "a", "b", *[""] * 8]
    table = frame(split=SPLITS, grade=[n % 3 for n in range(12)], tone=[n // 4 for n in range(12)], site=sites)
    table.to_csv(tmp_path / "t.csv", index=False)
    targets = {name: {"target": name} for name in ("grade", "tone", "site")}
    found = load_table(tmp_path / "t.csv", target=None, targets=targets, split="split", group=None).info.notes
    assert [note.removeprefix("the val split has ") for note in found][-2:] == [
        "no class of tone but 1", "no labelled sample of site",
    ]  # fmt: skip
