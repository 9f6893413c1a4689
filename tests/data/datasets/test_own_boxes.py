"""Boxes of one's own table: read, joined to samples, refused by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.data.dataset import Dataset
from medzoo.data.errors import DatasetError
from medzoo.data.registry import load_dataset

HEADER = "sample_id,label,x,y,width,height"


def load(folder: Path, boxes: str | None) -> Dataset:
    for number in range(6):
        Image.fromarray(np.full((10, 12), 40 * number, np.uint8)).save(folder / f"{number}.png")
    rows = [f"{n}.png,{n},p{n},{'mass' if n % 2 else 'clear'},{n % 3 % 2}" for n in range(6)]
    (folder / "t.csv").write_text("\n".join(["image,name,patient,class,halo", *rows]), encoding="utf-8")
    options: dict[str, Any] = {"id": "name", "target": "class", "group": "patient", "concepts": ["halo"], "channels": 1}
    if boxes is not None:
        (folder / "boxes.csv").write_text(boxes, encoding="utf-8")
        options["boxes"] = str(folder / "boxes.csv")
    return load_dataset("table", file=str(folder / "t.csv"), **options)


def test_boxes_of_labels_and_concepts(tmp_path: Path) -> None:
    dataset = load(tmp_path, f"{HEADER}\n1,mass,2,3,4,5\n1,mass,0,0,1,1\n3,halo,1.5,0,2,2\n")
    assert dataset.regions is not None
    assert (dataset.regions.names, dataset.regions.source) == (("mass", "halo"), "boxes.csv")
    first, second = dataset.regions.of("1", "mass", (10, 12))
    assert first[3:8, 2:6].all()
    assert (first.sum(), second.sum()) == (20, 1)
    assert np.argwhere(dataset.regions.of("3", "halo", (10, 12))[0]).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert dataset.regions.of("2", "mass", (10, 12)) == []
    assert load(tmp_path, None).regions is None


@pytest.mark.parametrize("named", [True, False])
def test_samples_and_labels_are_read_as_the_table_of_samples_is(named: bool, tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(np.full((10, 12), 40 * number, np.uint8)).save(tmp_path / f"i{number}.png")
    rows = [f"./i{n}.png,{n}.0,p{n},{n % 2}.0" for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["image,name,patient,class", *rows]), encoding="utf-8")
    cells = ["3.0", "3", "3.00"] if named else ["./i3.png", str(tmp_path / "i3.png"), "i3.png"]
    (tmp_path / "b.csv").write_text("\n".join([HEADER, *(f"{cell},1.0,2,3,4,5" for cell in cells)]), encoding="utf-8")
    options = {"file": tmp_path / "t.csv", "target": "class", "group": "patient", "id": "name" if named else None}
    dataset = load_dataset("table", **options, channels=1, boxes=tmp_path / "b.csv")
    assert dataset.regions is not None
    assert len(dataset.regions.of("3" if named else "i3.png", "1", (10, 12))) == 3
    (tmp_path / "b.csv").write_text(f"{HEADER}\n./i9.png,1,2,3,4,5\n", encoding="utf-8")
    remedy = "name samples as data.id does" if named else "name samples by the path of their image"
    with pytest.raises(DatasetError, match=rf"line 2: 'sample_id' is './i9\.png', no sample of the dataset; {remedy}"):
        load_dataset("table", **options, channels=1, boxes=tmp_path / "b.csv")


@pytest.mark.parametrize("named", [True, False])
def test_boxes_of_rows_that_are_left_out_go_with_them(named: bool, tmp_path: Path) -> None:
    for number in range(1, 8):
        Image.fromarray(np.full((10, 12), 30 * number, np.uint8)).save(tmp_path / f"{number}.png")
    rows = [f"{n}.png,{n},{'ab'[n % 2]},{('PA', 'lateral')[n == 7]}" for n in range(8)]  # 0.png is not there
    (tmp_path / "t.csv").write_text("\n".join(["image,name,class,view", *rows]), encoding="utf-8")
    samples = [str(n) if named else f"{n}.png" for n in range(8)]
    (tmp_path / "b.csv").write_text("\n".join([HEADER, *(f"{one},a,2,3,4,5" for one in samples)]), encoding="utf-8")
    options: dict[str, Any] = {"where": {"view": ["PA"]}, "missing": "skip", "id": "name" if named else None, "channels": 1}
    asked = {"file": tmp_path / "t.csv", "target": "class", "boxes": tmp_path / "b.csv", **options}
    regions = load_dataset("table", **asked).regions
    assert regions is not None
    assert sorted(regions.sample_ids) == samples[1:7]
    (tmp_path / "b.csv").write_text(f"{HEADER}\n{samples[7]},a,2,3,4,5\n9,a,2,3,4,5\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 3: 'sample_id' is '9', no sample of the dataset"):
        load_dataset("table", **asked)


@pytest.mark.parametrize(
    ("boxes", "parts"),
    [
        (f"{HEADER}\n9,mass,2,3,4,5\n", ["line 2", "'sample_id' is '9'", "no sample of the dataset"]),
        (f"{HEADER}\n1,mas,2,3,4,5\n", ["line 2", "unknown label or concept 'mas'", "did you mean 'mass'"]),
        (f"{HEADER}\n1,mass,2,3,0,5\n", ["line 2", "'width' is '0'", "no length above 0"]),
        (f"{HEADER}\n1,mass,-1,3,4,5\n", ["line 2", "'x' is '-1'", "left of the image"]),
        (f"{HEADER}\n1,mass,,3,4,5\n", ["line 2", "'x'"]),
        (f"{HEADER}\n1,mass,two,3,4,5\n", ["line 2", "'x' is 'two'"]),
        ("sample_id,label,x,y,width\n1,mass,2,3,4\n", ["'height'"]),
    ],
)
def test_bad_boxes_are_refused_by_line(boxes: str, parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load(tmp_path, boxes)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def masked(folder: Path, rows: str) -> Dataset:
    """Return the dataset with a table of masks: `own.png` marks 2 x 3 pixels, `twice.png` is of a copy of twice the size."""
    marked = np.zeros((10, 12), np.uint8)
    marked[4:6, 1:4] = 1  # not 255: a label image
    for name, pixels in (("own", marked), ("twice", np.kron(marked, np.ones((2, 2), np.uint8))), ("other", marked[:, :7])):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return load(folder, f"sample_id,label,mask\n{rows}")


def test_masks_of_labels_and_concepts(tmp_path: Path) -> None:
    dataset = masked(tmp_path, "1,mass,own.png\n1,mass,twice.png\n3,halo,own.png\n5,halo,other.png\n")
    assert dataset.regions is not None
    assert (dataset.regions.names, dataset.regions.source) == (("mass", "halo"), "boxes.csv")
    for mask in dataset.regions.of("1", "mass", (10, 12)):
        assert np.argwhere(mask).tolist() == [[y, x] for y in (4, 5) for x in (1, 2, 3)]
    assert dataset.regions.of("1", "mass", (20, 24))[0].sum() == 24
    assert dataset.regions.of("2", "mass", (10, 12)) == []
    with pytest.raises(DatasetError, match=r"other\.png has 10x7 pixels, its image 10x12: of other proportions"):
        dataset.regions.of("5", "halo", (10, 12))


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ("1,mass,gone.png\n", ["line 2", "'mask' is 'gone.png'", "no file in"]),
        ("1,mass,\n", ["line 2", "'mask'"]),
        ("9,mass,own.png\n", ["line 2", "no sample of the dataset"]),
    ],
)
def test_bad_masks_are_refused_by_line(rows: str, parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        masked(tmp_path, rows)
    for part in parts:
        assert part in str(caught.value)


def test_a_table_is_of_boxes_or_of_masks(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="both 'mask' and 'x'; a table is of boxes or of masks"):
        load(tmp_path, "sample_id,label,mask,x\n1,mass,own.png,3\n")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(DatasetError, match=r"the mask broken\.png cannot be read"):
        load(tmp_path, "sample_id,label,mask\n1,mass,broken.png\n").regions.of("1", "mass", (10, 12))  # type: ignore[union-attr]


def test_no_option_is_advised_for_a_table_that_none_is_about(tmp_path: Path) -> None:
    """`data.encoding` and `data.sheet` are of the table of samples, which they would spoil."""
    load(tmp_path, None)
    options: dict[str, Any] = {"file": tmp_path / "t.csv", "target": "class", "group": "patient"}
    (tmp_path / "b.csv").write_text(f"{HEADER}\n1.png,mäss,2,3,4,5\n", encoding="cp1252")
    with pytest.raises(DatasetError, match=r"line 2 is not UTF-8 text: .*; save it as UTF-8$"):
        load_dataset("table", **options, boxes=tmp_path / "b.csv")
    with pd.ExcelWriter(tmp_path / "b.xlsx") as book:
        for sheet in ("a", "b"):
            pd.DataFrame({"sample_id": ["1.png"]}).to_excel(book, sheet_name=sheet)
    with pytest.raises(DatasetError, match=r"has 2 sheets \(a, b\); save one alone as a workbook$"):
        load_dataset("table", **options, boxes=tmp_path / "b.xlsx")
