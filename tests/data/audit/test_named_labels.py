"""Texts beside the images that name the label of their sample: shares by hand, and when `medzoo verify` warns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.audit.named_labels import named_labels, naming_warnings
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset


@pytest.fixture(scope="module")
def phantom():
    return load_dataset("phantom", patients=16, size=16)


def _with(dataset, notes, targets, names=("benign", "basal_cell carcinoma")):
    table = dataset.table.head(len(notes)).assign(split="train", target=np.array(targets, np.float32))
    table["text.note"] = list(notes)
    return replace(dataset, table=table, texts=("note",), labels=LabelSpace("multiclass", names))


def test_shares_by_hand(phantom):
    notes = ["A BASAL-CELL carcinoma.", "basal cell  carcinoma?", "red", None, "no basal cell carcinoma", "red", "fine", "pink"]
    found = named_labels(_with(phantom, notes, [1, 1, 1, 1, 0, 0, 0, 0]))
    assert found == {"note": {"texts": 7, "told": {"basal_cell carcinoma": {"own": pytest.approx(2 / 3), "others": 0.25}}}}
    assert naming_warnings(found) == [
        "text 'note' names the label that is asked for: basal_cell carcinoma in 67% (of others' 25%); a model reads it there "
        "instead of seeing it: take what was written before the diagnosis, or leave the text out (docs/multimodal.md)"
    ]


def test_a_name_within_a_word_or_as_often_without_the_label_is_no_warning(phantom):
    inside = named_labels(_with(phantom, ["benignant", "it is unbenign", "red", "pink"], [0, 0, 1, 1]))
    assert inside["note"]["told"] == {}
    alike = named_labels(_with(phantom, ["benign?", "benign", "not benign", "benign or not"], [0, 0, 1, 1]))
    assert alike["note"]["told"] == {}
    assert naming_warnings(alike) == []
    assert named_labels(phantom) == {}
    strange = named_labels(_with(phantom, ["a b", "c d"], [0, 1], names=("-", "+")))
    assert strange["note"]["told"] == {}  # a name without a letter is in no text


def test_verify_warns(phantom):
    report = audit(_with(phantom, ["benign naevus", "benign", "a carcinoma", "red"], [0, 0, 1, 1]), images=1)
    lines = as_lines(report)
    assert "text 'note': 4 samples looked through for the names of labels" in lines
    assert any(line.startswith("WARNING: text 'note' names the label that is asked for: benign in 100%") for line in lines)
    assert report["problems"] == []
