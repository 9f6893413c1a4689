"""The recipes of conf/data/public on generated files of the form that their authors document, and the maps of conf/maps."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.datasets.chestxray14.load import FINDINGS
from medzoo.data.datasets.medmnist.sets import SETS
from medzoo.data.registry import load_dataset
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.schema import TrainConfig
from tests.data.datasets.public_files import CHEXPERT, CONF, PUBLIC, labels_of, recipe

NAN = np.nan
GROUPS = {
    "chestxray14": 8, "chexpert": 12, "padchest": 20, "vindr_cxr": 12, "mimic_cxr": 8, "ham10000": 21, "pad_ufes_20": 12,
    "isic_2019": 18, "fitzpatrick17k": 24, "fitzpatrick17k_nine": 24, "ddi": 24, "aptos_2019": 40, "eyepacs": 20, "messidor2": 22,
    "messidor": 24,
}  # fmt: skip
"""Recipe → patients, or what else is not cut, in its generated files."""
MERGED = {
    "chestxray14-vindr_cxr": {"Nodule/Mass": {"Mass", "Nodule"}},
    "padchest-vindr_cxr": {"Nodule/Mass": {"nodule", "pulmonary mass"}},
    "ham10000-ddi": {"malignant": {"mel", "bcc"}, "benign": {"nv", "bkl", "df", "vasc"}},
    "isic_2019-ddi": {"malignant": {"MEL", "BCC", "SCC"}, "benign": {"NV", "BKL", "DF", "VASC"}},
    "pad_ufes_20-ddi": {"malignant": {"BCC", "MEL", "SCC"}, "benign": {"NEV", "SEK"}},
    "fitzpatrick17k-ddi": {"benign": {"benign", "non-neoplastic"}},
    "ham10000-fitzpatrick17k": {"malignant": {"mel", "bcc"}, "benign": {"nv", "df"}},
    "isic_2019-fitzpatrick17k": {"malignant": {"MEL", "BCC", "SCC", "AK"}, "benign": {"NV", "DF"}},
    "pad_ufes_20-fitzpatrick17k": {"malignant": {"MEL", "BCC", "SCC", "ACK"}},
    "isic_2019-fitzpatrick17k_nine": {"malignant epidermal": {"BCC", "SCC", "AK"}},
    "pad_ufes_20-fitzpatrick17k_nine": {"malignant epidermal": {"BCC", "SCC", "ACK"}},
}
"""Map → which of its names are several of the other dataset's, all of them on purpose."""
MAPS = sorted(path.stem for path in (CONF / "maps").glob("*.yaml"))


def opened(name: str, folder: Path, *words: str) -> Dataset:
    file = PUBLIC[name](folder)
    config = typed(TrainConfig, compose_config("train", [f"data=public/{name}", f"data.file={file}", *words]))
    return load_dataset(**config.data)


def answers(dataset: Dataset) -> np.ndarray:
    assert dataset.labels is not None
    return target_matrix(dataset.table, dataset.labels)


def held(dataset: Dataset, row: int) -> dict[str, float]:
    """Return the findings of a sample that are not absent."""
    assert dataset.labels is not None
    found = zip(dataset.labels.names, answers(dataset)[row], strict=True)
    return {name: float(value) for name, value in found if value != 0}


def test_every_recipe_is_looked_at() -> None:
    assert {path.stem for path in (CONF / "data" / "public").glob("*")} == set(PUBLIC) == set(GROUPS)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_recipe_reads_what_its_authors_write(name: str, tmp_path: Path) -> None:
    dataset = opened(name, tmp_path)
    assert dataset.labels is not None
    assert list(dataset.labels.names) == labels_of(name)
    assert dataset.table["group"].nunique() == GROUPS[name]
    assert dataset.table.groupby("group")["split"].nunique().eq(1).all()
    assert {"train", "test"} <= set(dataset.table["split"])
    assert list(dataset.subgroups) == recipe(name).get("subgroups", [])
    assert dataset.info.modality in ("xray", "skin", "fundus")
    assert dataset.info.licence not in ("", "your own")
    assert not np.isnan(answers(dataset)).all(axis=0).any() or name in ("chexpert", "mimic_cxr")


