"""The phantom: concepts cause labels and pixels, patients hold together, and everything follows from the seed."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import concept_matrix, target_matrix
from medzoo.data.datasets.phantom.image import CONCEPTS, PhantomReader
from medzoo.data.datasets.phantom.load import LABELS
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import shared_groups

KINDS = list(LABELS)


def _pixels(dataset, rows=None):
    rows = dataset.table if rows is None else rows
    columns = [rows[c] for c in dataset.reader.columns]
    return np.stack([dataset.reader.read(*values) for values in zip(*columns, strict=True)])


def _rule(kind, lesion, irregular, spots, halo, vessel, diameter):
    """Return the label as the module's text words it, written out anew."""
    if kind == "binary":
        return "tumour" if lesion and irregular else "no tumour"
    if kind == "multiclass":
        if not lesion:
            return "normal"
        if irregular:
            return "tumour"
        return "calcified nodule" if spots else "cyst"
    if kind == "ordinal":
        grades = ["minimal", "mild", "moderate", "severe"]
        return grades[irregular + spots + halo] if lesion else "none"
    if kind == "multilabel":
        return [lesion, spots, irregular and halo, lesion and vessel]
    return [diameter if lesion else 0, lesion + 2 * irregular + spots + halo]


@pytest.mark.parametrize("kind", KINDS)
def test_concepts_cause_labels(kind):
    dataset = load_dataset("phantom", labels=kind, missing=0.0)
    concepts = concept_matrix(dataset.table, dataset.concepts).astype(int)
    targets = target_matrix(dataset.table, dataset.labels)
    assert not np.isnan(targets).any()
    for row, target, diameter in zip(concepts, targets, dataset.table["diameter"], strict=True):
        expected = _rule(kind, *row, diameter)
        found = dataset.labels.names[target.argmax()] if dataset.labels.exclusive else list(target)
        assert found == (expected if isinstance(expected, str) else pytest.approx(expected))
    assert (concepts[concepts[:, 0] == 0, 1:4] == 0).all()  # no border, spots or halo without a lesion
    if dataset.labels.exclusive:
        assert (targets.mean(axis=0) > 0.05).all()  # every class occurs
    assert (concepts.mean(axis=0) > 0.2).all()
    assert (concepts.mean(axis=0) < 0.8).all()


@pytest.mark.parametrize("place", range(len(CONCEPTS)))
@pytest.mark.parametrize("dims", [2, 3])
def test_a_concept_is_drawn_where_it_belongs_and_changes_nothing_else(place, dims):
    size = 64 if dims == 2 else 32
    reader = PhantomReader(seed=0, size=size, dims=dims, channels=1, noise=0.0)
    lesion = 1 if 0 < place < 4 else 0
    row = ("s", "p", "north")
    without = reader._draw(*row, lesion, 30.0).astype(int)
    changed = np.abs(reader._draw(*row, lesion | 1 << place, 30.0) - without) > 2
    assert 0.002 < changed.mean() < 0.35
    assert changed.sum() > 20


def test_an_image_follows_from_the_seed_and_its_row_alone():
    dataset = load_dataset("phantom", patients=8)
    images = _pixels(dataset)
    again = load_dataset("phantom", patients=8)
    assert again.table.equals(dataset.table)
    # Another order, another process and an empty cache change nothing.
    np.testing.assert_array_equal(_pixels(again, again.table[::-1])[::-1], images)
    code = (
        "import zlib; from medzoo.data import load_dataset;"
        "d = load_dataset('phantom', patients=8); r = d.table.iloc[5];"
        "print(zlib.crc32(d.reader.read(*r[list(d.reader.columns)]).tobytes()))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(there.stdout) == zlib.crc32(images[5].tobytes())
    assert len({image.tobytes() for image in images}) == len(images)
    assert not np.array_equal(_pixels(load_dataset("phantom", patients=8, seed=1))[0], images[0])


def test_more_patients_change_none_that_were_there():
    few, many = (load_dataset("phantom", patients=n) for n in (20, 30))
    pd.testing.assert_frame_equal(many.table.iloc[: len(few)], few.table)


def test_the_kind_of_label_does_not_change_the_images():
    one, other = (load_dataset("phantom", labels=kind, patients=5) for kind in ("binary", "regression"))
    np.testing.assert_array_equal(_pixels(one), _pixels(other))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 64, 64)),
        ({"channels": 3, "size": 48}, (3, 48, 48)),
        ({"dims": 3}, (1, 28, 28, 28)),
        ({"dims": 3, "channels": 3, "size": 16}, (3, 16, 16, 16)),
    ],
)
def test_shapes_and_values(options, shape):
    dataset = load_dataset("phantom", patients=6, **options)
    images = _pixels(dataset)
    assert dataset.reader.shape == shape
    assert images.dtype == np.uint8
    assert images.shape == (len(dataset), *shape)
    assert 40 < images.mean() < 140
    assert np.mean(images == 255) < 0.05  # hardly anything is clipped
    if options.get("channels") == 3:
        assert (images[:, 0] != images[:, 1]).mean() > 0.5


