"""An audit of several modalities: every image of each is read, compared and counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.audit.between import images_learnt_from
from medzoo.data.audit.page import page
from medzoo.data.dataset import Dataset
from tests.data.datasets.own_tables import frame, load_table, write_images
from tests.data.images.makers import animation

SPLITS = [("train", "val", "test")[n // 2 % 3] for n in range(12)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Films and slides of 12 samples; the third sample has no slide."""
    write_images(tmp_path, [f"{kind}/{n:02}.png" for kind in ("film", "slide") for n in range(12)])
    table = frame(image=[f"film/{n:02}.png" for n in range(12)], split=SPLITS)
    table["slide"] = [None if n == 2 else f"slide/{n:02}.png" for n in range(12)]
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "slide" / "02.png").unlink()
    return tmp_path


def loaded(folder: Path) -> Dataset:
    return load_table(folder / "t.csv", split="split", modalities={"film": "image", "slide": "slide"})


def test_the_page_shows_what_a_sample_has(folder: Path) -> None:
    table = pd.read_csv(folder / "t.csv")
    table.loc[0, "image"] = None
    table.to_csv(folder / "t.csv", index=False)
    dataset = loaded(folder)
    assert "no image" not in page(dataset, audit(dataset))


def test_a_damaged_image_of_any_modality_is_found(folder: Path) -> None:
    cut = folder / "slide" / "05.png"
    cut.write_bytes(cut.read_bytes()[:60])
    images = audit(loaded(folder))["images"]
    assert (images["distinct"], images["checked"], images["unreadable"]) == (23, 23, 1)
    assert "slide/05.png" in images["listed"][0]["error"]


def test_an_image_of_any_modality_that_stands_in_two_splits_is_found(folder: Path) -> None:
    shutil.copy(folder / "slide" / "00.png", folder / "slide" / "04.png")
    report = audit(loaded(folder))
    assert report["leakage"]["identical_listed"] == [{"splits": ["test", "train"], "sample_ids": ["film/00.png", "film/04.png"]}]
    assert report["problems"] == ["1 images stand, identical, in several splits"]
    assert not report["unnamed"]


def test_what_two_samples_share_contradicts_nothing_unless_it_is_all_they_have(folder: Path) -> None:
    shutil.copy(folder / "film" / "00.png", folder / "film" / "01.png")
    assert not audit(loaded(folder))["contradictions"]
    shutil.copy(folder / "slide" / "00.png", folder / "slide" / "01.png")
    assert audit(loaded(folder))["contradictions"]["listed"] == [["film/00.png", "film/01.png"]]


def test_frames_of_a_further_modality_are_counted_by_its_own_option(folder: Path) -> None:
    pages = [Image.new("L", (4, 4), level) for level in (10, 20, 30)]
    (folder / "stack.tif").write_bytes(animation(pages, "TIFF"))
    table = pd.read_csv(folder / "t.csv").assign(stack=["stack.tif"] + [None] * 11)
    table.to_csv(folder / "t.csv", index=False)
    stack = {"column": "stack", "channels": 1, "frames": "volume"}
    report = audit(load_table(folder / "t.csv", split="split", modalities={"film": "image", "stack": stack}))
    assert report["frames"] == {"files": 1, "least": 3, "most": 3, "total": 3, "images": 1, "option": "volume"}
    assert any("each file is one volume" in line for line in as_lines(report))


def test_a_test_on_other_data_compares_every_modality(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_images(other, [f"film/{n}.png" for n in range(36)])  # of which the first 24 are those of the folder
    shutil.copytree(folder / "slide", other / "slide")
    table = frame(6, image=[f"film/{n}.png" for n in range(30, 36)], slide=[f"slide/{n:02}.png" for n in range(6, 12)])
    table.assign(split="test").to_csv(other / "t.csv", index=False)
    found = images_learnt_from(loaded(folder), loaded(other))
    assert found["compared"] == {"learnt_from": 15, "test": 12}
    assert [one["sample_id"] for one in found["identical_listed"]] == [f"film/{n}.png" for n in range(30, 34)]


def test_samples_that_share_another_image_are_not_nearly_learnt_from(folder: Path, tmp_path: Path) -> None:
    """The slide of one sample is nearly one learnt from; its film is that of all samples."""
    other = tmp_path / "other"
    (other / "slide").mkdir(parents=True)
    write_images(other, [f"film/{n}.png" for n in range(31)])
    for number in range(6):
        level = np.random.default_rng(100 + number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(level).save(other / "slide" / f"{number}.png")
    learnt = np.asarray(Image.open(folder / "slide" / "00.png"))
    Image.fromarray(learnt // 2 * 2).save(other / "slide" / "0.png")
    table = frame(6, image=["film/30.png"] * 6, slide=[f"slide/{n}.png" for n in range(6)], row=list(range(6)))
    table.assign(split="test").to_csv(other / "t.csv", index=False)
    modalities = {"film": "image", "slide": "slide"}
    found = images_learnt_from(
        loaded(folder), load_table(other / "t.csv", split="split", id="row", modalities=modalities, group=None)
    )
    assert (found["identical"], found["near"]) == (0, 1)
    assert [(one["sample_id"], one["learnt_from"]) for one in found["near_listed"]] == [("0", "film/00.png")]
