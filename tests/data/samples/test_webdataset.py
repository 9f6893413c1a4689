"""What is written as shards reads back the same, here and by WebDataset's own reader, and is the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import webdataset
from PIL import Image

from medzoo.cli import main
from medzoo.data.dataset import Dataset, concept_matrix, input_matrix, target_matrix
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.samples.shards.write import write_webdataset

Options = dict[str, Any]


def phantom(**options: Any) -> Dataset:
    return load_dataset("phantom", **{"patients": 16, "size": 16, **options})


def check_alike(written: Dataset, read: Dataset) -> None:
    """Hold two datasets against each other, split by split, in order."""
    assert read.labels == written.labels
    assert (read.concepts, read.subgroups, read.kept) == (written.concepts, written.subgroups, written.kept)
    for split in ("train", "val", "test"):
        one, other = (dataset.rows(split).reset_index(drop=True) for dataset in (written, read))
        assert one["sample_id"].tolist() == other["sample_id"].tolist()
        assert one["group"].tolist() == other["group"].tolist()
        for column in ("caption", *written.subgroups):
            if column in one:
                pd.testing.assert_series_equal(other[column].astype(object), one[column].astype(object), check_dtype=False)
        if written.labels is not None:
            np.testing.assert_array_equal(target_matrix(other, written.labels), target_matrix(one, written.labels))
        if written.concepts is not None:
            np.testing.assert_array_equal(concept_matrix(other, written.concepts), concept_matrix(one, written.concepts))
        if written.inputs is not None:
            assert read.inputs == written.inputs
            np.testing.assert_array_equal(input_matrix(other, written.inputs), input_matrix(one, written.inputs))
        for row in range(0, len(one), 5):
            values = [one[column][row] for column in written.reader.columns]
            np.testing.assert_array_equal(read.reader.read(other["position"][row]), written.reader.read(*values))


@pytest.mark.parametrize(
    "options",
    [
        {"labels": "multilabel", "missing": 0.3}, {"labels": "ordinal", "channels": 3}, {"labels": "regression", "dims": 3},
        {"labels": "multiclass", "inputs": ["flag", "value", "category"], "missing": 0.2}, {"labels": "binary"},
    ],
)  # fmt: skip
def test_a_dataset_reads_back_as_it_was(tmp_path: Path, options: Options) -> None:
    dataset = phantom(**options)
    written = write_webdataset(dataset, tmp_path / "out", shard_size=20, workers=2)
    assert [path.name for path in written][:2] == ["train-000000.tar", "train-000001.tar"]
    check_alike(dataset, load_dataset("shards", root=str(tmp_path / "out")))


def test_soft_targets_weights_and_names_that_are_no_keys_read_back(tmp_path: Path) -> None:
    dataset = phantom(labels="binary")
    table = dataset.table.drop(columns="target").assign(sample_weight=np.arange(1, len(dataset) + 1) / 8)
    assert dataset.labels is not None
    shares = np.linspace(0, 1, len(table)).astype(np.float32)
    for name, column in zip(dataset.labels.names, (shares, 1 - shares), strict=True):
        table[f"target.{name}"] = column
    table["sample_id"] = [f"a.b/{place}é.dcm[{place}]" for place in range(len(table))]
    soft = dataset.with_table(table)
    write_webdataset(soft, tmp_path / "out", shard_size=9)
    read = load_dataset("shards", root=str(tmp_path / "out"))
    check_alike(soft, read)
    weights = read.table.set_index("sample_id")["sample_weight"]
    np.testing.assert_array_equal(weights[table["sample_id"]], table["sample_weight"])


def test_the_package_reads_what_is_written(tmp_path: Path) -> None:
    dataset = phantom(labels="binary", channels=3)
    written = write_webdataset(dataset, tmp_path / "out", shard_size=20)
    train = dataset.rows("train").reset_index(drop=True)
    files = [str(path) for path in written if path.name.startswith("train")]
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == train["sample_id"].tolist()
    assert dataset.labels is not None
    for row, sample in enumerate(samples):
        fields = sample["json"]
        assert (sample["txt"], sample["cls"], fields["group"]) == (
            train["caption"][row],
            train["target"][row],
            train["group"][row],
        )
        assert fields["target"] == dataset.labels.names[int(train["target"][row])]
        pixels = dataset.reader.read(*[train[column][row] for column in dataset.reader.columns])
        np.testing.assert_array_equal(np.moveaxis(np.asarray(sample["png"]), -1, 0), pixels)


def test_the_same_dataset_is_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        write_webdataset(phantom(), folder, shard_size=20, workers=workers)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


@pytest.fixture
def files(tmp_path: Path) -> Options:
    lines = ["image,patient,y"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (30 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
        lines.append(f"{number}.jpg,p{number},{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return {"file": str(tmp_path / "t.csv"), "target": "y", "group": "patient"}


def test_files_go_in_as_they_are_or_decoded(tmp_path: Path, files: Options) -> None:
    dataset = load_dataset("table", **files)
    for original, ending in ((True, "jpg"), (False, "png")):
        folder = tmp_path / f"out-{ending}"
        write_webdataset(dataset, folder, shard_size=5, original=original)
        read = load_dataset("shards", root=str(folder))
        check_alike(dataset, read)
        index, row = read.reader.shards.place(3)
        assert index.endings[-1] == ending or ending in index.endings
        if original:
            path = tmp_path / read.table.set_index("position")["sample_id"][3]
            assert index.read(row, ending) == path.read_bytes()


def test_images_are_fitted_where_a_size_is_given(tmp_path: Path, files: Options) -> None:
    dataset = load_dataset("table", **files)
    wanted = Preprocess(size=(20, 24), mode="pad", channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    data = [f"data.{name}={value}" for name, value in files.items()]
    told = ["format=webdataset", "size=[20,24]", "mode=pad", f"output={tmp_path / 'out'}"]
    assert main(["prepare", "data=table", *data, *told]) == 0
    read = load_dataset("shards", root=str(tmp_path / "out"))
    import torch

    for row in (0, 7):
        name = read.table["sample_id"][row]
        pixels = dataset.reader.read(dataset.table.set_index("sample_id")["path"][name])
        expected = fit(torch.from_numpy(np.ascontiguousarray(pixels))[None], wanted)[0]
        np.testing.assert_array_equal(read.reader.read(read.table["position"][row]), expected)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    dataset = phantom(patients=8)
    (tmp_path / "train-000.tar").write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match=r"holds train-000\.tar, which prepare did not write"):
        write_webdataset(dataset, tmp_path, shard_size=5)
    assert (tmp_path / "train-000.tar").read_bytes() == b"somebody's"
    first = write_webdataset(dataset, tmp_path / "out", shard_size=5)
    again = write_webdataset(dataset, tmp_path / "out", shard_size=50)
    assert len(again) < len(first)
    assert {path.name for path in (tmp_path / "out").glob("*.tar")} == {path.name for path in again}


def test_shards_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    written = write_webdataset(phantom(), tmp_path, shard_size=100)
    written[1].unlink()
    with pytest.raises(
        DatasetError, match=rf"1 of the {len(written)} shards that shards\.json names are not there, such as val-000000"
    ):
        load_dataset("shards", root=str(tmp_path))
    assert set(load_dataset("shards", root=str(tmp_path), urls=[written[0].name]).table["split"]) == {"train", "val"}


def test_a_card_that_is_wrong_is_one_line(tmp_path: Path) -> None:
    write_webdataset(phantom(patients=8), tmp_path, shard_size=50)
    card = json.loads((tmp_path / "shards.json").read_text())
    for change, message in (
        ({"options": {"root": "/etc"}}, "unknown option 'root'"), ({"format": 9}, "is of format 9"),
        ({"options": None}, "is no card"),
        ({"options": {"kind": "ordinl"}}, "did you mean 'ordinal'"),
    ):  # fmt: skip
        (tmp_path / "shards.json").write_text(json.dumps(card | change))
        with pytest.raises((ConfigError, DatasetError), match=message):
            load_dataset("shards", root=str(tmp_path))
    assert load_dataset("shards", root=str(tmp_path), card=None).labels is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["format=webdatset"], "did you mean 'webdataset'"), (["format=webdataset", "images=orginal"], "did you mean 'original'"),
        (["images=original"], "are of format=webdataset"), (["format=webdataset", "shard_size=0"], "must be at least 1"),
        (["format=webdataset", "mode=pad"], "leaves images as they are"),
        (["format=webdataset", "images=original"], "are not files of their own"),
        (["format=webdataset", "data.modalities=[image,second]"], "has several images"),
        (["format=webdataset", "data.targets=[multiclass,regression]"], "several targets (multiclass, regression)"),
        (["format=webdataset", "data.texts=[note]"], "not hold: leave data.texts out"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = ["data=phantom", "data.patients=8", "data.size=16", f"output={tmp_path / 'out'}", *options]
    assert main(["prepare", *given]) == 2
    assert message in capsys.readouterr().err


def test_what_shards_do_not_hold_is_said_and_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["data=phantom", "data.patients=8", "data.size=16", "data.visits=true", "format=webdataset", "data.labels=binary"]
    names = load_dataset("phantom", patients=8, size=16, labels="binary").labels
    assert names is not None
    tree = f"data.parents={{{', '.join(f'{name}: any' for name in names.names)}}}"
    assert main(["prepare", *given, tree, f"output={tmp_path / 'out'}"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not in the shards: ")]
    assert [line.split()[4] for line in said] == ["when", "regions,", "the"]
    assert json.loads((tmp_path / "out" / "shards.json").read_text())["notes"][-3:] == said


def test_what_is_kept_reads_back_word_by_word(tmp_path: Path) -> None:
    """Videos of `none`, `1.50` and `007` would be missing, or other names, as levels of a subgroup."""
    words = ["none", "1.50", "007", ""]
    for number in range(8):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number}.png")
    rows = [f"{n}.png,{n % 2},{words[n % 4]},{words[n % 3]},{('train', 'val')[n // 4]}" for n in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["image,y,video,eye,split", *rows]) + "\n")
    dataset = load_dataset("table", file=tmp_path / "t.csv", target="y", split="split", keep=["video", "eye"], subgroups=["eye"])
    write_webdataset(dataset, tmp_path / "out", shard_size=5)
    read = load_dataset("shards", root=tmp_path / "out")
    check_alike(dataset, read)
    assert read.table["video"].fillna("").tolist() == dataset.table["video"].fillna("").tolist() == words * 2
    assert not any("video" in note for note in read.info.notes)
