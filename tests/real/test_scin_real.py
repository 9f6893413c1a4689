"""SCIN's official files, release 1.0.0, against the published counts and against themselves. No photographs are needed."""

from __future__ import annotations

import ast
import csv

import numpy as np
import pandas as pd
import pytest

from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import concept_matrix, target_matrix
from medzoo.data.errors import DatasetError
from medzoo.data.splits.groups import shared_groups
from tests.data.datasets.scin_files import CASE_HEADER, LABEL_HEADER


def _load(real_data, **options):
    return load_dataset("scin", root=real_data / "scin", **{"missing": "ignore", "views": "case", **options})


@pytest.fixture(scope="module")
def rows(real_data):
    """The rows of both files, read without pandas: case_id → row."""
    tables = []
    for name in ("scin_cases.csv", "scin_labels.csv"):
        with (real_data / "scin" / "dataset" / name).open(newline="", encoding="utf-8") as file:
            tables.append({row["case_id"]: row for row in csv.DictReader(file)})
    return tables


def test_the_generated_files_have_the_columns_of_the_real_ones(rows):
    cases, labels = rows
    assert tuple(next(iter(cases.values()))) == CASE_HEADER
    assert tuple(next(iter(labels.values()))) == LABEL_HEADER


def test_cases_and_labels(real_data):
    everything = _load(real_data, ungradable="keep")
    assert len(everything) == 5033
    assert len(_load(real_data)) == 3061
    # The default classes are those of the release.
    assert everything.labels == dataset_infos("scin")[0].labels
    notes = everything.info.notes
    assert not any("release 1.0.0" in note for note in notes)
    # README: 48 cases are gradable to somebody and have no condition; for one of them somebody else saw no pathology.
    assert any("1972 of 5033 cases" in n and "1862 of insufficient" in n and "63 without discernible" in n for n in notes)
    assert "925 of 3061 differentials tie at their largest weight" in notes
    assert any(n.startswith("907 of 3061 differentials do not sum to 1") and "4 of them by more than 0.01" in n for n in notes)


def test_leading_conditions_are_those_published(real_data):
    # dataset-formats of the project: the condition of the largest weight, the first where several tie.
    dataset = _load(real_data, labels="top1", top=370, rest="mask")
    names = dataset.table["target"].map(lambda code: dataset.labels.names[int(code)])
    published = {
        "Eczema": 488, "Allergic Contact Dermatitis": 270, "Urticaria": 214, "Insect Bite": 185, "Folliculitis": 142,
        "Psoriasis": 109, "Tinea": 93, "Impetigo": 69, "Herpes Zoster": 68, "Pigmented purpuric eruption": 62, "Acne": 61,
        "Drug Rash": 58, "Herpes Simplex": 55,
    }  # fmt: skip
    assert names.value_counts().head(13).to_dict() == published


def test_weights_are_the_files(real_data, rows):
    dataset = _load(real_data, top=370)
    targets = target_matrix(dataset.table, dataset.labels)
    assert targets.shape == (3061, 370)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    for case_id, weights in zip(dataset.table["case_id"], targets, strict=True):
        written = ast.literal_eval(rows[1][case_id]["weighted_skin_condition_label"])
        found = {dataset.labels.names[k]: weights[k] for k in np.flatnonzero(weights)}
        assert found == pytest.approx({name: w / sum(written.values()) for name, w in written.items()}, abs=1e-6)


def test_targets_over_sixteen_classes(real_data):
    other, mask = (_load(real_data, rest=rest) for rest in ("other", "mask"))
    soft, masked = (target_matrix(d.table, d.labels) for d in (other, mask))
    assert soft.shape == (3061, 17)
    assert masked.shape == (3061, 16)
    nothing = np.isnan(masked).all(axis=1)
    assert nothing.sum() == np.isnan(masked).any(axis=1).sum() == 503
    assert (soft[nothing, -1] == 1).all()
    np.testing.assert_allclose(masked[~nothing], soft[~nothing, :-1] / (1 - soft[~nothing, -1:]), atol=1e-5)
    many = _load(real_data, labels="multilabel")
    np.testing.assert_array_equal(target_matrix(many.table, many.labels), soft > 0)