def test_patients_hold_together():
    dataset = load_dataset("phantom")
    table = dataset.table
    assert dataset.info.split_unit == "patient"
    assert shared_groups(table) == {}
    for column in ("sex", "age", "age_band", "site", "split"):
        assert table.groupby("group")[column].nunique().max() == 1
    sizes = table.groupby("group").size()
    assert sizes.min() == 1
    assert sizes.max() == 7
    assert 3.5 < sizes.mean() < 4.5
    patients = table.groupby("group")["split"].first().value_counts(normalize=True)
    assert abs(patients["val"] - 0.15) < 0.07
    assert abs(patients["test"] - 0.25) < 0.08
    for subgroup in dataset.subgroups:
        assert table[subgroup].value_counts(normalize=True).min() > 0.15
    # Images of a patient are more alike than images of two: leakage between splits would pay.
    images = _pixels(dataset, table[table["group"].isin(sizes.index[sizes >= 2])].groupby("group").head(2)).astype(float)
    one, other = images[::2], images[1::2]
    assert np.abs(one - other).mean() < np.abs(one - np.roll(other, 1, axis=0)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_missing_entries_are_nan_and_the_rest_is_untouched(kind):
    whole, holed, more = (load_dataset("phantom", labels=kind, missing=share) for share in (0.0, 0.3, 0.6))
    for read in (lambda d: target_matrix(d.table, d.labels), lambda d: concept_matrix(d.table, d.concepts)):
        gaps = np.isnan(read(holed))
        assert abs(gaps.mean() - 0.3) < 0.05
        np.testing.assert_array_equal(read(holed)[~gaps], read(whole)[~gaps])
        assert (np.isnan(read(more)) | ~gaps).all()  # more missing adds gaps and fills none
    np.testing.assert_array_equal(_pixels(whole, whole.table[:3]), _pixels(holed, holed.table[:3]))


def test_multilabel_comes_with_gaps_unless_told_otherwise():
    gaps = {kind: load_dataset("phantom", labels=kind).table.filter(regex="^target").isna().mean().mean() for kind in KINDS}
    assert 0.07 < gaps.pop("multilabel") < 0.13
    assert set(gaps.values()) == {0.0}


def test_captions_say_what_is_drawn_in_several_ways():
    dataset = load_dataset("phantom", missing=0.5)
    true = load_dataset("phantom").table
    captions = dataset.table["caption"]
    assert captions.tolist() == true["caption"].tolist()  # a gap in the annotation is none in the image
    assert (captions.str.contains("bright spots") == (true["concept.bright spots"] == 1)).all()
    assert (captions.str.contains("irregular border") == (true["concept.irregular border"] == 1)).all()
    assert (captions.str.contains("dark halo") == (true["concept.dark halo"] == 1)).all()
    assert (captions.str.contains("no lesion", case=False) == (true["concept.lesion"] == 0)).all()
    assert (captions.str.contains("bright vessel", case=False) == (true["concept.vessel"] == 1)).all()
    assert captions.str.contains(r"synthetic|[Pp]hantom|simulated", case=False).all()
    assert captions.str.split(" ").str[:2].str.join(" ").nunique() >= 5
    tumours = captions[true["target"] == LABELS["multiclass"].index("tumour")]
    assert tumours.str.contains("tumour").any()
    assert not captions[true["target"] == 0].str.contains("tumour|cyst|nodule").any()


def test_the_labels_can_be_seen_in_the_pixels():
    # No network: whether there is a lesion shows in the brightest tenth of the pixels, smoothed.
    dataset = load_dataset("phantom", labels="multilabel", missing=0.0)
    features = {}
    for split in ("train", "test"):
        images = _pixels(dataset, dataset.rows(split))[:, 0].astype(float)
        blocks = images.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(len(images), -1)
        features[split] = np.sort(blocks, axis=1)[:, ::-1][:, :60] / blocks.mean(1, keepdims=True)
    mass = {split: dataset.rows(split)["target.mass"] for split in features}
    model = LogisticRegression(max_iter=500).fit(features["train"], mass["train"])
    assert roc_auc_score(mass["test"], model.decision_function(features["test"])) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_the_confounder_goes_with_the_label_in_train_and_against_it_in_test(kind):
    dataset = load_dataset("phantom", labels=kind, confounder=0.8, missing=0.0, patients=600)
    assert "stripes" in dataset.subgroups
    assert any("correlation 0.8" in note for note in dataset.info.notes)
    table = dataset.table
    if kind == "multilabel":
        suspicious = table["target.mass"] == 1
    elif kind == "regression":
        suspicious = table["target.risk"] >= 3
    else:
        suspicious = table["target"] >= len(LABELS[kind].names) / 2
    striped = table["stripes"] == "striped"
    for split, sign in (("train", 1), ("val", 1), ("test", -1)):
        here = table["split"] == split
        difference = striped[here & suspicious].mean() - striped[here & ~suspicious].mean()
        assert abs(difference - sign * 0.8) < 0.12
    row = table[striped].iloc[0]
    plain = load_dataset("phantom", labels=kind, missing=0.0, patients=600)
    values = list(row[list(dataset.reader.columns)])
    assert not np.array_equal(dataset.reader.read(*values), _pixels(plain, plain.table.loc[[row.name]])[0])
    assert "stripes" not in plain.table.columns


def test_stripes_alone_are_in_half_of_the_images_whatever_the_label():
    dataset = load_dataset("phantom", stripes=True, patients=600)
    striped, suspicious = dataset.table["stripes"] == "striped", dataset.table["target"] >= 2
    for split in ("train", "val", "test"):
        here = dataset.table["split"] == split
        assert abs(striped[here & suspicious].mean() - 0.5) < 0.07
        assert abs(striped[here & ~suspicious].mean() - 0.5) < 0.07
    assert any("whatever the label" in note for note in dataset.info.notes)


def test_without_a_confounder_no_image_has_stripes():
    for dataset in (load_dataset("phantom"), load_dataset("phantom", confounder=0.0)):  # as every saved run has it
        assert "stripes" not in dataset.subgroups
        assert dataset.table["drawn"].max() < 1 << len(CONCEPTS)
    assert load_dataset("phantom").table["drawn"].max() < 1 << len(CONCEPTS)


def test_cards_say_synthetic():
    infos = dataset_infos("phantom")
    assert [info.name for info in infos] == [f"phantom/{kind}" for kind in KINDS]
    for info in infos:
        assert "synthetic" in info.title
        assert "synthetic" in info.notes[0]
        assert info.modality in POLICIES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 4}, "dims=4 is not a whole number from 2 to 3"),
        ({"size": 8}, "size=8"),
        ({"patients": 20.5}, "patients=20.5"),
        ({"channels": 2}, "channels=2"),
        ({"patients": 3}, "patients=3"),
        ({"images_per_patient": 0}, "images_per_patient=0"),
        ({"seed": -1}, "seed=-1"),
        ({"noise": -0.1}, "noise=-0.1"),
        ({"missing": 1.0}, "missing=1.0"),
        ({"confounder": 1.5}, "confounder=1.5"),
        ({"confounder": None}, "confounder=None"),
        ({"stripes": "yes"}, "stripes='yes' is not true or false"),
        ({"size": "big"}, "size='big' is not a whole number"),
        ({"missing": "some"}, "missing='some' is not a number"),
        ({"labels": "ordnal"}, "did you mean 'ordinal'"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        load_dataset("phantom", **options)
