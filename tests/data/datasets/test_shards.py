"""Shards of WebDataset's own writer read as they are, and one line for whatever is not as it must be."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data import load_dataset
from medzoo.data.audit.audit import audit
from medzoo.data.datasets.shards import urls
from medzoo.data.datasets.shards.urls import expand, find_shards, read_checksums
from medzoo.data.errors import ConfigError, DatasetError, ImageError, MedzooError
from medzoo.data.info import RemoteFile
from medzoo.data.samples import text_column
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from tests.data.datasets.shard_files import SPLITS, picture, sample, write, write_splits

Options = dict[str, Any]
GRAY = Preprocess(size=(14, 12), channels=1, mean=(0.5,), std=(0.5,))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("shards"))


def test_shards_of_the_package_read_as_they_were_written(root: Path) -> None:
    dataset = load_dataset(
        "shards", root=str(root), target="label", group="patient", caption=".txt", concepts=["mass"], subgroups=["sex"],
        inputs=["size"], channels=1,
    )  # fmt: skip
    table = dataset.table.set_index("sample_id")
    assert table["split"].value_counts().to_dict() == SPLITS
    assert dataset.labels is not None
    assert dataset.labels.names == ("benign", "malignant")
    for split, count in SPLITS.items():
        for number in range(count):
            row, wanted = table.loc[f"{split}/s{number:03d}"], sample(split, number)
            fields = wanted["json"]
            label = fields["label"]
            assert (row["split"], row["group"], row["sex"], row["caption"]) == (
                split,
                fields["patient"],
                fields["sex"],
                wanted["txt"],
            )
            assert np.isnan(row["target"]) if label is None else dataset.labels.names[int(row["target"])] == label
            assert row["concept.mass"] == fields["mass"]
            assert np.isnan(row["input.size"]) if fields["size"] is None else row["input.size"] == fields["size"]
            shown = np.asarray(Image.open(io.BytesIO(wanted["png"])))
            np.testing.assert_array_equal(dataset.reader.read(row["position"])[0], shown)
    assert audit(dataset, images=None)["images"]["unreadable"] == 0


@pytest.mark.parametrize(
    ("options", "kind", "names"),
    [
        ({"target": ".cls", "names": ["a", "b"]}, "multiclass", ("a", "b")),
        ({"target": ["mass"], "kind": "multilabel"}, "multilabel", ("mass",)),
        ({"target": "findings", "separator": "[]", "names": ["mass", "nodule"]}, "multilabel", ("mass", "nodule")),
        ({"target": "size", "kind": "regression", "units": ["mm"]}, "regression", ("size",)),
        ({"target": ".cls", "kind": "ordinal"}, "ordinal", ("0", "1")),
    ],
)
def test_targets_are_read_as_those_of_a_table(root: Path, options: Options, kind: str, names: tuple[str, ...]) -> None:
    dataset = load_dataset("shards", root=str(root), **options)
    assert dataset.labels is not None
    assert (dataset.labels.kind, dataset.labels.names) == (kind, names)


def test_names_with_braces_are_expanded() -> None:
    assert list(expand("a-{008..011}.tar")) == ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]
    assert list(expand("{train,val}-{0..1}.tar")) == ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]
    for wrong in ("{3..1}", "{a}", "a{", "{0..900000}"):
        with pytest.raises(ConfigError, match=r"^data\.urls="):
            list(expand(wrong))


def test_which_shards_are_meant(root: Path) -> None:
    names = {
        pattern: [path.name for path in find_shards(pattern, root, False, {})] for pattern in ("t*-000.tar", "val-{000..001}.tar")
    }
    assert names == {"t*-000.tar": ["test-000.tar", "train-000.tar"], "val-{000..001}.tar": ["val-000.tar", "val-001.tar"]}
    both = find_shards(f"{root}/val-000.tar::file:{root}/val-001.tar", None, False, {})
    assert both == find_shards(["val-000.tar", "val-001.tar"], root, False, {})


WRONG: list[tuple[Options, str]] = [
    ({"urls": "pipe:cat train-000.tar"}, "commands are not run"),
    ({"urls": "PIPE:touch pwned"}, "commands are not run"),
    ({"urls": "s3://bucket/a.tar"}, "s3: is none of https, hf and files"),
    ({"urls": "http://host/a.tar"}, "http: is none of https"),
    ({"urls": "https://example.org/a.tar"}, "fetch it with data.download=true"),
    ({"urls": "https://example.org/a.tar", "download": True}, "no checksum of a.tar is known"),
    ({"urls": "hf://datasets/owner"}, "no file of a dataset on the hub"),
    ({"urls": ["train-000.tar", "train-000.tar"]}, "names .*train-000.tar twice"),
    ({"urls": []}, "names no shard"),
    ({"urls": "none-*.tar"}, "no shard is named"),
    ({"urls": "none.tar"}, "there is no such shard"),
    ({"target": "lable"}, "no column 'lable'; the nearest is 'label'"),
    ({"target": ".clss"}, "no column '.clss'; the nearest is '.cls'"),
    ({"target": "label", "names": ["benign"]}, r"train-000.tar: sample 'train/s001': unknown class 'malignant'|at least two"),
    ({"target": "size", "names": ["a", "b"]}, r"test-000.tar: sample 'test/s001': unknown class '0.25'"),
    ({"group": "size"}, r"test-000.tar: sample 'test/s000': 'size' is empty"),
    ({"caption": ".md"}, "no column '.md'"),
    ({"image": "jpg"}, "no sample has members .jpg; its members are .cls, .json, .png, .txt"),
    ({"split": "label"}, "not train, val or test"),
    ({"split_pattern": r"-(\d+)"}, "finds '000', not train, val or test"),
    ({"by_shard": True, "id": "patient"}, "give one of the two"),
    ({"id": "patient"}, "are both called 'test-0'"),
    ({"soft": True}, "name their fields in data.target"),
    ({"checksums": {"train-000.tar": "abc"}}, "no SHA-256"),
    ({"checksums": {"test-000.tar": "0" * 64}}, "its SHA-256 is"),
    ({"split_rule": 1}, "rule 2 alone"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_is_wrong_is_one_line(root: Path, options: Options, message: str) -> None:
    with pytest.raises(MedzooError, match=message) as caught:
        load_dataset("shards", root=str(root), **options)
    assert "\n" not in str(caught.value)


def one(tmp_path: Path, *samples: Options, name: str = "train-0.tar") -> Path:
    return write(tmp_path / name, [{"__key__": f"k{place}", **content} for place, content in enumerate(samples)])


def test_samples_that_are_wrong_are_named(tmp_path: Path) -> None:
    png = picture(0)
    cases: list[tuple[list[Options], Options, str]] = [
        ([{"png": png, "json": b"{"}], {"target": "y"}, "train-0.tar: sample 'k0': its .json is not JSON"),
        ([{"png": png, "json": b"[1]"}], {"target": "y"}, "its .json is not a JSON object"),
        ([{"png": png, "json": b'{"y": {"a": 1}}'}], {"target": "y"}, "field 'y' is an object"),
        ([{"png": png}, {"txt": "no image"}], {}, "sample 'k1' has no image (1 such samples)"),
        ([{"left.png": png, "right.png": png}], {}, "has several images (.left.png, .right.png); name the one"),
    ]
    for samples, options, message in cases:
        path = one(tmp_path, *samples)
        with pytest.raises(DatasetError) as caught:
            load_dataset("shards", urls=str(path), **options)
        assert message in str(caught.value)
    assert len(load_dataset("shards", urls=str(one(tmp_path, {"png": png}, {"png": png}, {"txt": "x"})), missing="skip")) == 2


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = one(tmp_path, {"png": b"no image"}, {"png": picture(1)[:45]}, {"npy": np.zeros((1, 4, 4))})
    dataset = load_dataset("shards", urls=str(path), allow_shared_groups=True)
    for row, message in ((0, r"k0\.png: not a"), (1, r"k1\.png: "), (2, r"k2\.npy: holds float64")):
        with pytest.raises(ImageError, match=rf"train-0\.tar: {message}"):
            dataset.reader.read(row)


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark, array = tmp_path / "unpickled", io.BytesIO()
    evil = pickle.dumps(Payload(mark))
    np.save(array, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    path = one(
        tmp_path, *({"png": picture(n), "pyd": evil, "pth": evil, "pickle": evil} for n in range(3)), {"npy": array.getvalue()}
    )
    dataset = load_dataset("shards", urls=str(path), allow_shared_groups=True)
    dataset.reader.read(0)
    with pytest.raises(ImageError, match=r"k3\.npy: is no array of numbers"):
        dataset.reader.read(3)
    for ending in ("pyd", "pth", "pickle"):
        named = load_dataset("shards", urls=str(path), image=ending, missing="ignore", allow_shared_groups=True)
        with pytest.raises(ImageError, match=rf"k0\.{ending}: not a"):
            named.reader.read(0)
    assert not mark.exists()
    pickle.loads(evil)
    assert mark.exists()  # had anybody read it


def test_splits_follow_names_fields_or_groups(tmp_path: Path) -> None:
    def make(split: str, number: int) -> Options:
        return {**sample(split, number), "json": {"part": "dev" if number % 3 else "train", "patient": f"{split}{number // 2}"}}

    root = write_splits(tmp_path / "named", make)
    assert set(load_dataset("shards", root=str(root), split="part").table["split"]) == {"train", "val"}
    anew = load_dataset("shards", root=str(root), anew=True, group="patient").table
    assert (anew.groupby("group")["split"].nunique() == 1).all()
    assert (anew["split"].value_counts() > 0).sum() == 3
    only = load_dataset("shards", root=str(root), split_pattern=r"^(\w+)-").table
    assert only["split"].value_counts().to_dict() == SPLITS
    write(root / "other-000.tar", [make("o", 0)])
    with pytest.raises(DatasetError, match=r"other-000\.tar: its name says no split, and others do"):
        load_dataset("shards", root=str(root))


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    def make(split: str, number: int) -> Options:
        return {**sample(split, number), "json": {"patient": f"p{number}"}}

    with pytest.raises(DatasetError, match=r"8 patient groups stand in several splits.*data\.anew=true"):
        load_dataset("shards", root=str(write_splits(tmp_path, make)), group="patient")


def test_keys_that_repeat_take_the_shard_before_them(tmp_path: Path) -> None:
    root = write_splits(tmp_path, lambda split, number: {**sample(split, number), "__key__": f"{number:05d}"})
    with pytest.raises(DatasetError, match="are both called '00000'"):
        load_dataset("shards", root=str(root))
    table = load_dataset("shards", root=str(root), by_shard=True).table
    assert table["sample_id"].is_unique
    assert "train-001/00008" in set(table["sample_id"])


def test_checksums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'A' * 64}  a.tar\n\n{'0' * 64} *dir/b.tar\n")
    assert read_checksums("SHA256SUMS", tmp_path) == {"a.tar": "a" * 64, "b.tar": "0" * 64}
    (tmp_path / "SHA256SUMS").write_text("abc a.tar\n")
    with pytest.raises(DatasetError, match="SHA256SUMS line 1: no SHA-256"):
        read_checksums("SHA256SUMS", tmp_path)


@pytest.mark.parametrize(("world", "workers"), [(1, 2), (2, 0), (3, 2)])
def test_every_sample_comes_once_an_epoch_over_ranks_and_workers(root: Path, world: int, workers: int) -> None:
    train = SampleDataset(load_dataset("shards", root=str(root), channels=1), "train", GRAY)
    epochs = []
    for epoch in range(2):
        seen = []
        for rank in range(world):
            batches = EpochBatches(len(train), 6, seed=3, shuffle=True, rank=rank, world=world)
            loader = make_loader(train, batches, workers=workers, pin_memory=False)
            batches.set_epoch(epoch)
            whole = [batch["sample_id"] for batch in loader]
            batches.set_epoch(epoch, start_batch=1)
            assert [batch["sample_id"] for batch in loader] == whole[1:]  # where a killed training goes on
            seen += [name for batch in whole for name in batch]
        assert sorted(seen) == [f"train/s{number:03d}" for number in range(SPLITS["train"])]
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_texts_of_large_sets_stay_on_disk_and_are_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = SampleDataset(load_dataset("shards", root=str(root), channels=1, caption=".txt"), "train", GRAY, seed=5)
    monkeypatch.setattr(text_column, "HELD", 4)
    before = pa.total_allocated_bytes()
    dataset = load_dataset("shards", root=str(root), channels=1, caption=".txt")
    captions = dataset.table["caption"]
    packed = SampleDataset(dataset, "train", GRAY, seed=5)
    assert packed._captions is not None
    assert packed._captions._held is None
    assert packed._ids._held is None
    # Of the texts nothing was copied: Arrow has taken less memory than the captions alone have.
    assert pa.total_allocated_bytes() - before < captions.str.len().sum() + 8 * len(captions)
    keys = [(1, 3), (1, 0), (1, 15, 2)]
    for one_sample, other in zip(held.__getitems__(keys), packed.__getitems__(keys), strict=True):
        assert one_sample.keys() == other.keys()
        assert all(np.array_equal(one_sample[name], other[name]) for name in one_sample)
    assert [held.augment_seed(key) for key in keys] == [packed.augment_seed(key) for key in keys]
    assert held.fields(keys)["text"] == packed.fields(keys)["text"]
    assert held.sample_ids.tolist() == packed.sample_ids.tolist()
    assert packed.has_text


def test_captions_of_blanks_in_html_are_missing(tmp_path: Path) -> None:
    png, told = picture(0), ["&nbsp;", " \n", "&amp;nbsp; ", "\u200b", "&", "a &nbsp; b", "\u200bc"]
    dataset = load_dataset("shards", urls=str(one(tmp_path, *({"png": png, "txt": text} for text in told))), caption=".txt")
    assert [None if pd.isna(text) else text for text in dataset.table["caption"]] == [None] * 4 + told[4:]


def test_verify_says_what_shards_hold(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "data=shards", f"data.root={root}", "data.target=.cls", "data.caption=.txt"]) == 0
    assert "captions of train: 16 of 16 samples have one" in capsys.readouterr().out


def test_addresses_are_fetched_with_their_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(file: RemoteFile, root: Path) -> Path:
        fetched.append((file.url, file.checksum))
        return root / file.name

    monkeypatch.setattr(urls, "fetch_file", fetch)
    sums = {name: f"{place}" * 64 for place, name in enumerate(("a-0.tar", "a-1.tar", "c.tar"))}
    asked = ["https://example.org/a-{0..1}.tar", "hf://datasets/owner/name@v1/sub/c.tar"]
    paths = find_shards(asked, tmp_path, True, sums)
    assert [path.name for path in paths] == list(sums)
    assert fetched == [
        ("https://example.org/a-0.tar", f"sha256:{'0' * 64}"),
        ("https://example.org/a-1.tar", f"sha256:{'1' * 64}"),
        ("https://huggingface.co/datasets/owner/name/resolve/v1/sub/c.tar", f"sha256:{'2' * 64}"),
    ]
    paths[2].write_bytes(b"here already")
    assert find_shards(asked[1:], tmp_path, False, {}) == paths[2:]
