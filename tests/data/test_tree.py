"""A tree over labels: read from options and files, travelling with the labels, refused in one line where it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medzoo.data.dataset import data_card, table_checksum
from medzoo.data.errors import ConfigError, DatasetError, MedzooError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.data.tree import read_parents

NAMES = ("nevus", "melanoma", "bcc", "other")
PARENTS = {"nevus": "benign", "melanoma": "malignant", "bcc": "malignant", "benign": "skin", "malignant": "skin"}
STEPS = tuple(sorted(PARENTS.items()))


def test_a_tree_is_a_mapping_or_a_file_of_either_form(tmp_path: Path) -> None:
    assert read_parents(PARENTS, NAMES) == STEPS
    (tmp_path / "tree.yaml").write_text("nevus: benign\nmelanoma: malignant\nbcc: malignant\nbenign: skin\nmalignant: skin\n")
    assert read_parents(str(tmp_path / "tree.yaml"), NAMES) == STEPS
    by_node = {
        "skin": ["benign", "malignant"],
        "benign": ["nevus", "cyst"],
        "malignant": ["melanoma", "bcc"],
        "bcc": [],
        "hair": ["x"],
    }
    (tmp_path / "ontology.json").write_text(json.dumps(by_node))
    assert read_parents(tmp_path / "ontology.json", NAMES) == STEPS  # what stands above no label is left out of an ontology


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"nevus": "benign", "benign": "mole", "mole": "benign"}, DatasetError, "benign > mole > benign is a circle"),
        ({"nevus": "nevus"}, DatasetError, "nevus > nevus is a circle"),
        (
            {"benign": ["nevus"], "harmless": ["nevus"]},
            DatasetError,
            "'nevus' has two parents, 'benign' and 'harmless'; keep one",
        ),
        ({"nevus": "benign", "melanom": "malignant"}, UnknownNameError, "unknown label 'melanom'.*did you mean 'melanoma'"),
        ({"benign": ["mole"]}, ConfigError, "has none of the labels"),
        ({"nevus": ["benign"], "bcc": "malignant"}, ConfigError, r"\['benign'\], which is no name"),
        ({"nevus": None}, ConfigError, "holds None, which is no name"),
        ({}, ConfigError, "is {child: parent}"),
        (["nevus"], ConfigError, "is {child: parent}"),
        ("nowhere.yaml", ConfigError, "data.parents=nowhere.yaml cannot be read"),
    ],
)
def test_what_is_no_tree_is_one_line(given: Any, error: type[MedzooError], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        read_parents(given, NAMES)
    assert "\n" not in str(refused.value)


def test_two_parents_in_a_file_are_not_the_last_of_them(tmp_path: Path) -> None:
    (tmp_path / "tree.yaml").write_text("nevus: benign\nnevus: malignant\n")
    with pytest.raises(DatasetError, match="two lines for 'nevus'"):
        read_parents(tmp_path / "tree.yaml", NAMES)


def test_it_travels_with_labels_and_changes_no_description_without_it() -> None:
    plain = LabelSpace("multiclass", NAMES)
    assert plain.to_dict() == {"kind": "multiclass", "names": list(NAMES)}
    given = LabelSpace("multiclass", NAMES, parents=STEPS)
    assert LabelSpace.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert hash(given) != hash(plain)
    with pytest.raises(DatasetError, match="regression labels are quantities"):
        LabelSpace("regression", ("a", "b"), parents=(("a", "c"),))


def test_a_dataset_takes_it_as_an_option_and_can_be_loaded_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree.yaml"
    tree.write_text("cyst: lesion\ncalcified nodule: lesion\ntumour: lesion\n")
    plain, given = load_dataset("phantom", patients=8), load_dataset("phantom", patients=8, parents=str(tree))
    assert given.labels is not None
    assert dict(given.labels.parents or ())["cyst"] == "lesion"
    assert table_checksum(given) == table_checksum(plain)
    assert "parents" not in data_card(plain)["options"]
    tree.unlink()
    assert load_dataset(**given.options).labels == given.labels
    with pytest.raises(DatasetError, match="regression labels are quantities"):
        load_dataset("phantom", labels="regression", parents={"diameter": "lesion"})
