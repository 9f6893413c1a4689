"""Several rows of one image in a user's own table: what is one image, and in what its rows must not differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import DatasetError
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import frame, load_table, write_images
from tests.data.images import series_files
from tests.data.images.makers import film

SPLITS = ("train", "train", "val", "test")


def rows_of(*cells: Any) -> str:
    return ",".join(map(str, cells)) + "\n"


def test_readers_of_the_frames_of_a_film_settle_each_frame(tmp_path: Path) -> None:
    text = "image,frame,label,split\n"
    for number, split in enumerate(SPLITS):
        (tmp_path / f"{number}.dcm").write_bytes(film(np.full((2, 8, 8), number, np.uint8)))
        for one, label in enumerate("ab"):
            text += "".join(rows_of(f"{number}.dcm", written, label, split) for written in (one, f"{one}.0", one))
    (tmp_path / "t.csv").write_text(text)
    dataset = load_table(tmp_path / "t.csv", group=None, split="split", readers="majority", frame_number="frame")
    assert dataset.table["sample_id"].tolist() == [f"{number}.dcm[{one}]" for number in range(4) for one in (0, 1)]
    assert dataset.table["frame"].tolist() == [0, 1] * 4
    assert dataset.table["target"].tolist() == [0, 1] * 4
    assert "24 rows of 8 images" in dataset.info.notes[0]


def test_readers_of_the_series_of_a_directory_settle_each_series(tmp_path: Path) -> None:
    text = "image,uid,label,split\n"
    for number, split in enumerate(SPLITS):
        for place, uid in enumerate((f"1.2.4{number}.1", f"1.2.4{number}.2")):
            series_files.save(tmp_path / f"{number}" / f"{uid}.dcm", np.zeros((4, 4), np.int16), SeriesInstanceUID=uid)
            text += "".join(rows_of(number, uid, "ab"[place], split) for _ in range(3))
    (tmp_path / "t.csv").write_text(text)
    dataset = load_dataset(
        "table", file=tmp_path / "t.csv", target="label", split="split", readers="unanimous", series_uid="uid", id="uid",
        channels=1,
    )  # fmt: skip
    assert dataset.table["series_uid"].tolist() == [f"1.2.4{number}.{place}" for number in range(4) for place in (1, 2)]
    assert dataset.table["target"].tolist() == [0, 1] * 4


def test_rows_of_an_image_must_not_differ_in_what_is_kept(tmp_path: Path) -> None:
    names = [f"i{n // 2:02}.png" for n in range(12)]
    write_images(tmp_path, names[::2])
    labels = ["benign", "malignant"]
    table = frame(image=names, label=[labels[n // 2 % 2] for n in range(12)], eye=["L", "R"] * 6)
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DatasetError, match=r"line 3: 'eye' is 'R', which another row of the image says otherwise \(6 "):
        load_table(tmp_path / "t.csv", readers="majority", keep=["eye"])
