"""Phantoms that are seen again: the next visit follows from what an image shows at this one, by the rules that are told."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.data.datasets.phantom.course import GROWTH, LARGEST
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset


def visits(**options):
    return load_dataset("phantom", visits=True, size=48, patients=80, **options)


@pytest.fixture(scope="module")
def course():
    return visits(labels="regression", horizon="next", visit_inputs=["until", "now"])


def test_a_lesion_grows_where_it_has_bright_spots(course):
    table = course.table.dropna(subset=["target.diameter"])
    grown = table["input.diameter_now"] + GROWTH * table["input.until"] * table["concept.bright spots"]
    np.testing.assert_allclose(table["target.diameter"], np.minimum(grown, LARGEST), atol=0.02)
    moved = table["target.diameter"] - table["input.diameter_now"]
    assert 0.25 < (moved > 1).mean() < 0.55  # so that who says that nothing changes is often wrong
    assert table["input.until"].between(4, 12).all()


def test_a_halo_becomes_an_irregular_border_and_what_is_there_stays(course):
    table = course.table
    later = table.groupby("group")[["concept.lesion", "concept.bright spots", "concept.irregular border"]].shift(-1)
    known = later["concept.lesion"].notna()
    assert known.sum() == table["target.risk"].notna().sum() > 100
    for name in ("concept.lesion", "concept.bright spots"):
        assert (later[name] == table[name])[known].all()
    border = np.maximum(table["concept.irregular border"], table["concept.dark halo"])
    assert (later["concept.irregular border"] == border)[known].all()
    assert (table["concept.irregular border"] < border)[known].sum() > 10


@pytest.mark.parametrize("labels", ["binary", "multiclass", "ordinal", "multilabel"])
def test_every_kind_of_label_is_the_next_visits(labels):
    now = visits(labels=labels, missing=0.0)
    later = visits(labels=labels, missing=0.0, horizon="next")
    columns = [column for column in now.table if column.startswith("target")]
    wanted = now.table.groupby("group")[columns].shift(-1)
    np.testing.assert_array_equal(later.table[columns], wanted)
    stays = (wanted == now.table[columns]).all(axis=1)[wanted.notna().all(axis=1)].mean()
    assert 0.5 < stays < 0.95


def test_the_image_shows_what_is_said_at_its_own_visit(course):
    reader, rows = course.reader, course.table[course.table["input.diameter_now"] > 0].head(40)
    areas = [reader.outlines(*(row[c] for c in reader.columns))["lesion"].mean() for _, row in rows.iterrows()]
    assert np.corrcoef(np.sqrt(areas), rows["input.diameter_now"])[0, 1] > 0.95


def test_a_patient_does_not_change_when_others_are_added():
    few, many = (load_dataset("phantom", visits=True, size=16, patients=n).table for n in (10, 30))
    columns = ["sample_id", "week", "diameter", "drawn", "target"]
    assert few[columns].equals(many[columns].head(len(few)))


def test_parity_has_no_course():
    with pytest.raises(ConfigError, match=r"data.rule=xor"):
        load_dataset("phantom", visits=True, rule="xor", inputs=["flag"])
