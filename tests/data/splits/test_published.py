"""A dataset that published weights may have learnt from is known by its names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medzoo.data.dataset import Dataset
from medzoo.data.registry import load_dataset
from medzoo.data.splits.published import is_set, name_published, public_sets, published_notes

EYEPACS = {"name": "EyePACS", "set": "eyepacs", "weights": "zoo:x"}


@pytest.fixture(scope="module")
def phantom() -> Dataset:
    return load_dataset("phantom", size=16, patients=8)


def named(dataset: Dataset, name: str, **options: str) -> Dataset:
    return replace(dataset, info=replace(dataset.info, name=name, title=name), options=options)


@pytest.mark.parametrize(
    ("name", "options", "key", "expected"),
    [
        ("table/labels", {"file": "/data/EyePACS/labels.csv"}, "eyepacs", True),
        ("table/labels", {"root": "/data/chest-xray/mimic-cxr-jpg"}, "mimic_cxr", True),
        ("table/labels", {"root": "/data/messidor-2/images"}, "messidor", True),
        ("table/aptos2019-blindness", {}, "aptos_2019", True),
        ("table/captos", {}, "aptos_2019", False),
        ("medmnist/chestmnist", {}, "chestxray14", True),
        ("chestxray14", {}, "chestxray14", True),
        ("medmnist/retinamnist", {}, "deepdrid", True),
        ("medmnist/retinamnist", {}, "eyepacs", False),
        ("table/daddrive", {"root": "/home/openings"}, "oia_ddr", False),
    ],
)
def test_by_its_names(phantom: Dataset, name: str, options: dict[str, str], key: str, expected: bool) -> None:
    assert is_set(named(phantom, name, **options), key) is expected


def test_notes_name_the_sets_and_warn_where_one_is_tested_on(phantom: Dataset) -> None:
    card = {"learnt_from": [EYEPACS, {"name": "IDRiD", "set": "idrid", "weights": "zoo:x"}]}
    (plain,) = published_notes(card, phantom)
    assert "zoo:x" in plain
    assert "EyePACS, IDRiD" in plain
    warned = published_notes({"learnt_from": [{"name": "earlier run", **card}]}, named(phantom, "table/eyepacs"))
    assert "have learnt from EyePACS, perhaps from these very images: results are optimistic" in warned[0]
    assert name_published(phantom, {}) is phantom
    assert name_published(phantom, card).info.notes[-1] == plain


def test_weights_that_name_no_set_rule_none_out(phantom: Dataset) -> None:
    (note,) = published_notes({"learnt_from": [{"name": "slides of somebody", "set": None, "weights": "zoo:y"}]}, phantom)
    assert "slides of somebody: no test set can be ruled out" in note


def test_every_set_has_a_title_and_words() -> None:
    assert all(entry.title and entry.words for entry in public_sets().values())
