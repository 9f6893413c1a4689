"""Mutated tables and options: whatever a file holds, it is a dataset or one line.

MEDZOO_FUZZ is how many mutations of each format are tried (400 if it is not set). A mutation is a function of its number alone,
so that what fails is found again; it then stays as a plain test in `test_what_failed_once`.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from medzoo.cli import main
from medzoo.data.dataset import Dataset
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset

COUNT = int(os.environ.get("MEDZOO_FUZZ", "400"))
MARKS = b"\x00\x01\xff\"',;\t\n\r|.-0 \xc3{}[]:"
PARTS = 2
"""Tests a format, so that two workers share it."""

ROWS = {
    "image": [f"scans/i{n:02}.png" for n in range(12)],
    "second": [f"scans/i{n - 1:02}.png" if n % 2 else "" for n in range(12)],
    "row": [f"r{n}" for n in range(12)],
    "label": [("benign", "malignant", "")[n % 3] for n in range(12)],
    "grade": [str(n % 4) for n in range(12)],
    "patient": [f"P{n // 2}" for n in range(12)],
    "mass": [("1", "0", "")[n % 3] for n in range(12)],
    "size": [f"{n / 4}" for n in range(12)],
    "split": [("train", "train", "val", "test")[n // 2 % 4] for n in range(12)],
    "sex": [("f", "m", "")[n % 3] for n in range(12)],
    "text": ["a film", 'one, "quoted"', "two\nlines", ""] * 3,
    "findings": ["Mass|Nodule", "Mass", "none", ""] * 3,
}
ODD_WORDS = [
    "", " ", "nan", "None", "-", "?", "\x00", "\ufeff", "\u200b", "1e400", "-1", "1,5", "3.0", "007", "inf", "=1+1", "../../x",
    "/", "//", "C:\\x", "file://", "file://[", "http://[::1", "\\\\", "a" * 5000, "é", "e\u0301", "\U0001f600", "\ud800", "{}",
    "{", "%00", "\r", "\n", '"', "'", ";", "\t", "|", "true", "١٢", "1_000", "0x10", "2024-01-01", "train", "Train ",
    "benign\u00a0", "^(.)", "(", "image", "label",
]  # fmt: skip
ODD: list[Any] = [
    *ODD_WORDS, None, 0, -1, 1e308, True, [], {}, ["image"], {"a": None}, float("nan"), float("inf"), 2**70, [None], [[1]],
    {"image": "label"},
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {"target": "label", "group": "patient"},
    {"target": "label"},
    {"target": "grade", "kind": "ordinal", "split": "split", "subgroups": ["sex", "size"]},
    {"target": "size", "kind": "regression", "caption": "text", "inputs": ["grade"]},
    {"target": ["mass"], "concepts": ["mass"], "id": "row", "group_pattern": r"^(.\d\d)"},
    {"target": "findings", "separator": "|", "names": ["Mass", "Nodule", "none"], "path": "{}", "values": {"x": "Mass"}},
    {"target": "label", "group": "patient", "empty_words": ["nan", "-"], "split_rule": 1},
    {"target": "label", "image": ["image", "second"], "id": "row", "decimal": ","},
]
FURTHER = (
    "names", "units", "window", "channels", "test_fraction", "seed", "val_fraction", "sheet", "encoding", "path", "values",
    "empty_words", "root", "modality", "deep", "licence", "split_rule", "folds", "fold", "shots", "fraction", "decimal",
    "missing",
)  # fmt: skip


@cache
def seeds(folder: Path) -> dict[str, bytes]:
    """Return format → the bytes of a good table of it."""
    frame = pd.DataFrame(ROWS)
    files = {end: folder / f"good{end}" for end in FORMATS}
    frame.to_csv(files[".csv"], index=False)
    frame.to_csv(files[".tsv"], sep="\t")
    frame.to_json(files[".jsonl"], orient="records", lines=True)
    frame.assign(size=frame["size"].astype(float), grade=frame["grade"].astype(int)).to_parquet(files[".parquet"])
    frame.to_excel(files[".xlsx"], index=False)
    return {end: file.read_bytes() for end, file in files.items()}


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Return bytes some of which are others, doubled, cut out or cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(changed) or 1)
        what = chance.random()
        if what < 0.5 and changed:
            changed[place] = chance.choice(MARKS) if chance.random() < 0.5 else chance.randrange(256)
        elif what < 0.7:
            del changed[place : place + chance.randint(1, 40)]
        elif what < 0.9:
            changed[place:place] = changed[chance.randrange(len(changed) or 1) :][: chance.randint(1, 60)]
        else:
            del changed[place:]
    return bytes(changed)


def with_a_flipped_part(data: bytes, chance: random.Random) -> bytes:
    """Return an archive one part of which is flipped, its checksum right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        names = old.namelist()
        which = chance.choice([*names, *["xl/worksheets/sheet1.xml"] * 6])
        for name in names:
            new.writestr(name, flipped(old.read(name), chance) if name == which else old.read(name))
    return packed.getvalue()


