"""Prepared images: the same tensors as from files, whole or not at all, resumable, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.packed import images as packed
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file

SHAPE = ["model.backbone=test_resnet", "model.preprocess.size=[24,20]", "model.preprocess.mode=pad"]
RUN = ["trainer.epochs=1", "trainer.trackers=[]", "trainer.batch_size=8", "evaluation.replicates=10"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image,patient,y"]
    for number in range(20):
        size = (30 + number, 44 - number, 3)
        Image.fromarray(rng.integers(0, 200, size, dtype=np.uint8) + 50 * (number % 2)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number // 2},{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def prepare(folder: Path, *options: str) -> int:
    data = ["data=table", f"data.file={folder / 't.csv'}", "data.target=y"]
    return main(["prepare", *data, "size=[24,20]", "mode=pad", f"output={folder / 'packed'}", *options])


def datasets(folder: Path):
    common = {"file": folder / "t.csv", "target": "y", "group": "patient"}
    return load_dataset("table", **common), load_dataset("table", packed=str(folder / "packed"), **common)


def test_training_sees_the_tensors_it_sees_from_files(folder: Path) -> None:
    assert prepare(folder) == 0
    files, ready = datasets(folder)
    preprocess = Preprocess(size=(24, 20), mode="pad", channels=3, dtype="uint8", mean=(0.5,) * 3, std=(0.5,) * 3)
    for split in ("train", "val", "test"):
        ours, theirs = SampleDataset(ready, split, preprocess), SampleDataset(files, split, preprocess)
        assert ours.native
        for index in range(len(theirs)):
            assert torch.equal(ours[index]["image"], theirs[index]["image"])
            assert ours[index]["sample_id"] == theirs[index]["sample_id"]


def test_augmented_training_equals_that_from_files_of_the_prepared_size(folder: Path) -> None:
    assert prepare(folder) == 0
    _, ready = datasets(folder)
    small = folder / "small"
    small.mkdir()
    for name in ready.table["sample_id"]:
        row = ready.table.set_index("sample_id").loc[name]
        Image.fromarray(np.moveaxis(ready.reader.read(row["packed_position"]), 0, -1)).save(small / name)
    (small / "t.csv").write_text((folder / "t.csv").read_text())
    files = load_dataset("table", file=small / "t.csv", target="y", group="patient")
    preprocess = Preprocess(size=(24, 20), mode="pad", channels=3, dtype="uint8", mean=(0.5,) * 3, std=(0.5,) * 3)
    augment = Augment(augment_policy("skin", "skin"), preprocess)
    pairs = [SampleDataset(d, "train", preprocess, augment=augment, seed=3) for d in (ready, files)]
    for index in range(len(pairs[0])):
        assert torch.equal(pairs[0][(2, index)]["image"], pairs[1][(2, index)]["image"])


def test_a_run_on_prepared_images_gives_the_same_weights_and_needs_no_files(folder: Path) -> None:
    data = [
        "data=table",
        f"data.file={folder / 't.csv'}",
        "data.target=y",
        "data.group=patient",
        "data.test_fraction=0.4",
        "trainer.augment=none",
    ]
    assert main(["train", *data, *SHAPE, *RUN, f"run={folder / 'a'}"]) == 0
    assert prepare(folder) == 0
    for path in folder.glob("*.png"):
        path.unlink()
    assert main(["train", *data, *SHAPE, *RUN, f"data.packed={folder / 'packed'}", f"run={folder / 'b'}"]) == 0
    weights = [tensors_from_file(find_checkpoint(folder / name, "last") / "model.safetensors") for name in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_killed_preparation_goes_on_and_a_damaged_shard_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SHARD_BYTES", 24 * 20 * 3 * 6)
    (folder / "13.png").rename(folder / "later.png")
    (folder / "13.png").write_bytes((folder / "later.png").read_bytes()[:100])
    assert prepare(folder) == 2  # a truncated image stops it
    done = sorted(p.name for p in (folder / "packed").glob("*.npy"))
    assert done == ["images-00000.npy", "images-00001.npy"]
    before = (folder / "packed" / done[0]).stat().st_mtime_ns
    (folder / "13.png").write_bytes((folder / "later.png").read_bytes())
    damaged = folder / "packed" / done[1]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    assert prepare(folder) == 0
    assert (folder / "packed" / done[0]).stat().st_mtime_ns == before
    files, ready = datasets(folder)
    both = [d.table.set_index("sample_id") for d in (files, ready)]
    preprocess = Preprocess(size=(24, 20), mode="pad", channels=3, dtype="uint8", mean=(0.5,) * 3, std=(0.5,) * 3)
    samples = SampleDataset(files.with_table(files.table.assign(split="train")), "train", preprocess)
    for index, name in enumerate(both[0].index):
        np.testing.assert_array_equal(ready.reader.read(both[1].loc[name, "packed_position"]), samples[index]["image"])


def test_samples_of_one_image_share_it_and_views_are_kept(folder: Path) -> None:
    (folder / "t.csv").write_text("id,one,two,y\np,0.png,1.png,a\nq,1.png,,b\nr,2.png,0.png,a\ns,3.png,4.png,b\n")
    options = ["data.image=[one,two]", "data.id=id", "data.test_fraction=0"]
    assert prepare(folder, *options) == 0
    assert json.loads((folder / "packed" / "manifest.json").read_text())["images"] == 5
    common = {"file": folder / "t.csv", "target": "y", "image": ["one", "two"], "id": "id", "test_fraction": 0}
    preprocess = Preprocess(size=(24, 20), mode="pad", channels=3, dtype="uint8", mean=(0.5,) * 3, std=(0.5,) * 3)
    pair = [load_dataset("table", **common), load_dataset("table", packed=str(folder / "packed"), **common)]
    for split in ("train", "val", "test"):
        for ours, theirs in zip(*(SampleDataset(d, split, preprocess) for d in pair), strict=True):
            assert torch.equal(ours["image"], theirs["image"])
            assert torch.equal(ours["view_mask"], theirs["view_mask"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.preprocess.size=24"], "prepared with size=[24, 20], the model takes [24, 24]"),
        (["model.preprocess.mode=stretch"], "prepared with mode=pad"),
        (["model.preprocess.interpolation=nearest"], "prepared with interpolation=bilinear"),
        (["model.preprocess.channels=1"], "prepared with channels=3"),
        (["data.packed=/nowhere"], "holds no prepared images"),
    ],
)
def test_training_on_other_pixels_than_deployment_sees_is_refused(
    options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(folder) == 0
    data = ["data=table", f"data.file={folder / 't.csv'}", "data.target=y", f"data.packed={folder / 'packed'}"]
    assert main(["train", *data, *SHAPE, *RUN, *options, f"run={folder / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_mistakes_of_preparation_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(folder) == 0
    for options, message in (
        (["size=32"], "holds another preparation (preprocess differs)"),
        ([f"output={folder}"], "is not empty and holds no prepared images"),
        (["workers=0"], "workers=0"),
        ([f"data.packed={folder / 'packed'}"], "leave it null"),
    ):
        assert prepare(folder, *options) == 2
        assert message in capsys.readouterr().err
    assert main(["prepare", "data=phantom", f"output={folder / 'x'}"]) == 2
    assert "held in memory" in capsys.readouterr().err
    with (folder / "t.csv").open("a") as file:
        file.write("later.png,99,a\n")
    with pytest.raises(MedzooError, match="1 of 21 samples were not prepared"):
        datasets_packed(folder)
    kept = load_dataset("table", file=folder / "t.csv", target="y", packed=str(folder / "packed"), missing="skip")
    assert len(kept) == 20
    assert "1 samples were not prepared and are left out" in kept.info.notes


def datasets_packed(folder: Path) -> None:
    load_dataset("table", file=folder / "t.csv", target="y", packed=str(folder / "packed"))


def test_shards_of_other_images_or_another_window_are_refused(folder: Path, tmp_path: Path) -> None:
    assert prepare(folder) == 0
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.glob("*.png"):
        Image.new("RGB", (40, 40)).save(other / path.name)
    with pytest.raises(MedzooError, match="was prepared from other images than"):
        load_dataset("table", file=folder / "t.csv", root=other, target="y", packed=str(folder / "packed"))
    with pytest.raises(MedzooError, match=r"the dataset now reads .*'window': \[0\.0, 100\.0\]"):
        load_dataset("table", file=folder / "t.csv", target="y", window=[0, 100], packed=str(folder / "packed"))


def test_another_dataset_of_equal_names_and_sizes_is_refused(folder: Path, tmp_path: Path) -> None:
    assert prepare(folder) == 0
    (other := tmp_path / "other").mkdir()
    for path in folder.glob("*.png"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        (other / path.name).write_bytes(content)
    with pytest.raises(MedzooError, match="was prepared from other images than"):
        load_dataset("table", file=folder / "t.csv", root=other, target="y", packed=str(folder / "packed"))


@pytest.mark.parametrize("finished", [True, False])
def test_preparing_again_does_not_keep_what_was_made_of_other_files(
    finished: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does one that was stopped, of which some shards are there."""
    assert prepare(folder) == 0
    if not finished:
        (folder / "packed" / "index.parquet").rename(folder / "packed" / "index.parquet.unfinished")
    for number in range(0, 20, 2):
        (folder / f"{number}.png").write_bytes((folder / f"{number + 1}.png").read_bytes())
    assert prepare(folder) == 2
    assert "was prepared from other images than" in capsys.readouterr().err


