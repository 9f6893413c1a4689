"""Samples of several modalities: what is there, what is left out in training, and what they are of another dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medzoo.data.dataset import input_matrix, readers_of
from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.modalities import presence
from medzoo.data.inputs import InputSpace
from medzoo.data.registry import load_dataset
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.modalities.samples import INPUTS, ModalSamples
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from tests.data.datasets.trees import TREES

OPTIONS = {"patients": 16, "size": 16, "modalities": ["image", "second", "volume"], "inputs": ["flag", "value", "category"]}


def preprocess(dataset):
    return {name: Preprocess(size=r.shape[1:], channels=1, mean=(0.5,), std=(0.5,)) for name, r in readers_of(dataset).items()}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("phantom", **OPTIONS, absent=0.4)


@pytest.fixture(scope="module")
def samples(dataset):
    return ModalSamples(dataset, "train", preprocess(dataset), inputs=dataset.inputs)


def test_a_sample_has_what_its_row_has(dataset, samples):
    rows = dataset.rows("train")
    for index in range(len(samples)):
        sample = samples[index]
        for name, reader in dataset.modalities.items():
            there = bool(presence(rows, reader)[index])
            assert bool(sample["present"][name]) == there
            if there:
                values = [rows[column].iloc[index] for column in reader.columns]
                np.testing.assert_array_equal(sample["images"][name], reader.read(*values))
            else:
                assert not sample["images"][name].any()
        given = input_matrix(rows, dataset.inputs)[index]
        np.testing.assert_array_equal(sample["tabular"], given)
        assert bool(sample["present"][INPUTS]) == (not np.isnan(given).all())


def test_what_is_left_out_is_a_function_of_seed_epoch_and_sample(dataset):
    def shown(seed, epoch, workers=0):
        dropped = ModalSamples(dataset, "train", preprocess(dataset), inputs=dataset.inputs, seed=seed, dropout=0.5)
        batches = EpochBatches(len(dropped), 7, seed=0, shuffle=False)
        batches.set_epoch(epoch)
        loaded = list(make_loader(dropped, batches, workers=workers, pin_memory=False))
        return np.stack([torch.cat([b["present"][name] for b in loaded]).numpy() for name in dropped.names])

    first = shown(0, 0)
    np.testing.assert_array_equal(first, shown(0, 0, workers=2))
    assert (first != shown(0, 1)).any()
    assert (first != shown(1, 0)).any()
    plain = ModalSamples(dataset, "train", preprocess(dataset), inputs=dataset.inputs)
    there = np.stack([plain.there(name) for name in plain.names])
    assert not (first & ~there).any()
    assert (first.any(axis=0) == there.any(axis=0)).all()  # never all of them
    several = there & (there.sum(axis=0) > 1)
    assert 0.4 < first[several].mean() < 0.75


def test_another_dataset_lacks_what_it_lacks(dataset):
    other = load_dataset("phantom", patients=16, size=16, modalities=["image"], inputs=["category"], seed=5)
    other = replace(other, inputs=InputSpace(("category",), {"category": ("south", "north")}))
    found = ModalSamples(other, "test", preprocess(dataset), inputs=dataset.inputs)
    assert not found.there("second").any()
    assert found.there("image").all()
    assert found.values is not None
    codes = other.rows("test")["input.category"].to_numpy()
    np.testing.assert_array_equal(found.values[:, 2], 1 - codes)  # by their words
    assert np.isnan(found.values[:, :2]).all()
    sample = found[0]
    assert sample["images"]["volume"].shape == (1, 16, 16, 16)
    with pytest.raises(ConfigError, match="has the modalities image, none of the model's"):
        ModalSamples(other, "test", {"oct": Preprocess(size=(8, 8))})


def test_one_image_alone_is_not_read_where_it_is_missing(dataset):
    plain = SampleDataset(dataset, "train", Preprocess(size=(16, 16), channels=1, mean=(0.5,), std=(0.5,)))
    there = presence(dataset.rows("train"), dataset.reader)
    assert plain[int(np.flatnonzero(there)[0])]["image"].shape == (1, 16, 16)
    with pytest.raises(ImageError, match="lacks the one image"):
        plain[int(np.flatnonzero(~there)[0])]


class Letters:
    """A tokenizer of eight letters a text."""

    context_length = 8

    def __call__(self, texts):
        return np.array([[ord(letter) for letter in f"{text:<8}"[:8]] for text in texts], np.int64)


def test_a_text_is_a_modality_of_token_ids():
    dataset = load_dataset("phantom", patients=16, size=16, texts=["note"], absent=0.4)
    rows, letters = dataset.rows("train"), Letters()
    samples = ModalSamples(dataset, "train", preprocess(dataset), texts={"note": letters})
    assert samples.names == ("image", "note")
    there = rows["text.note"].notna().to_numpy()
    np.testing.assert_array_equal(samples.there("note"), there)
    assert 0 < there.sum() < len(rows)
    whole = EpochBatches(len(samples), len(samples), seed=0, shuffle=False)
    batch = next(iter(make_loader(samples, whole, workers=0, pin_memory=False)))
    np.testing.assert_array_equal(batch["present"]["note"], there)
    expected = letters([note if here else "" for note, here in zip(rows["text.note"], there, strict=True)]) * there[:, None]
    np.testing.assert_array_equal(batch["images"]["note"], expected)
    left_out = ModalSamples(dataset, "train", preprocess(dataset), texts={"note": letters}, dropout=0.9)
    shown = np.array([bool(left_out[index]["present"]["note"]) for index in range(len(left_out))])
    assert shown[there].mean() < 0.8
    assert not shown[~there].any()
    other = ModalSamples(load_dataset("phantom", patients=16, size=16), "train", preprocess(dataset), texts={"note": letters})
    assert not other.there("note").any()  # a dataset without it
    assert not other[0]["images"]["note"].any()


def test_what_a_graph_takes_beside_the_image_holds_views_and_tokens(tmp_path):
    scin = load_dataset("scin", **TREES["scin"](tmp_path), views="case")
    wanted = Preprocess(size=(16, 16), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    samples = ModalSamples(scin, "train", {"image": wanted}, views={"image": 3})
    counts = scin.rows("train")[list(scin.reader.columns)].notna().sum(axis=1).to_numpy()
    assert len(set(counts)) > 1
    for index in range(len(samples)):
        beside = samples.beside(index)
        assert list(beside) == ["image_mask", "image_2", "image_2_mask", "image_3", "image_3_mask"]
        assert sum(float(beside[f"{view}_mask"][0]) for view in ("image", "image_2", "image_3")) == counts[index]
        if counts[index] == 3:
            np.testing.assert_array_equal(beside["image_3"], samples.parts["image"].bag(index)[2])
        assert beside["image_2"].any() == (counts[index] > 1)
    fewer = ModalSamples(scin, "train", {"image": wanted}, views={"image": 2})
    with pytest.raises(ConfigError, match="has 3 images of 'image', the model takes up to 2"):
        fewer.beside(int(np.argmax(counts)))
