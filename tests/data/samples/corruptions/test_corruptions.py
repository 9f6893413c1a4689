"""Every corruption keeps shape, type and range, is drawn for its sample alone, and does more the more severe it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from medzoo.data.dataset import ArrayReader, Dataset, Reader
from medzoo.data.errors import ConfigError, ImageError, MissingDependencyError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.registry import load_dataset
from medzoo.data.samples.corruptions import choose_corruptions, corrupt, corrupted
from medzoo.data.samples.corruptions import volumes as by_torchio
from medzoo.data.samples.corruptions.amounts import MEDMNIST_C, OWN, SET_OF, amounts_of
from medzoo.data.samples.corruptions.apply import CORRUPTIONS, SEVERITIES
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset

OF_IMAGES = [name for name, kind in CORRUPTIONS.items() if kind.needs != "volume"]
OF_VOLUMES = [name for name, kind in CORRUPTIONS.items() if kind.needs == "volume"]


def phantom(channels: int = 3, size: int = 112, dims: int = 2, noise: float = 0.06) -> NDArray[np.uint8]:
    """An image of a body with a lesion, no two sides equal."""
    dataset = load_dataset("phantom", channels=channels, size=size, dims=dims, noise=noise, patients=8)
    row = dataset.table[dataset.table["diameter"] > 25].iloc[0]
    pixels = dataset.reader.read(*(row[column] for column in dataset.reader.columns))
    return np.array(pixels[..., : size - 9, : size - 4])


def form(kind: str) -> NDArray[Any]:
    pixels = phantom(1 if kind == "gray" else 3)
    return (pixels / np.float32(255)).astype(np.float32) if kind == "float" else pixels


def tried(pixels: NDArray[Any], name: str, severity: int, seed: int = 3, sample: str = "a/1", modality: str = "xray") -> Any:
    return corrupt(pixels, name, severity, modality=modality, seed=seed, sample=sample)


@pytest.mark.parametrize("kind", ["colour", "gray", "float"])
@pytest.mark.parametrize("name", OF_IMAGES)
def test_form_stays_and_the_effect_grows(name: str, kind: str) -> None:
    pixels = form(kind)
    if CORRUPTIONS[name].needs == "colour" and kind == "gray":
        with pytest.raises(ImageError, match="a/1: stain_shift changes stains, which a gray image does not show"):
            tried(pixels, name, 1)
        return
    before = pixels.copy()
    found = [tried(pixels, name, severity) for severity in (0, *SEVERITIES)]
    np.testing.assert_array_equal(pixels, before)  # a reader's memory is not written to
    np.testing.assert_array_equal(found[0], pixels)
    for image in found:
        assert image.shape == pixels.shape
        assert image.dtype == pixels.dtype
        assert image.min() >= 0
        assert image.max() <= (1 if kind == "float" else 255)
    errors = [float(((image.astype(np.float64) - pixels) ** 2).mean()) for image in found]
    assert errors == sorted(errors)  # motions of 10 and 15 pixels with a Gaussian of 5 are one and the same, nearly
    assert len(set(errors[2:])) == len(errors[2:])
    assert errors[3] > 0


@pytest.mark.parametrize("name", OF_VOLUMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_keeps_its_form_and_the_effect_grows(name: str, channels: int) -> None:
    pixels = phantom(channels, 32, 3, noise=0.0)[:, :21]  # a shift of half a voxel changes noise as much as one of several
    found = [tried(pixels, name, severity) for severity in SEVERITIES]
    assert {(image.shape, image.dtype) for image in found} == {(pixels.shape, pixels.dtype)}
    np.testing.assert_array_equal(tried(pixels, name, 3), found[2])
    drawn = [[tried(pixels, name, severity, sample=str(number)) for number in range(8)] for severity in SEVERITIES]
    errors = [float(((np.stack(images).astype(np.float64) - pixels) ** 2).mean()) for images in drawn]
    assert errors[0] > 0
    assert errors == sorted(errors)  # on average: a body that turned farther may come to lie better
    with pytest.raises(ImageError, match=f"{name} is of volumes, and this is an image"):
        tried(pixels[:, 0], name, 1)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_volume_takes_what_images_do(name: str) -> None:
    pixels = phantom(3, 96, 3)[:, :5]
    found = tried(pixels, name, 5)
    assert found.shape == pixels.shape
    assert (found != pixels).any(axis=(0, 2, 3)).all()  # in every slice


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise", "motion_blur", "hair", "stain_shift"])
def test_what_is_drawn_is_of_the_seed_and_the_sample(name: str) -> None:
    pixels = phantom()
    first = tried(pixels, name, 3)
    np.testing.assert_array_equal(tried(pixels, name, 3), first)
    assert (tried(pixels, name, 3, seed=4) != first).any()
    assert (tried(pixels, name, 3, sample="a/2") != first).any()


def test_alpha_stays_as_it_is() -> None:
    pixels = np.concatenate([phantom(), np.full((1, 103, 108), 77, np.uint8)])
    found = tried(pixels, "gaussian_noise", 5)
    np.testing.assert_array_equal(found[3], pixels[3])
    np.testing.assert_array_equal(found[:3], tried(pixels[:3], "gaussian_noise", 5))


def test_numbers_are_there_for_every_modality_and_say_whose_they_are() -> None:
    assert set(SET_OF) == set(POLICIES)
    for modality in POLICIES:
        for name in CORRUPTIONS:
            amounts, source = amounts_of(name, modality)
            assert len(amounts) == len(SEVERITIES)
            assert source.startswith("MedMNIST-C" if name not in OWN else "medzoo's own")
    assert amounts_of("jpeg", "fundus") == ((30, 25, 20, 10, 5), "MedMNIST-C, retinamnist")
    assert amounts_of("gamma_up", "fundus")[1] == "MedMNIST-C, chestmnist (it has none for retinamnist)"
    assert {name for numbers in MEDMNIST_C.values() for name in numbers} | set(OWN) == set(CORRUPTIONS)


def test_auto_follows_the_modality_and_what_cannot_be_is_told() -> None:
    skin, left = choose_corruptions("auto", "skin", 3, volume=False)
    assert {"hair", "ruler_marks", "black_corner", "jpeg"} <= set(skin)
    assert left == {}
    slide, left = choose_corruptions("auto", "histology", 1, volume=False)
    assert "stain_shift" not in slide
    assert left == {"stain_shift": "stain_shift changes stains, which a gray image does not show"}
    scan, _ = choose_corruptions("auto", "volume", 1, volume=True)
    assert set(OF_VOLUMES) <= set(scan)
    assert choose_corruptions(["jpeg", "volume_spike"], "xray", 1, volume=False)[1] == {
        "volume_spike": "volume_spike is of volumes, and this is an image"
    }


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (["jpg"], UnknownNameError, "'jpeg'"),
        ("jpeg", ConfigError, "neither auto nor a list"),
        ([], ConfigError, "neither auto nor a list"),
        (["jpeg", "jpeg"], ConfigError, "names jpeg twice"),
        (["volume_spike"], ConfigError, "none of these corruptions can be tried"),
    ],
)
def test_a_wrong_choice_is_one_line(asked: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        choose_corruptions(asked, "xray", 1, volume=False)


def test_a_severity_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="severity 6 is not one of 0 to 5"):
        tried(phantom(), "jpeg", 6)


def test_without_torchio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchio", None)
    with pytest.raises(MissingDependencyError, match=r"torchio: pip install 'medzoo\[corruptions\]'"):
        by_torchio.require_torchio()
    with pytest.raises(MissingDependencyError, match="corruptions"):
        choose_corruptions("auto", "volume", 1, volume=True)


class Views(Reader):
    """Two photographs of a case."""

    columns = ("first", "second")
    views = True

    def read(self, *values: Any) -> NDArray[np.uint8]:
        return np.full((1, 64, 64), 128, np.uint8) + np.uint8(len(values[0]))


def dataset_of(reader: Reader, **columns: Any) -> Dataset:
    info = DatasetInfo(
        name="made", title="Made", modality="xray", licence="CC0-1.0", citation="", homepage="", labels=None, split_unit="patient"
    )  # fmt: skip
    rows = {"sample_id": ["a", "b", "c"], "split": "test", "group": ["a", "b", "c"], **columns}
    return Dataset(info, pd.DataFrame(rows), reader)


def samples(dataset: Dataset) -> SampleDataset:
    return SampleDataset(dataset, "test", Preprocess(size=(64, 64), channels=1, mean=(0.5,), std=(0.5,)))


def test_a_corrupted_dataset_is_the_same_in_any_order_and_untouched_at_severity_0() -> None:
    pixels = np.stack([phantom(1, 73)] * 3)[..., :64, :64]
    plain = dataset_of(ArrayReader(pixels), array_index=[0, 1, 2])
    np.testing.assert_array_equal(samples(corrupted(plain, "hair", 0, 0))[1]["image"], samples(plain)[1]["image"])
    noisy = corrupted(plain, "gaussian_noise", 3, 0)
    forth = [samples(noisy)[index]["image"] for index in range(3)]
    back = [samples(noisy)[index]["image"] for index in (2, 1, 0)][::-1]
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (forth[0] != forth[1]).any()  # the same pixels, another sample
    part = noisy.with_table(noisy.table.iloc[[1]])
    np.testing.assert_array_equal(samples(part)[0]["image"], forth[1])
    assert noisy.reader.shape == plain.reader.shape


def test_views_are_drawn_each_for_itself_and_a_missing_one_stays_missing() -> None:
    plain = dataset_of(Views(), first=["x", "x", "x"], second=["y", None, "y"])
    found = samples(corrupted(plain, "gaussian_noise", 3, 0))
    assert found[1]["view_mask"].tolist() == [True, False]
    assert not found[1]["image"][1].any()
    assert (found[0]["image"][0] != found[0]["image"][1]).any()
    assert (found[0]["image"][0] != found[1]["image"][0]).any()
