"""Images of other than one and three channels in a user's own table, folder or shards: read, refused, augmented and prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.data.dataset import Dataset, data_card
from medzoo.data.errors import ConfigError, DatasetError, ImageError, UnknownNameError
from medzoo.data.images.bags import BagReader
from medzoo.data.registry import load_dataset
from medzoo.data.samples.corruptions.reader import corrupted
from medzoo.data.samples.packed.images import open_packed, write_packed
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.samples.shards.write import write_webdataset
from medzoo.settings.schema import ModelConfig, PreprocessConfig
from medzoo.tasks.setup.preprocess import choose_preprocess

tifffile = pytest.importorskip("tifffile")

NAMES = ("t1", "t2", "flair", "adc")
FOUR = Preprocess((12, 12), channels=4, mean=(0.5,) * 4, std=(0.5,) * 4)


def plane(number: int, channel: int) -> np.ndarray:
    return np.random.default_rng([number, channel]).integers(0, 256, (9, 11), dtype=np.uint8)


def write(root: Path, files: int = 8) -> None:
    """`0.tif` of four planes, ..., and its planes as `t1-0.png`, ...; the third case has no FLAIR."""
    whole, parts = ["image,y,split"], [",".join([*NAMES, "y", "split"])]
    for number in range(files):
        planes = np.stack([plane(number, channel) for channel in range(4)])
        tifffile.imwrite(root / f"{number}.tif", planes, photometric="minisblack")
        for channel, name in enumerate(NAMES):
            Image.fromarray(planes[channel]).save(root / f"{name}-{number}.png")
        end = f"{'ab'[number % 2]},{'test' if number % 4 > 1 else 'train'}"
        whole.append(f"{number}.tif,{end}")
        parts.append(",".join(["" if (number, name) == (2, "flair") else f"{name}-{number}.png" for name in NAMES]) + f",{end}")
    (root / "whole.csv").write_text("\n".join(whole) + "\n")
    (root / "parts.csv").write_text("\n".join(parts) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    write(folder)
    return folder


def whole(root: Path, **options: Any) -> Dataset:
    return load_dataset("table", file=root / "whole.csv", target="y", **{"channels": 4, **options})


def parts(root: Path, **options: Any) -> Dataset:
    given = {"channel_columns": list(NAMES), "missing_channels": "zeros", **options}
    return load_dataset("table", file=root / "parts.csv", target="y", **given)


def pixels(dataset: Dataset, row: int) -> np.ndarray:
    return dataset.reader.read(*(dataset.table[column][row] for column in dataset.reader.columns))


def test_the_planes_of_a_file_and_files_that_are_channels_are_one_image(root: Path) -> None:
    one, other = whole(root), parts(root)
    for row in range(len(one)):
        wanted = np.stack([plane(row, channel) for channel in range(4)])
        np.testing.assert_array_equal(pixels(one, row), wanted)
        if row == 2:
            wanted[2] = 0
        np.testing.assert_array_equal(pixels(other, row), wanted)
    assert data_card(one)["frames"] == "channels"
    assert data_card(other)["stack"] == {"names": list(NAMES), "missing": "zeros"}
    assert not {"frames", "stack"} & data_card(load_dataset("phantom", patients=8, size=16)).keys()
    assert any("1 of 8 samples lack a channel: it is filled with zeros" in note for note in other.info.notes)


def test_a_missing_channel_or_another_shape_is_one_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"parts\.csv line 4.*flair.*data\.missing_channels=zeros fills it with zeros"):
        parts(root, missing_channels="error")
    write(tmp_path, 4)
    Image.fromarray(plane(1, 1)[:5]).save(tmp_path / "t2-1.png")
    with pytest.raises(ImageError, match=r"t1-1\.png: channel 't2' has 5 x 11 pixels, channel 't1' has 9 x 11"):
        pixels(parts(tmp_path), 1)
    (tmp_path / "adc-3.png").unlink()
    text = (tmp_path / "parts.csv").read_text().replace("t2-2.png,,", "t2-2.png,flair-2.png,")
    (tmp_path / "parts.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"adc-3\.png"):
        parts(tmp_path)
    left = parts(tmp_path, missing="skip", missing_channels="error")
    assert len(left) == 3
    assert any("1 of 4 samples lack the file of a channel and are left out" in note for note in left.info.notes)
    assert len(parts(tmp_path, missing="skip")) == 4


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"channels": 0}, ConfigError, "channels=0 is no number of channels"),
        ({"channels": 4, "frames": "volume"}, ConfigError, "are the planes of a file: leave data.frames=volume out"),
        ({"channels": 1, "frames": "channels"}, ConfigError, "say how many, data.channels="),
        ({"channel_columns": ["image"]}, ConfigError, "are not two or more columns"),
        ({"channel_columns": ["t1", "t2"], "channels": 4}, ConfigError, "data.channel_columns are 2: leave data.channels out"),
        ({"channel_columns": ["t1", "t2"], "image": "x", "channels": 3}, ConfigError, "data.image does not go with"),
        ({"channel_columns": ["t1", "t2"], "bag": "x", "channels": 3}, ConfigError, "data.bag does not go with"),
        ({"channel_columns": ["t1", "t2"], "frames": "members", "channels": 3}, ConfigError, "leave data.frames=members out"),
        ({"missing_channels": "zeros"}, ConfigError, "is of data.channel_columns, which is not given"),
        ({"channel_columns": ["t1", "t2"], "missing_channels": "black"}, UnknownNameError, "black"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    root: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        whole(root, **options)


def test_three_planes_may_be_said_to_be_channels(tmp_path: Path) -> None:
    planes = np.stack([plane(0, channel) for channel in range(3)])
    for name in ("0.tif", "1.tif"):
        tifffile.imwrite(tmp_path / name, planes, photometric="minisblack")
    (tmp_path / "t.csv").write_text("image,y,split\n0.tif,a,train\n1.tif,b,val\n")
    dataset = load_dataset("table", file=tmp_path / "t.csv", target="y", frames="channels")
    np.testing.assert_array_equal(pixels(dataset, 0), planes)
    with pytest.raises(ConfigError, match=r"model\.preprocess\.channels=1, and table/t has 3"):
        choose_preprocess(ModelConfig(backbone="resnet18", preprocess=PreprocessConfig(channels=1)), dataset)


def test_a_model_takes_as_many_channels_as_there_are(root: Path) -> None:
    dataset = whole(root)
    chosen = choose_preprocess(ModelConfig(backbone="resnet18", preprocess=PreprocessConfig(size=12)), dataset)
    assert (chosen.channels, chosen.mean, chosen.std) == (4, (0.5,) * 4, (0.5,) * 4)
    asked = PreprocessConfig(size=12, mean=[0.1, 0.2, 0.3, 0.4], std=[0.25])
    own = choose_preprocess(ModelConfig(backbone="resnet18", preprocess=asked), dataset)
    assert (own.mean, own.std) == ((0.1, 0.2, 0.3, 0.4), (0.25,) * 4)
    published = choose_preprocess(ModelConfig(backbone="resnet18.a1_in1k", pretrained=True), dataset)
    np.testing.assert_allclose(published.mean, [np.mean([0.485, 0.456, 0.406])] * 4)
    with pytest.raises(ConfigError, match="whole has images of 4 channels and the model takes 3"):
        SampleDataset(dataset, "train", Preprocess((12, 12)))
    with pytest.raises(ConfigError, match="images of 3 channels and the model takes 4"):
        SampleDataset(whole(root, channels=3), "train", FOUR)


def test_a_folder_of_planes_finds_its_arrays(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", np.stack([plane(number, channel) for channel in range(5)]))
    dataset = load_dataset("folder", root=tmp_path, channels=5)
    assert sorted(dataset.table["path"]) == ["a/0.npy", "b/0.npy"]
    assert dataset.reader.read("b/0.npy").shape == (5, 9, 11)


@pytest.mark.parametrize("make", [whole, parts])
def test_prepared_images_and_shards_are_those_of_the_files(root: Path, tmp_path: Path, make: Any) -> None:
    dataset = make(root)
    write_packed(dataset, FOUR, tmp_path / "packed")
    ready = open_packed(tmp_path / "packed", dataset)
    for key in ("frames", "stack", "channels"):
        assert data_card(ready).get(key) == data_card(dataset).get(key)
    write_webdataset(dataset, tmp_path / "shards", shard_size=4)
    read = load_dataset("shards", root=str(tmp_path / "shards"))
    for split in ("train", "test"):
        ours, theirs, third = (SampleDataset(d, split, FOUR) for d in (dataset, ready, read))
        for index in range(len(ours)):
            assert torch.equal(ours[index]["image"], theirs[index]["image"])
            assert torch.equal(ours[index]["image"], third[index]["image"])
    other = parts(root, channel_columns=[*NAMES[1:], NAMES[0]])
    with pytest.raises(DatasetError, match="was prepared with"):
        open_packed(tmp_path / "packed", other)


@pytest.mark.parametrize("name", ["gaussian_noise", "brightness_down", "motion_blur", "contrast_up", "jpeg", "pixelate", "hair"])
def test_corruptions_change_every_plane(root: Path, name: str) -> None:
    for dataset in (whole(root), parts(root)):
        changed = corrupted(dataset, name, 5, 0)
        row = changed.table.iloc[0]
        found, clean = changed.reader.read(*(row[c] for c in changed.reader.columns)), pixels(dataset, 0)
        assert found.shape == clean.shape
        assert all((found[channel] != clean[channel]).any() for channel in range(4))


def test_members_of_a_bag_may_have_planes(root: Path) -> None:
    table = (root / "whole.csv").read_text().replace("image,", "image,b,").splitlines()
    lines = [table[0], *(line.replace(",", f",b{place // 4},", 1) for place, line in enumerate(table[1:]))]
    lines = [
        line.rsplit(",", 2)[0] + f",{'ab'[place // 4]},train" if place >= 0 else line for place, line in enumerate(lines, -1)
    ]
    (root / "bags.csv").write_text("\n".join(lines) + "\n")
    dataset = load_dataset("table", file=root / "bags.csv", target="y", channels=4, bag="b")
    assert isinstance(dataset.reader, BagReader)
    assert SampleDataset(dataset, "train", FOUR)[0]["image"].shape == (4, 4, 12, 12)
