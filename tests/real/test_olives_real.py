"""The official label file of OLIVES, against counts made with the csv module alone."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from medzoo.data import load_dataset
from medzoo.data.splits.groups import shared_groups


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "olives"


@pytest.fixture(scope="module")
def lines(folder):
    with (folder / "Biomarker_Clinical_Data_Images.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _load(folder, **options):
    return load_dataset("olives", root=str(folder), missing="ignore", **options)


def test_rows_eyes_patients_and_every_prevalence(folder, lines):
    dataset = _load(folder)
    table = dataset.table
    assert (len(table), table["eye_id"].nunique(), table["group"].nunique()) == (9408, 96, 87)
    names = dataset.labels.names
    assert list(names) == list(lines[0])[2:18]
    for name in names:
        counted = Counter(line[name] for line in lines)
        column = table[f"target.{name}"]
        assert (int((column == 1).sum()), int((column == 0).sum()), int(column.isna().sum())) == (
            counted["1"], counted["0"], counted[""],
        )  # fmt: skip
    assert int(table[[f"target.{name}" for name in names]].isna().sum().sum()) == 19
    assert int((table["target.IR HRF"] == 1).sum()) == 6341
    assert int((table["target.PED (serous)"] == 1).sum()) == 10
    assert not any("ignored" in note for note in dataset.info.notes)


def test_patient_numbers_are_unique_over_both_trials(folder, lines):
    trials: dict[str, set[str]] = {}
    eyes: dict[str, set[str]] = {}
    for line in lines:
        trials.setdefault(line["Patient_ID"], set()).add(next(iter(line.values())).split("/")[1])
        eyes.setdefault(line["Patient_ID"], set()).add(line["Eye_ID"])
    assert all(len(names) == 1 for names in trials.values())
    assert Counter(map(len, eyes.values())) == {1: 78, 2: 9}
    table = _load(folder, target="disease").table
    assert table.groupby("disease")["group"].nunique().to_dict() == {"DME": 47, "DR": 40}
    assert table.groupby("disease")["eye_id"].nunique().to_dict() == {"DME": 56, "DR": 40}


def test_no_split_parts_a_patient(folder):
    seen = set()
    for seed in range(5):
        table = _load(folder, seed=seed).table
        assert not shared_groups(table)
        shares = table.groupby("split")["group"].nunique() / 87
        assert shares["train"] > 0.4
        assert shares[["val", "test"]].min() > 0.05
        seen.add(tuple(table["split"]))
    assert len(seen) == 5
    for fold in range(3):
        assert not shared_groups(_load(folder, folds=3, fold=fold).table)


def test_visits_and_volumes(folder, lines):
    dataset = _load(folder, images="volume", target="clinical")
    table = dataset.table
    assert len(table) == 192
    assert table.groupby("eye_id")["visit"].agg(list).map(sorted).map(tuple).unique().tolist() == [(0, 1)]
    assert set(table["paths"].str.count(r"\|")) == {48}
    assert table["week"].notna().sum() == 80
    assert table.loc[table["week"] == 104, "group"].nunique() == 23
    assert table[["target.BCVA", "target.CST"]].agg(["min", "max"]).to_numpy().tolist() == [[41, 156], [97, 715]]
    by_folder: dict[str, set[str]] = {}
    for line in lines:
        by_folder.setdefault(next(iter(line.values())).lstrip("/").rpartition("/")[0], set()).add(line["IR HRF"])
    found = table.set_index("sample_id")["concept.IR HRF"]
    assert {name: float("1" in values) for name, values in by_folder.items()} == found.to_dict()
    assert not any("slices in the label file" in note for note in dataset.info.notes)


def test_the_authors_labels_are_those_of_pandas(folder):
    raw = pd.read_csv(folder / "Biomarker_Clinical_Data_Images.csv")
    paths, names = raw.columns[0], list(raw.columns[2:18])
    raw = raw.assign(number=raw[paths].str.extract(r"/[WV](\d+)/O[DS]/")[0].astype(int)).sort_values("number", kind="stable")
    dataset = _load(folder, horizon="next")
    assert len(dataset) == 9408
    found = dataset.table.assign(eye=dataset.table["eye_id"].astype(int)).set_index(["eye", "scan", "visit"]).sort_index()
    by_slice = raw.groupby(["Eye_ID", "Scan (n/49)"])
    raw["visit"] = by_slice.cumcount()
    wanted = by_slice[names].shift(-1).assign(eye=raw["Eye_ID"], scan=raw["Scan (n/49)"], visit=raw["visit"])
    wanted = wanted.set_index(["eye", "scan", "visit"]).sort_index()
    np.testing.assert_array_equal(found[[f"target.{name}" for name in names]], wanted[names])
    assert found["target.SHRM"].notna().sum() == 9408 / 2
    assert "4704 of 9408 samples have no next visit: their target is missing" in dataset.info.notes
