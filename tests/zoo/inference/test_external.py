"""Another dataset's labels in a model's terms; the expected matrices are written out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Dataset, concept_matrix, target_matrix
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.inference.external import in_terms_of
from medzoo.store.spec import ModelSpec

NAN = np.nan
SIZE = Preprocess((8, 8))


def model(labels: LabelSpace | None, concepts: ConceptSpace | None = None) -> ModelSpec:
    return ModelSpec("cnn", "classify", "test_resnet", SIZE, labels, concepts)


def dataset(labels: LabelSpace, targets: list, concepts: dict[str, list[float]] | None = None) -> Dataset:
    count = len(targets)
    table = pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(count)], "group": [f"p{n}" for n in range(count)],
            "array_index": np.arange(count), "split": [("train", "val", "test")[n % 3] for n in range(count)],
        }
    )  # fmt: skip
    if labels.exclusive:
        table["target"] = np.array(targets, dtype=float)
    else:
        for column, name in enumerate(labels.names):
            table[f"target.{name}"] = np.array([row[column] for row in targets], dtype=np.float32)
    for name, values in (concepts or {}).items():
        table[f"concept.{name}"] = np.array(values, dtype=np.float32)
    arrays = np.zeros((count, 3, 8, 8), dtype=np.uint8)
    info = DatasetInfo("tests/other", "Other", "skin", "none", "none", "none", labels)
    space = None if concepts is None else ConceptSpace(tuple(concepts))
    return Dataset(info, table, ArrayReader(arrays), labels, space)


def test_classes_are_found_by_name_whatever_their_order() -> None:
    own, theirs = LabelSpace("multiclass", ("a", "b", "c")), LabelSpace("multiclass", ("c", "a", "b"))
    found = in_terms_of(model(own), dataset(theirs, [0, 1, 2, NAN]), {})
    assert found.labels == own
    assert set(found.table["split"]) == {"test"}
    expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(target_matrix(found.table, own), expected)
    assert found.info.notes == ()


def test_classes_are_merged_and_left_out_by_name_and_both_are_said() -> None:
    own = LabelSpace("multiclass", ("naevus", "melanoma", "keratosis"))
    theirs = LabelSpace("multiclass", ("nv", "mel", "mel in situ", "scar"))
    renamed = {"nv": "naevus", "mel": "melanoma", "mel in situ": "melanoma", "scar": None}
    found = in_terms_of(model(own), dataset(theirs, [0, 1, 2, 3]), renamed)
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(target_matrix(found.table, own), expected)
    lacking, left = found.info.notes
    assert "lacks classes of the model" in lacking
    assert "keratosis" in lacking
    assert "scar; 1 samples are without a label" in left


def test_findings_are_found_by_name_and_a_missing_one_is_missing_everywhere() -> None:
    own = LabelSpace("multilabel", ("effusion", "mass", "hernia"))
    theirs = LabelSpace("multilabel", ("mass", "large effusion", "small effusion"))
    targets = [[1, 0, 0], [0, 1, NAN], [NAN, 0, NAN], [0, 0, 0], [0, NAN, NAN]]
    renamed = {"large effusion": "effusion", "small effusion": "effusion"}
    found = in_terms_of(model(own), dataset(theirs, targets), renamed)
    expected = [[0, 1, NAN], [1, 0, NAN], [NAN, NAN, NAN], [0, 0, NAN], [NAN, 0, NAN]]
    np.testing.assert_array_equal(target_matrix(found.table, own), expected)
    assert "hernia" in found.info.notes[0]


def test_grades_of_a_scale_and_classes_of_the_same_names_agree() -> None:
    own, theirs = LabelSpace("ordinal", ("none", "mild")), LabelSpace("multiclass", ("mild", "none"))
    found = in_terms_of(model(own), dataset(theirs, [0, 1, 1]), {})
    np.testing.assert_array_equal(target_matrix(found.table, own), [[0, 1], [1, 0], [1, 0]])


def test_concepts_are_found_by_name_too() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    given = {"ulcer": [1.0, 0.0, NAN], "stripes": [0.0, 1.0, 1.0]}
    found = in_terms_of(model(labels, ConceptSpace(("lesion", "ulcer"))), dataset(labels, [0, 1, 0], given), {})
    assert found.concepts == ConceptSpace(("lesion", "ulcer"))
    np.testing.assert_array_equal(concept_matrix(found.table, found.concepts), [[NAN, 1], [NAN, 0], [NAN, NAN]])
    assert any("lacks concepts of the model" in note and "lesion" in note for note in found.info.notes)
    assert any("1 of the 2 concepts" in note for note in found.info.notes)


def test_what_is_carried_forward_is_found_by_name_too() -> None:
    labels = LabelSpace("multilabel", ("mass", "fluid"))
    other = dataset(LabelSpace("multilabel", ("fluid", "mass")), [[1, 0], [0, NAN]])
    table = other.table.assign(**{"carried.fluid": [0, NAN], "carried.mass": [1, 0]})
    found = in_terms_of(model(labels), other.with_table(table), {})
    np.testing.assert_array_equal(found.table[["carried.mass", "carried.fluid"]], [[1, 0], [0, NAN]])


@pytest.mark.parametrize(("own", "theirs"), [("next", None), (None, "next"), ("12w", "next")])
def test_targets_of_other_visits_are_refused(own: str | None, theirs: str | None) -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    spec, other = model(labels), dataset(labels, [0, 1])
    spec = replace(spec, data={**spec.data, "options": {"horizon": own}})
    other.options.update(horizon=theirs)
    with pytest.raises(ConfigError, match=r"the model's target is .*, that of tests/other .*: they are of other visits"):
        in_terms_of(spec, other, {})
    other.options.update(horizon=own)
    assert len(in_terms_of(spec, other, {})) == 2


def test_a_concept_is_no_class() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    other = dataset(labels, [0, 1], {"yn": [1.0, 0.0]})
    with pytest.raises(UnknownNameError, match="'a' in map, of the model"):
        in_terms_of(model(labels, ConceptSpace(("lesion",))), other, {"yn": "a"})


def test_splits_of_the_dataset_can_be_chosen() -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    other = dataset(labels, [0, 1, 0, 1, 0, 1])
    assert len(in_terms_of(model(labels), other, {})) == 6
    assert list(in_terms_of(model(labels), other, {}, ["test"]).table["sample_id"]) == ["s2", "s5"]


@pytest.mark.parametrize(
    ("renamed", "kind", "said"),
    [
        ({}, ConfigError, r"the class 'mel' of tests/other is none of the model's \(naevus, melanoma\).*map=\{mel: naevus\}"),
        ({"mel": "melanom"}, UnknownNameError, "'melanom' in map, of the model; did you mean 'melanoma'"),
        ({"mell": "melanoma"}, UnknownNameError, "'mell' in map, of the other dataset; did you mean 'mel'"),
    ],
)
def test_a_class_by_another_name_is_refused_by_name(renamed: dict[str, str], kind: type[Exception], said: str) -> None:
    own = LabelSpace("multiclass", ("naevus", "melanoma"))
    with pytest.raises(kind, match=said) as error:
        in_terms_of(model(own), dataset(LabelSpace("multiclass", ("naevus", "mel")), [0, 1]), renamed)
    assert "\n" not in str(error.value)


def test_other_kinds_and_units_are_refused() -> None:
    own = LabelSpace("regression", ("thickness",), ("um",))
    with pytest.raises(ConfigError, match="are multiclass, the model's regression"):
        in_terms_of(model(own), dataset(LabelSpace("multiclass", ("a", "b")), [0, 1]), {})
    with pytest.raises(ConfigError, match=r"thickness is in mm, the model's thickness in um; convert"):
        in_terms_of(model(own), dataset(LabelSpace("regression", ("thickness",), ("mm",)), [[1.0], [2.0]]), {})
    unnamed = in_terms_of(model(own), dataset(LabelSpace("regression", ("thickness",)), [[1.0], [2.0]]), {})
    assert "names no units: its values are taken to be in the model's (um)" in unnamed.info.notes[-1]
    two = dataset(LabelSpace("regression", ("a", "b")), [[1.0, 2.0]])
    with pytest.raises(ConfigError, match="cannot be one of the model's"):
        in_terms_of(model(LabelSpace("regression", ("a",))), two, {"b": "a"})


def test_a_split_without_samples_is_refused(tmp_path: Path) -> None:
    labels = LabelSpace("multiclass", ("a", "b"))
    with pytest.raises(ConfigError, match="no sample in val"):
        in_terms_of(model(labels), dataset(labels, [0]), {}, ["val"])
