from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.dataset import ArrayReader, Dataset, Reader
from medzoo.data.errors import ConfigError, ImageError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.samples.sample_dataset import SampleDataset, collate

GRAY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}
FINDINGS = LabelSpace("multilabel", ("oedema", "mass"))
SIGNS = ConceptSpace(("round", "dark"))


@dataclass
class DrawnReader(Reader):
    """As files are: any size, and one that cannot be read."""

    columns: tuple[str, ...] = ("height", "width", "channels", "path")
    shape: tuple[int, ...] | None = None

    def read(self, *values: Any) -> NDArray[Any]:
        height, width, channels, path = values
        if path.endswith("broken.png"):
            raise ImageError(f"{path}: not an image")
        if path.endswith("gone.png"):
            raise FileNotFoundError(2, "No such file or directory", path)
        image = np.random.default_rng(len(path) + height).integers(0, 256, (channels, height, width), dtype=np.uint8)
        return image[0] if path.endswith("flat.png") else image


def make_dataset(reader: Reader, rows: int = 12, **columns: Any) -> Dataset:
    """A table with every kind of column, in the order train, val, test, train, ..."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "sample_id": [f"case{i:03d}/image" for i in range(rows)],
            "split": [("train", "val", "test")[i % 3] for i in range(rows)],
            "group": [f"case{i:03d}" for i in range(rows)],
            "array_index": np.arange(rows)[::-1],
            "target.oedema": generator.integers(0, 2, rows).astype(np.float32),
            "target.mass": np.where(np.arange(rows) < 6, np.nan, 1).astype(np.float32),
            "concept.round": np.where(np.arange(rows) == 3, np.nan, 1).astype(np.float32),
            "concept.dark": np.zeros(rows, np.float32),
            "caption": [None if i == 3 else f"caption {i}" for i in range(rows)],
            "input.age": np.where(np.arange(rows) == 0, np.nan, np.arange(rows)).astype(np.float32),
            **columns,
        }
    )
    info = DatasetInfo("tests/drawn", "Drawn", "skin", "none", "none", "none", FINDINGS, SIGNS)
    return Dataset(info, table, reader, FINDINGS, SIGNS)


def array_dataset(shape: tuple[int, ...] = (3, 28, 28), rows: int = 12, dtype: str = "uint8") -> Dataset:
    pixels = np.random.default_rng(1).integers(0, 256, (rows, *shape), dtype=np.uint8)
    arrays = pixels if dtype == "uint8" else (pixels / np.float32(255)).astype(np.float32)
    return make_dataset(ArrayReader(arrays), rows)


def file_dataset(rows: int = 12, **columns: Any) -> Dataset:
    sizes = {
        "height": 40 + np.arange(rows),
        "width": 60 - np.arange(rows),
        "channels": np.where(np.arange(rows) % 2, 3, 1),
        "path": [f"{i}.png" for i in range(rows)],
    }
    return make_dataset(DrawnReader(), rows, **{**sizes, **columns})


def test_a_sample_has_the_columns_of_its_row() -> None:
    dataset = array_dataset()
    samples = SampleDataset(dataset, "train", Preprocess((32, 32)))
    assert len(samples) == 4
    assert list(samples.rows["sample_id"]) == [f"case{i:03d}/image" for i in (0, 3, 6, 9)]
    sample = samples[(5, 1)]  # table row 3, whose pixels stand at 8
    assert set(sample) == {"image", "index", "sample_id", "target", "concepts", "tabular", "text", "image_key"}
    assert (sample["index"], sample["sample_id"], sample["text"]) == (1, "case003/image", "")
    assert isinstance(dataset.reader, ArrayReader)
    assert np.array_equal(sample["image"], dataset.reader.arrays[8])
    np.testing.assert_array_equal(sample["target"], [dataset.table["target.oedema"][3], np.nan])
    np.testing.assert_array_equal(sample["concepts"], [np.nan, 0])
    np.testing.assert_array_equal(sample["tabular"], [3])
    np.testing.assert_array_equal(samples[0]["tabular"], [np.nan])
    assert samples[3]["text"] == "caption 9"
    assert all(sample[k].dtype == torch.float32 for k in ("target", "concepts", "tabular"))
    assert samples.targets is not None
    np.testing.assert_array_equal(samples.targets[:, 1], [np.nan, np.nan, 1, 1])


def test_samples_do_not_share_memory_with_the_dataset() -> None:
    dataset = array_dataset()
    samples = SampleDataset(dataset, "train", Preprocess((28, 28)))
    first = samples[0]
    image, target = first["image"].clone(), first["target"].clone()
    first["image"].zero_()
    first["target"].zero_()
    assert torch.equal(samples[0]["image"], image)
    torch.testing.assert_close(samples[0]["target"], target, equal_nan=True)


def test_plain_table_gives_image_and_name_only() -> None:
    table = array_dataset().table[["sample_id", "split", "group", "array_index"]]
    info = DatasetInfo("tests/plain", "Plain", "skin", "none", "none", "none", None)
    dataset = Dataset(info, table, ArrayReader(np.zeros((12, 3, 8, 8), np.uint8)))
    samples = SampleDataset(dataset, "val", Preprocess((8, 8)))
    assert set(samples[0]) == {"image", "index", "sample_id"}
    assert samples.targets is None


def test_small_arrays_stay_native_and_large_ones_and_files_are_fitted() -> None:
    assert SampleDataset(array_dataset(), "train", Preprocess((224, 224))).native
    assert SampleDataset(array_dataset(), "train", Preprocess((28, 28))).native
    assert SampleDataset(array_dataset(), "train", Preprocess((224, 224)))[0]["image"].shape == (3, 28, 28)
    small = Preprocess((20, 24))
    dataset = array_dataset()
    fitted = SampleDataset(dataset, "train", small)
    assert not fitted.native
    assert isinstance(dataset.reader, ArrayReader)
    source = dataset.reader.arrays[11]
    assert torch.equal(fitted[0]["image"], fit(torch.from_numpy(source)[None], small)[0])
    # An independent oracle: Pillow, one axis at a time.
    film = Image.fromarray(np.moveaxis(source, 0, -1))
    film = film.resize((24, 28), Image.Resampling.BILINEAR).resize((24, 20), Image.Resampling.BILINEAR)
    difference = np.moveaxis(np.asarray(film), -1, 0).astype(int) - fitted[0]["image"].numpy().astype(int)
    assert np.abs(difference).max() <= 1
    files = SampleDataset(file_dataset(), "train", Preprocess((224, 224)))
    assert not files.native
    assert all(files[i]["image"].shape == (3, 224, 224) for i in range(4))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("wanted", ["uint8", "float32"])
def test_channels_and_type_become_the_models(dtype: str, wanted: Any) -> None:
    colour = array_dataset((3, 16, 16), dtype=dtype)
    gray = array_dataset((1, 16, 16), dtype=dtype)
    assert isinstance(colour.reader, ArrayReader)
    assert isinstance(gray.reader, ArrayReader)
    image = SampleDataset(gray, "train", Preprocess((16, 16), dtype=wanted))[0]["image"]
    assert image.shape == (3, 16, 16)
    assert image.dtype == getattr(torch, wanted)
    scale = {"uint8": 255, "float32": 1}
    expected = gray.reader.arrays[11] * (scale[wanted] / scale[dtype])
    np.testing.assert_allclose(image, np.repeat(expected, 3, axis=0), atol=1e-5)
    image = SampleDataset(colour, "train", Preprocess((16, 16), dtype=wanted, **GRAY))[0]["image"]
    luma = np.tensordot([0.299, 0.587, 0.114], colour.reader.arrays[11].astype(float), 1) * scale[wanted] / scale[dtype]
    np.testing.assert_allclose(image[0], luma, atol=1.01 if wanted == "uint8" else 0.5 / 255 + 1e-4)


def test_volumes_keep_their_axes() -> None:
    dataset = array_dataset((1, 5, 12, 14))
    assert isinstance(dataset.reader, ArrayReader)
    samples = SampleDataset(dataset, "train", Preprocess((5, 12, 14)))
    assert samples.native
    expected = np.repeat(dataset.reader.arrays[11], 3, axis=0)
    assert np.array_equal(samples[0]["image"], expected)
    one = Preprocess((4, 8, 8), **GRAY)
    augmented = SampleDataset(dataset, "train", one, augment=Augment(POLICIES["volume"], one))
    assert augmented[0]["image"].shape == (1, 4, 8, 8)
    assert not torch.equal(augmented[(0, 0)]["image"], augmented[(1, 0)]["image"])


@pytest.mark.parametrize("kind", ["array", "file", "float"])
def test_augmentation_is_a_function_of_seed_epoch_and_sample(kind: str) -> None:
    dataset = file_dataset() if kind == "file" else array_dataset(dtype="float32" if kind == "float" else "uint8")
    preprocess = Preprocess((32, 32), dtype="float32" if kind == "float" else "uint8")

    def make(seed: int = 0) -> SampleDataset:
        return SampleDataset(dataset, "train", preprocess, augment=Augment(POLICIES["skin"], preprocess), seed=seed)

    one, other = make(), make()
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    forward = {key: one[key]["image"] for key in keys}
    backward = {key: other[key]["image"] for key in reversed(keys)}
    assert all(torch.equal(forward[k], backward[k]) for k in keys)
    assert len({forward[k].numpy().tobytes() for k in keys}) == len(keys)
    assert torch.equal(one[2]["image"], forward[(0, 2)])
    assert not torch.equal(make(seed=1)[0]["image"], forward[(0, 0)])
    size = (32, 32) if kind == "file" else (28, 28)
    assert all(image.shape == (3, *size) for image in forward.values())


def test_augmentation_follows_the_sample_not_its_place() -> None:
    dataset = array_dataset()
    preprocess = Preprocess((28, 28))
    fewer = dataset.with_table(dataset.table.iloc[3:])
    images = [
        SampleDataset(d, "train", preprocess, augment=Augment(POLICIES["skin"], preprocess))[i]["image"]
        for d, i in ((dataset, 2), (fewer, 1))
    ]
    assert torch.equal(*images)


def test_evaluation_does_not_depend_on_the_epoch() -> None:
    samples = SampleDataset(file_dataset(), "test", Preprocess((16, 16)))
    assert torch.equal(samples[(0, 1)]["image"], samples[(9, 1)]["image"])


def test_fitting_does_not_depend_on_threads() -> None:
    """Workers have one thread, the main process several."""
    samples = SampleDataset(file_dataset(), "train", Preprocess((37, 41), dtype="float32"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = [samples[i]["image"] for i in range(4)]
        torch.set_num_threads(4)
        four = [samples[i]["image"] for i in range(4)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, four, strict=True))


def test_collate_stacks_and_lists() -> None:
    samples = SampleDataset(array_dataset(), "train", Preprocess((28, 28)))
    batch = collate(samples.__getitems__([(0, 2), (0, 0)]))
    assert batch["image"].shape == (2, 3, 28, 28)
    assert batch["image"].dtype == torch.uint8
    assert batch["index"].tolist() == [2, 0]
    assert batch["index"].dtype == torch.int64
    assert batch["sample_id"] == ["case006/image", "case000/image"]
    assert batch["text"] == ["caption 6", "caption 0"]
    np.testing.assert_array_equal(batch["target"], samples.targets[[2, 0]])  # type: ignore[index]
    assert batch["target"].isnan().tolist() == [[False, False], [False, True]]


def test_collate_names_images_that_differ() -> None:
    samples = SampleDataset(array_dataset(), "train", Preprocess((28, 28))).__getitems__([0, 1])
    samples[1]["image"] = samples[1]["image"][:, :20]
    with pytest.raises(ImageError, match=r"'case000/image' is .* \[3, 28, 28\], 'case003/image' is .* \[3, 20, 28\]"):
        collate(samples)


def test_wrong_images_are_named_in_one_line() -> None:
    paths = [f"{i}.png" for i in range(12)]
    paths[0], paths[3], paths[6] = "/data/broken.png", "/data/gone.png", "/data/flat.png"
    channels = np.where(np.arange(12) == 9, 5, 3)
    samples = SampleDataset(file_dataset(path=paths, channels=channels), "train", Preprocess((16, 16)))
    for index, message in enumerate(
        (
            "/data/broken.png: not an image",
            "case003/image.*/data/gone.png",
            r"case006/image.*\[46, 54\]",
            "case009/image",
        )
    ):
        with pytest.raises(ImageError, match=message) as caught:
            samples[index]
        assert "\n" not in str(caught.value)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="train"):
        SampleDataset(array_dataset(), "trian", Preprocess((28, 28)))
    with pytest.raises(ConfigError, match="volumes of shape"):
        SampleDataset(array_dataset((1, 5, 12, 14)), "train", Preprocess((28, 28)))
    samples = SampleDataset(array_dataset(), "train", Preprocess((28, 28)))
    for index in (-1, 4):
        with pytest.raises(IndexError):
            samples[index]