def test_ham10000_knows_no_unknown_sex(tmp_path: Path) -> None:
    assert opened("ham10000", tmp_path).table["sex"].isna().sum() == 1


@pytest.mark.parametrize("name", ["chexpert", "mimic_cxr"])
def test_uncertain_and_unmentioned_observations_are_missing(name: str, tmp_path: Path) -> None:
    dataset = opened(name, tmp_path)
    np.testing.assert_array_equal(answers(dataset)[0], [1, 0, NAN, *[NAN] * 11])


def test_mimic_cxr_is_joined_from_three_files(tmp_path: Path) -> None:
    dataset = opened("mimic_cxr", tmp_path)
    assert dataset.table["split"].value_counts().to_dict() == {"train": 16, "val": 8, "test": 8}
    np.testing.assert_array_equal(answers(dataset)[0], answers(dataset)[1])  # two films of a study
    np.testing.assert_array_equal(answers(dataset)[2], [NAN, 1, 0, *[NAN] * 11])
    assert np.isnan(answers(dataset)[-2:]).all()
    assert any("2 of 32 rows have none in mimic-cxr-2.0.0-chexpert.csv" in note for note in dataset.info.notes)
    assert dataset.table["ViewPosition"].fillna("nobody knows").tolist()[:4] == ["PA", "LATERAL", "AP", "nobody knows"]
    assert dataset.table["path"][0] == "files/p10/p10000000/s50000000/00000000-aaaa.jpg"


def test_padchest_follows_the_tree_of_its_labels(tmp_path: Path) -> None:
    dataset = opened("padchest", tmp_path)
    assert held(dataset, 0) == {}
    assert held(dataset, 1) == {"atelectasis": 1, "pleural effusion": 1}
    assert held(dataset, 2) == {"consolidation": 1, "infiltrates": 1}
    assert held(dataset, 7) == {"pneumothorax": 1, "pleural effusion": 1}
    assert held(dataset, 8) == {"pulmonary mass": 1}, "a pseudonodule is no nodule"
    assert held(dataset, 9) == {}, "air below the skin is no emphysema of the lung"
    known = answers(dataset)
    assert np.nansum(known[3]) == 1
    assert np.isnan(known[3]).sum() == 17, "cardiomegaly, unchanged: of the rest nothing is said"
    assert np.isnan(known[[4, 5, 6]]).all()
    assert any("left out (data.left_out), 4 in all" in note and "normal (4)" in note for note in dataset.info.notes)


def test_padchest_of_one_direction_keeps_the_grey_values(tmp_path: Path) -> None:
    dataset = opened("padchest", tmp_path, "data.where={Projection: [PA]}")
    assert len(dataset.table) == 20
    assert any("20 of 40 rows are taken" in note for note in dataset.info.notes)
    assert dataset.reader.read(dataset.table["path"][1]).max() == round((2000 + 500) / 65535 * 255)


def test_two_of_three_radiologists_of_vindr_cxr_settle_a_finding(tmp_path: Path) -> None:
    dataset = opened("vindr_cxr", tmp_path)
    labels = labels_of("vindr_cxr")
    assert len(dataset.table) == 12
    assert held(dataset, 0) == {labels[1]: 1, labels[2]: 1}
    assert held(dataset, 5) == {labels[6]: 1, labels[7]: 1}


@pytest.mark.parametrize(("readers", "expected"), [("unanimous", {2: 1, 0: NAN, 1: NAN}), ("any", {0: 1, 1: 1, 2: 1})])
def test_readers_may_be_asked_otherwise(readers: str, expected: dict[int, float], tmp_path: Path) -> None:
    labels = labels_of("vindr_cxr")
    found = held(opened("vindr_cxr", tmp_path, f"data.readers={readers}"), 0)
    assert found == pytest.approx({labels[place]: value for place, value in expected.items()}, nan_ok=True)