def test_skin_types_are_medians_as_published(real_data):
    table = _load(real_data, ungradable="keep").table
    counts = table["fitzpatrick"].value_counts()
    assert [int(counts[f"FST{i}"]) for i in range(1, 7)] == [334, 1439, 1424, 737, 368, 68]
    assert table["fitzpatrick"].isna().sum() == 663
    assert table["monk_us"].isin(["7", "8", "9", "10"]).sum() == 207
    assert table["sex"].value_counts().to_dict() == {"female": 1666, "male": 807}
    # The demo notebook's count by race.
    assert table["race"].value_counts()[["white", "black or african american", "asian"]].tolist() == [1762, 267, 85]
    own = table["input.fitzpatrick"].value_counts().sort_index()
    assert own.tolist() == [188, 542, 661, 427, 214, 143]


def test_photographs_and_the_cases_that_share_them(real_data, rows):
    dataset = _load(real_data, views="image", ungradable="keep")
    table = dataset.table
    assert len(table) == 10407
    assert table["sample_id"].str.rpartition("/")[2].value_counts().tolist() == [5033, 3085, 2289]
    cases_of = table.groupby("path")["case_id"].nunique()
    assert (cases_of > 1).sum() == 15
    assert cases_of[cases_of > 1].sum() == 42
    assert table.groupby("path")["group"].nunique().max() == 1
    assert any("29 of all cases are joined into 9 groups" in note for note in dataset.info.notes)
    absent = table[table["path"] == "dataset/images/-2243186711511406658.png"]
    assert absent["case_id"].tolist() == ["-1834609919572055750"]
    assert table["path"].str.startswith("dataset/images/-").any()
    assert len(_load(real_data, views="image")) == 6518


def test_no_split_cuts_a_group(real_data):
    seen = set()
    for seed in range(5):
        table = _load(real_data, views="image", seed=seed).table
        assert not shared_groups(table)
        paths = table.groupby("path")["split"].nunique()
        assert paths.max() == 1
        shares = table.drop_duplicates("group")["split"].value_counts(normalize=True)
        assert shares[["train", "val", "test"]].tolist() == pytest.approx([0.7, 0.1, 0.2], abs=0.03)
        seen.add(tuple(table["split"]))
    assert len(seen) == 5


def test_boxes_are_the_files(real_data, rows):
    dataset = _load(real_data, ungradable="keep")
    matrix = concept_matrix(dataset.table, dataset.concepts)
    places = {name: dataset.concepts.names.index(name) for name in ("itching", "leg", "fluid-filled", "fever")}
    columns = ("condition_symptoms_itching", "body_parts_leg", "textures_fluid_filled", "other_symptoms_fever")
    for (name, place), column in zip(places.items(), columns, strict=True):
        ticked = [rows[0][case_id][column] == "YES" for case_id in dataset.table["case_id"]]
        assert (matrix[:, place] == 1).tolist() == ticked, name
    # None of the above answers its question.
    nothing = [rows[0][c]["other_symptoms_no_relevant_symptoms"] == "YES" for c in dataset.table["case_id"]]
    assert (matrix[nothing][:, places["fever"]] == 0).all()
    unanswered = np.isnan(matrix[:, places["leg"]])
    assert unanswered.sum() == 948


def test_captions_name_no_diagnosis_unless_asked(real_data):
    dataset = _load(real_data, caption="metadata", top=370)
    captions = dataset.table["caption"].dropna()
    assert len(captions) == 3061 - 457
    for name in dataset.labels.names:
        assert not captions.str.contains(name, case=False, regex=False).any(), name
    told = _load(real_data, caption="diagnosis").table["caption"]
    assert told.str.contains("diagnosed as").all()


def test_photographs_that_are_not_there_are_named(real_data):
    # 6,518 references of labelled cases, to so many files.
    with pytest.raises(DatasetError, match=r"6506 image files are not there .*data\.missing=skip"):
        _load(real_data, missing="error")
    with pytest.raises(DatasetError, match="none of its 3061 samples has its image file there"):
        _load(real_data, missing="skip")


def test_every_kind_can_be_loaded_again_from_its_options(real_data):
    for labels in ("soft", "top1", "multilabel"):
        dataset = _load(real_data, labels=labels, caption="metadata")
        pd.testing.assert_frame_equal(load_dataset(**dataset.options).table, dataset.table)