def test_frames_that_are_now_others_are_refused(folder: Path) -> None:
    pages = [Image.new("L", (30, 30), 40 * page) for page in range(2)]
    for film in range(8):
        pages[0].save(folder / f"film{film}.tif", save_all=True, append_images=pages[1:])
    rows = [f"film{n // 2}.tif,{n % 2},s{n},{'ab'[n // 2 % 2]}" for n in range(16)]
    (folder / "f.csv").write_text("image,frame,id,y\n" + "\n".join(rows))
    own = {"file": folder / "f.csv", "target": "y", "id": "id", "frame_number": "frame", "split_rule": 2}
    words = [f"data.{key}={value}" for key, value in own.items()]
    assert main(["prepare", "data=table", *words, "size=[24,20]", f"output={folder / 'packed'}"]) == 0
    load_dataset("table", packed=str(folder / "packed"), **own)
    (folder / "f.csv").write_text((folder / "f.csv").read_text().replace(",0,s0", ",1,s0").replace(",1,s1", ",0,s1"))
    with pytest.raises(MedzooError, match="was prepared with frame 0 of its file for sample 's0', which is now another"):
        load_dataset("table", packed=str(folder / "packed"), **own)


def test_evaluation_refuses_other_pixels_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["data=table", f"data.file={folder / 't.csv'}", "data.target=y", "data.group=patient", "data.test_fraction=0.4"]
    assert main(["train", *data, *SHAPE, *RUN, f"run={folder / 'a'}"]) == 0
    assert prepare(folder, "size=16") == 0
    capsys.readouterr()
    assert main(["evaluate", f"run={folder / 'a'}", f"+data.packed={folder / 'packed'}"]) == 2
    assert "prepared with size=[16, 16], the model takes [24, 20]" in capsys.readouterr().err
