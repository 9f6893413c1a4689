"""Prepared images under rows that are now of others: by name of all, by size and content of some; in files and in shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset

ROWS = 200
"""More than twice as many as are compared by content."""


def png(number: int, side: int = 8) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)).save(packed, "PNG")
    return packed.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "films").mkdir()
    for number in range(ROWS):
        (tmp_path / "films" / f"{number}.png").write_bytes(png(number))
    write_table(tmp_path / "t.csv", list(range(ROWS)))
    own: dict[str, object] = {"file": str(tmp_path / "t.csv"), "target": "y", "id": "name", "group": "name"}
    assert main(["prepare", "data=table", *words(own), "size=8", f"output={tmp_path / 'packed'}"]) == 0
    return own


def words(own: dict[str, object]) -> list[str]:
    return [f"data.{key}={value}" for key, value in own.items()]


def write_table(file: Path, images: list[int], folder: str = "films/") -> None:
    rows = (f"s{row},{folder}{image}.png,{'ab'[row % 2]}" for row, image in enumerate(images))
    file.write_text("name,image,y\n" + "\n".join(rows) + "\n")


def test_one_row_of_hundreds_whose_image_was_corrected_is_named(
    table: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_dataset("table", packed=str(tmp_path / "packed"), **table)
    swapped = list(range(ROWS))
    swapped[1], swapped[2] = 2, 1
    write_table(tmp_path / "t.csv", swapped)
    told = r"was prepared with 'films/1\.png' for sample 's1', which is now 'films/2\.png'; prepare again"
    for missing in ("error", "ignore"):  # whether or not anybody looks for the files
        with pytest.raises(MedzooError, match=told):
            load_dataset("table", packed=str(tmp_path / "packed"), missing=missing, **table)
    assert main(["prepare", "data=table", *words(table), "size=8", f"output={tmp_path / 'packed'}"]) == 2
    assert "is now 'films/2.png'" in capsys.readouterr().err


def test_preparing_again_compares_every_size(
    table: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films" / "1.png").write_bytes(png(1, 9))
    assert main(["prepare", "data=table", *words(table), "size=8", f"output={tmp_path / 'packed'}"]) == 2
    assert "was prepared from other images than" in capsys.readouterr().err


def test_another_root_of_the_same_files_is_no_other_name(table: dict[str, object], tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", list(range(ROWS)), folder="")
    found = load_dataset("table", packed=str(tmp_path / "packed"), root=str(tmp_path / "films"), **table)
    assert len(found.table) == ROWS


def write_shard(path: Path, images: list[bytes], keys: list[str] | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, image in enumerate(images):
            key = f"{number:03d}" if keys is None else keys[number]
            for ending, data in (("png", image), ("cls", b"%d" % (number % 2))):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_prepared_shards_are_held_against_every_member(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [png(number, 8 + number % 3) for number in range(ROWS)]
    write_shard(tmp_path / "x" / "0.tar", images)
    prepare = ["prepare", "data=shards", f"data.root={tmp_path / 'x'}", "data.target=.cls", "size=8"]
    assert main([*prepare, f"output={tmp_path / 'packed'}"]) == 0
    own = {"target": ".cls", "packed": str(tmp_path / "packed")}
    assert len(load_dataset("shards", root=tmp_path / "x", **own).table) == ROWS
    changed = [images[0], png(999, 20), *images[2:]]  # one image, which is none of those whose content is compared
    for root, others in (("x", changed), ("hospital", images[1:] + images[:1])):
        write_shard(tmp_path / root / "0.tar", others)
        with pytest.raises(MedzooError, match=r"was prepared from other images than those of '0"):
            load_dataset("shards", root=tmp_path / root, **own)
    capsys.readouterr()
    assert main([*prepare, f"output={tmp_path / 'packed'}"]) == 2
    assert "was prepared from other images than those of '001'" in capsys.readouterr().err


def test_shards_parted_anew_are_the_same_images(tmp_path: Path) -> None:
    images = [png(number) for number in range(24)]
    write_shard(tmp_path / "x" / "0.tar", images)
    prepare = ["prepare", "data=shards", f"data.root={tmp_path / 'x'}", "data.target=.cls", "size=8"]
    assert main([*prepare, f"output={tmp_path / 'packed'}"]) == 0
    keys = [f"{number:03d}" for number in range(24)]
    write_shard(tmp_path / "y" / "a.tar", images[:10], keys[:10])
    write_shard(tmp_path / "y" / "b.tar", images[10:], keys[10:])
    again = load_dataset("shards", root=tmp_path / "y", target=".cls", packed=str(tmp_path / "packed"))
    assert len(again.table) == 24
