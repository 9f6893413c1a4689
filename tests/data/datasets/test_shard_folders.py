"""Shards in folders: which are meant, which splits they are, and what they and their samples are called."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from medzoo.data import load_dataset
from medzoo.data.datasets.shards.urls import find_shards
from medzoo.data.errors import DatasetError
from tests.data.datasets.shard_files import picture, write

Options = dict[str, Any]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Shards of one name, with keys of one name, in a folder of each split."""
    for split, count in (("train", 6), ("test", 4)):
        write(
            tmp_path / split / "000.tar",
            [{"__key__": str(n), "png": picture(n + 10 * count), "cls": n % 2} for n in range(count)],
        )
    return tmp_path


BOTH = "{train,test}/000.tar"


@pytest.mark.parametrize("below", [True, False])
def test_folders_of_shards_are_splits(folders: Path, below: bool) -> None:
    where: Options = {"root": str(folders), "urls": BOTH} if below else {"urls": f"{folders}/{BOTH}"}
    with pytest.raises(
        DatasetError, match=r"^train/000\.tar: sample '0' and test/000\.tar: sample '0' are both called '0'.*by_shard"
    ):
        load_dataset("shards", target=".cls", **where)
    dataset = load_dataset("shards", target=".cls", by_shard=True, **where)
    assert dataset.table["split"].eq("test").tolist() == [False] * 6 + [True] * 4
    assert dataset.table["sample_id"].tolist()[::6] == ["train/000/0", "test/000/0"]
    assert dataset.info.title == folders.name
    found = load_dataset("shards", by_shard=True, split_pattern="(train|test)/", **where).table
    assert found["split"].tolist() == dataset.table["split"].tolist()


def test_a_folder_and_a_name_that_say_two_splits_are_refused(tmp_path: Path) -> None:
    for split, name in (("Training Set", "val-0"), ("test", "0")):
        write(tmp_path / split / f"{name}.tar", [{"__key__": f"{split[:2]}{n}", "png": picture(n)} for n in range(3)])
    options: Options = {"root": str(tmp_path), "urls": "*/*.tar", "allow_shared_groups": True}
    with pytest.raises(DatasetError, match=r"^Training Set/val-0\.tar: its path says train and val; give data\.split_pattern"):
        load_dataset("shards", **options)
    found = load_dataset("shards", split_pattern="(Train|test).*/", **options).table
    assert found["split"].eq("test").tolist() == [False] * 3 + [True] * 3


def test_a_star_stands_for_a_folder_too(folders: Path) -> None:
    both = [folders / "test" / "000.tar", folders / "train" / "000.tar"]
    for pattern in ("*/000.tar", "t*/*.tar", "t??*/000.tar", "**/*.tar", f"{folders}/*/000.tar"):
        assert find_shards(pattern, folders, False, {}) == both
    assert find_shards(f"{folders}/*/000.tar", None, False, {}) == both
    with pytest.raises(DatasetError, match=r"no shard is named .*/v\*/000\.tar"):
        find_shards("v*/000.tar", folders, False, {})
    odd = folders / "a[1]*"
    assert find_shards("*.tar", write(odd / "0.tar", [{"__key__": "k", "png": picture(0)}]).parent, False, {}) == [odd / "0.tar"]


def test_checksums_of_one_name_are_told_apart_by_their_folders(folders: Path) -> None:
    lines = {name: hashlib.sha256((folders / name).read_bytes()).hexdigest() for name in ("train/000.tar", "test/000.tar")}
    for before, after in (("./", ""), ("set/", "none in such a folder")):
        (folders / "SHA256SUMS").write_text("".join(f"{digest}  {before}{name}\n" for name, digest in lines.items()))
        options: Options = {"root": str(folders), "urls": BOTH, "by_shard": True, "checksums": "SHA256SUMS"}
        if not after:
            assert len(load_dataset("shards", **options)) == 10
            continue
        with pytest.raises(DatasetError, match=rf"train/000\.tar: data\.checksums has several 000\.tar, {after}"):
            load_dataset("shards", **options)


def test_cards_of_several_folders_say_the_same_or_are_refused(folders: Path) -> None:
    def say(folder: str, **options: Any) -> None:
        (folders / folder / "shards.json").write_text(json.dumps({"format": 1, "options": options, "shards": ["000.tar"]}))

    say("test", target=".cls", names=["no", "yes"])  # of the second folder alone
    options: Options = {"root": str(folders), "urls": BOTH, "by_shard": True}
    assert load_dataset("shards", **options).labels.names == ("no", "yes")  # type: ignore[union-attr]
    say("train", target=".cls", names=["yes", "no"])
    with pytest.raises(
        DatasetError, match=r"test/shards\.json says names=\['no', 'yes'\] and .*train/shards\.json \['yes', 'no'\]"
    ):
        load_dataset("shards", **options)
    own = load_dataset("shards", **options, card=None, target=".cls", names=["no", "yes"])
    assert own.labels.names == ("no", "yes")  # type: ignore[union-attr]
    say("train", target=".cls", names=["no", "yes"])
    assert load_dataset("shards", **options).labels.names == ("no", "yes")  # type: ignore[union-attr]