def with_odd_cells(end: str, chance: random.Random, file: Path) -> None:
    """Write a table some of whose cells, or whose header, are odd."""
    columns: dict[Any, list[Any]] = {name: list(cells) for name, cells in ROWS.items()}
    for _ in range(chance.randint(1, 5)):
        columns[chance.choice(list(columns))][chance.randrange(12)] = chance.choice(ODD)
    names = [chance.choice(ODD) if chance.random() < 0.03 else name for name in columns]
    rows = [dict(zip(map(str, names), cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    plain = pd.DataFrame([{k: "" if v is None else str(v) for k, v in row.items()} for row in rows])
    if end == ".jsonl":
        pd.DataFrame(rows).to_json(file, orient="records", lines=True, default_handler=str)
    elif end == ".parquet":
        plain.to_parquet(file)
    elif end == ".xlsx":
        plain.to_excel(file, index=chance.random() < 0.5)
    else:
        text = plain.to_csv(sep="\t" if end == ".tsv" else chance.choice(",;"), index=chance.random() < 0.5)
        file.write_bytes(text.encode(chance.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), "replace"))


FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")


def outcome(load: Callable[[], object], what: str) -> bool:
    """Check that a load gives a dataset, or an error of one line that says something; returns whether it is a dataset."""
    try:
        found = load()
    except MedzooError as error:
        said = str(error)
    else:
        assert isinstance(found, Dataset), what
        return True
    assert said.strip(), what
    assert "\n" not in said, what
    return False


def mutate(end: str, number: int, folder: Path, file: Path) -> None:
    """Write the mutation of a number."""
    chance = random.Random(f"{end}{number}")
    if number % 4 == 1 and end == ".xlsx":
        file.write_bytes(with_a_flipped_part(seeds(folder)[end], chance))
    elif number % 2:
        file.write_bytes(flipped(seeds(folder)[end], chance))
    else:
        try:
            with_odd_cells(end, chance, file)
        except Exception:  # what the writer cannot write
            file.write_bytes(flipped(seeds(folder)[end], chance))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("end", FORMATS)
def test_a_mutated_table_is_a_dataset_or_one_line(end: str, part: int, tmp_path: Path) -> None:
    read = 0
    for number in range(COUNT * part // PARTS, COUNT * (part + 1) // PARTS):
        file = tmp_path / f"t{end}"
        mutate(end, number, tmp_path, file)
        options = {"missing": "ignore", **OPTIONS[number // 2 % len(OPTIONS)]}
        read += outcome(lambda: load_dataset("table", file=file, **options), f"{end} {number}")  # noqa: B023
    assert 0 < read < COUNT  # some of either


def mutated_options(number: int, file: Path) -> dict[str, Any]:
    """Return options some of which are odd."""
    chance = random.Random(f"options{number}")
    options: dict[str, Any] = {"file": str(file), "missing": "ignore", **OPTIONS[number % len(OPTIONS)]}
    known = [*options, *FURTHER]
    for _ in range(chance.randint(1, 3)):
        options[chance.choice(known)] = chance.choice(ODD)
    return options


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_options_are_a_dataset_or_one_line(part: int, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    pd.DataFrame(ROWS).to_csv(file, index=False)
    for number in range(COUNT * part // PARTS, COUNT * (part + 1) // PARTS):
        options = mutated_options(number, file)
        outcome(lambda: load_dataset("table", **options), f"options {number}: {options}")  # noqa: B023


@pytest.mark.slow
def test_a_mutated_yaml_file_is_read_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    for number in range(COUNT // 25):
        chance = random.Random(f"yaml{number}")
        given = {"defaults": ["table", "_self_"], "file": str(tmp_path / "t.csv"), "missing": "ignore", **OPTIONS[number % 8]}
        text = yaml.safe_dump(given, sort_keys=False).encode()
        (tmp_path / "conf" / "data" / "mine.yaml").write_bytes(flipped(text, chance))
        status = main(["verify", "--config-dir", str(tmp_path / "conf"), "data=mine", "images=none"])
        err = capsys.readouterr().err
        assert status in (0, 1, 2), number
        assert (status == 2) == (err.count("\n") == 1 and err.startswith("medzoo: ")), (number, err)


ONCE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"image": "file://["}, {}, "which is an address"),
    ({"image": "http://[::1"}, {}, "which is an address"),
    ({"size": "1e308"}, {"inputs": ["size"]}, "line 2: 'size' is '1e308', too large a number"),
    ({}, {"test_fraction": "train"}, "data.test_fraction=train is no number"),
    ({}, {"test_fraction": None}, "data.test_fraction=null is no number"),
    ({}, {"folds": "nan", "fold": 0}, "data.folds=nan is no whole number"),
    ({}, {"shots": 2.5}, "data.shots=2.5 is no whole number"),
    ({}, {"fraction": []}, r"data.fraction=\[\] is no number"),
    ({}, {"seed": True}, "data.seed=true is no whole number"),
    ({}, {"root": "a" * 5000}, "data.root=a+ cannot be read"),
    ({}, {"root": ["image"]}, r"data.root=\['image'\] is no path"),
]
"""Cells of the first row, options, and what is said: what a mutation met first."""


@pytest.mark.parametrize(("cells", "options", "message"), ONCE)
def test_what_failed_once(cells: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = {name: [cells.get(name, values[0]), *values[1:]] for name, values in ROWS.items()}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(MedzooError, match=message) as caught:
        load_dataset("table", **{"file": tmp_path / "t.csv", "target": "label", "missing": "ignore", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", OPTIONS)
def test_what_is_mutated_is_good(options: dict[str, Any], tmp_path: Path) -> None:
    for end, data in seeds(tmp_path).items():
        (tmp_path / f"t{end}").write_bytes(data)
        assert outcome(lambda: load_dataset("table", file=tmp_path / f"t{end}", **{"missing": "ignore", **options}), end)  # noqa: B023
