"""Datasets of several images a sample: what they may be called, which rows have them, and what a checksum covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medzoo.data.dataset import data_card, input_matrix, readers_of, table_checksum
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.images.modalities import presence
from medzoo.data.registry import load_dataset
from medzoo.data.samples.corruptions import corrupted

OPTIONS: dict[str, Any] = {"patients": 24, "size": 16, "modalities": ["image", "second"], "inputs": ["flag", "value", "category"]}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("phantom", **OPTIONS, absent=0.4)


def test_rows_lack_a_modality_where_a_column_of_its_reader_is_missing(dataset):
    for name, reader in dataset.modalities.items():
        there = presence(dataset.table, reader)
        assert 0.4 < there.mean() < 0.8
        np.testing.assert_array_equal(there, dataset.table[f"{name}_drawn"].notna())
    gone = np.isnan(input_matrix(dataset.table, dataset.inputs)).mean(axis=0)
    assert ((gone > 0.2) & (gone < 0.6)).all()
    assert load_dataset("phantom", **OPTIONS).table.notna().all().all()


def test_one_image_a_sample_is_called_image(dataset):
    plain = load_dataset("phantom", patients=8, size=16)
    assert readers_of(plain) == {"image": plain.reader}
    assert list(readers_of(dataset)) == ["image", "second"]


def test_the_card_and_the_checksum_know_modalities_and_inputs(dataset):
    card = data_card(dataset)
    assert list(card["modalities"]) == ["image", "second"]
    assert card["inputs"] == {"names": ["flag", "value", "category"], "categories": {"category": ["north", "south"]}}
    before, table = table_checksum(dataset), dataset.table.copy()
    row = int(np.flatnonzero(presence(table, dataset.modalities["second"]))[0])
    table.loc[row, "second_drawn"] = np.nan
    assert table_checksum(dataset.with_table(table)) != before
    other = replace(dataset, inputs=replace(dataset.inputs, categories={"category": ("south", "north")}))
    assert table_checksum(other) != before
    assert not {"modalities", "inputs"} & set(data_card(load_dataset("phantom", patients=8)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda readers: {"second": readers["second"], "first": readers["image"]}, "not read by the dataset's own reader"),
        (lambda readers: {"inputs": readers["image"]}, "'inputs' is no name of a modality"),
        (lambda readers: {"image": readers["image"], "left eye": readers["second"]}, "'left eye' is no name"),
        (lambda readers: {"first": readers["image"], "image": readers["second"]}, "'image' is no name"),
        (lambda readers: {"image": readers["image"], "second": "a path"}, "no Reader"),
        (
            lambda readers: {"image": readers["image"], "third": replace(readers["second"], columns=("third",))},
            "no column 'third'",
        ),
    ],
)
def test_modalities_are_named_readers_the_first_the_datasets_own(dataset, change, said):
    with pytest.raises(DatasetError, match=said):
        replace(dataset, modalities=change(dict(dataset.modalities)))


def test_a_modality_that_no_sample_has_is_refused(dataset):
    with pytest.raises(DatasetError, match="modality 'second' is missing in all"):
        dataset.with_table(dataset.table.assign(second_drawn=np.nan))


def test_every_modality_is_corrupted(dataset):
    worse = corrupted(dataset, "gaussian_noise", 5, seed=0)
    for name, reader in dataset.modalities.items():
        own = worse.modalities[name]
        np.testing.assert_array_equal(presence(worse.table, own), presence(dataset.table, reader))
        row = int(np.flatnonzero(presence(dataset.table, reader))[0])
        clean, noisy = (one.read(*(d.table[c].iloc[row] for c in one.columns)) for one, d in ((reader, dataset), (own, worse)))
        assert clean.shape == noisy.shape
        assert (clean != noisy).any()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"modalities": ["second"]}, ConfigError, "the first is image"),
        ({"modalities": ["image", "secund"]}, UnknownNameError, "did you mean 'second'"),
        ({"inputs": ["flag", "flag"]}, ConfigError, "each once"),
        ({"rule": "xor", "inputs": ["value"]}, ConfigError, "rule=xor needs two"),
        ({"absent": 0.5}, ConfigError, "name them"),
        ({"inputs": ["flag"], "absent": 1.0}, ConfigError, "not a number from 0 to 0.99"),
    ],
)
def test_options_that_make_no_phantom_are_one_line(options, error, said):
    with pytest.raises(error, match=said):
        load_dataset("phantom", patients=8, **options)


@pytest.mark.parametrize("options", [{"inputs": ["flag"]}, {"modalities": ["image", "second"]}])
def test_parity_is_told_by_both_and_by_none_alone(options):
    table = load_dataset("phantom", patients=800, rule="xor", **options).table
    drawn = table["drawn" if "inputs" in options else "image_drawn"].to_numpy(np.int64) & 1
    other = (table["input.flag"] if "inputs" in options else table["second_drawn"]).to_numpy(np.int64) & 1
    np.testing.assert_array_equal(table["target"], drawn ^ other)
    for alone in (drawn, other):
        assert abs(np.corrcoef(alone, table["target"])[0, 1]) < 0.06