def test_no_finding_of_the_nih_is_none_of_the_fourteen(tmp_path: Path) -> None:
    dataset = opened("chestxray14", tmp_path)
    assert [held(dataset, row) for row in range(4)] == [{}, {"Cardiomegaly": 1, "Emphysema": 1}, {"Hernia": 1}, {"Effusion": 1}]
    assert not np.isnan(answers(dataset)).any()


def test_isic_2019_reads_a_column_a_diagnosis_and_the_metadata(tmp_path: Path) -> None:
    dataset = opened("isic_2019", tmp_path)
    assert dataset.table["target"].tolist() == [n // 2 % 8 for n in range(32)]
    assert dataset.table["group"].tolist()[:3] == ["BCN_0000000", "BCN_0000000", "BCN_0000001"]
    assert dataset.table["group"][28:].nunique() == 4
    assert np.isnan(dataset.table["age_approx"][1])


def test_fitzpatrick17k_has_unknown_skin_types(tmp_path: Path) -> None:
    three, nine = opened("fitzpatrick17k", tmp_path), opened("fitzpatrick17k_nine", tmp_path)
    assert three.table["target"].tolist()[:4] == [2, 1, 0, 1]
    assert nine.table["target"].tolist()[:4] == [0, 5, 3, 1]
    assert three.table["fitzpatrick_scale"].isna().sum() == 8


def test_ddi_is_malignant_or_not(tmp_path: Path) -> None:
    dataset = opened("ddi", tmp_path)
    assert dataset.table["target"].tolist()[:2] == [0, 1]
    assert set(dataset.table["skin_tone"]) == {12, 34, 56}


def test_eyes_of_a_patient_of_eyepacs_stay_together(tmp_path: Path) -> None:
    assert opened("eyepacs", tmp_path).table["group"].tolist()[:3] == ["10", "10", "11"]


def test_grades_of_the_international_scale_bear_one_name_and_others_do_not() -> None:
    names = SETS["retinamnist"].labels.names
    assert [tuple(labels_of(name)) for name in ("aptos_2019", "eyepacs", "messidor2")] == [names] * 3
    assert not set(labels_of("messidor")) & set(names)


def test_an_image_of_messidor2_that_cannot_be_graded_has_no_grade(tmp_path: Path) -> None:
    dataset = opened("messidor2", tmp_path)
    assert dataset.table["target"].tolist()[:6] == [0, 1, 2, 3, 4, 0]
    assert dataset.table["target"][20:].isna().all()


def test_messidor_counts_its_own_grades(tmp_path: Path) -> None:
    assert opened("messidor", tmp_path).table["target"].tolist()[:5] == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_names_what_there_is_and_merges_only_on_purpose(name: str) -> None:
    text = (CONF / "maps" / f"{name}.yaml").read_text()
    renamed = yaml.safe_load(text)
    theirs, ours = (labels_of(side) for side in name.split("-"))
    assert set(renamed) <= set(theirs)
    assert {to for to in renamed.values() if to is not None} <= set(ours)
    assert {label for label in theirs if label not in renamed} <= set(ours), "the rest bear the same names"
    sources = defaultdict(set)
    for label in theirs:
        sources[renamed.get(label, label)].add(label)
    assert {to: found for to, found in sources.items() if to is not None and len(found) > 1} == MERGED.get(name, {})
    comment = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert re.search(r"et al\. \d{4}", comment), "a map says where it comes from"
    assert name not in MERGED or re.search(r"\bboth\b|one class|benign, too", comment), "what is merged is said"
    unexplained = [line for line in text.splitlines() if re.search(r": null$", line)]
    assert not unexplained, "what is left out has a reason"


def test_maps_of_the_nih_are_held_against_the_wrapper_too() -> None:
    assert tuple(labels_of("chestxray14")) == FINDINGS
    assert labels_of("chexpert") == labels_of("mimic_cxr") == list(CHEXPERT)
    assert set(MERGED) <= set(MAPS)
