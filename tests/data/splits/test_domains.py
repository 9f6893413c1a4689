"""One domain is the test split and no row of it, nor any of its patients, is learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.data.splits import shared_groups


def phantom(**options: Any) -> pd.DataFrame:
    return load_dataset("phantom", patients=40, size=16, domain="site", **options).table


def test_the_test_split_is_the_domain_and_all_of_it() -> None:
    everyone = load_dataset("phantom", patients=40, size=16).table
    for level in ("north", "south"):
        table = phantom(held_out=level)
        assert set(table["sample_id"]) == set(everyone["sample_id"])  # nobody is lost
        assert set(table.loc[table["split"] == "test", "sample_id"]) == set(everyone.loc[everyone["site"] == level, "sample_id"])
        assert set(table.loc[table["split"] != "test", "site"]) == {"north", "south"} - {level}
        assert set(table["split"]) == {"train", "val", "test"}
        assert shared_groups(table) == {}


def test_a_fold_is_a_domain_by_its_place() -> None:
    pd.testing.assert_frame_equal(phantom(fold=0), phantom(held_out="north"))
    pd.testing.assert_frame_equal(phantom(fold=1, folds=2), phantom(held_out="south"))


def test_the_card_says_what_was_left_out() -> None:
    dataset = load_dataset("phantom", patients=40, size=16, domain="site", fold=1)
    assert dataset.options["domain"] == "site"
    assert dataset.options["held_out"] == "south"
    assert "tested on site=south alone, all of it; trained and validated on site=north" in dataset.info.notes
    again = load_dataset(**{name: value for name, value in dataset.options.items() if name != "fold"})
    pd.testing.assert_frame_equal(again.table, dataset.table)
    assert "domain" not in load_dataset("phantom", patients=40, size=16).options  # earlier cards keep their hash


def test_shots_are_drawn_from_the_other_domains() -> None:
    table = phantom(held_out="north", shots=2)
    assert set(table.loc[table["split"] == "train", "site"]) == {"south"}
    assert len(table[table["split"] == "train"]) == 8


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, ConfigError, "by data.held_out=<name> or by its place"),
        ({"held_out": "north", "fold": 0}, ConfigError, "say which"),
        ({"held_out": "nort"}, UnknownNameError, "'north'"),
        ({"fold": 2}, ConfigError, r"data\.fold=2 is not one of 0\.\.1, the places of north, south"),
        ({"fold": 0, "folds": 5}, ConfigError, "data.folds=5: site has 2 values"),
        ({"held_out": "north", "domain": "sit"}, DatasetError, "nearest is 'site'"),
        ({"held_out": "north", "domain": None}, ConfigError, "of which column"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        load_dataset(**{"name": "phantom", "patients": 40, "size": 16, "domain": "site", **options})


def table_file(folder: Path, **columns: Any) -> Path:
    rng = np.random.default_rng(0)
    rows = 24
    for number in range(rows):
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{number}.png")
    table = pd.DataFrame(
        {
            "file": [f"{number}.png" for number in range(rows)], "label": ["a", "b"] * (rows // 2),
            "patient": [f"p{number // 2}" for number in range(rows)], "scanner": [1.0 + number // 8 for number in range(rows)],
            **columns,
        }
    )  # fmt: skip
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def own_table(path: Path, **options: Any) -> pd.DataFrame:
    how = {"file": str(path), "image": "file", "target": "label", "group": "patient", "subgroups": ["scanner"]}
    return load_dataset("table", **{**how, "domain": "scanner", **options}).table


def test_a_table_of_ones_own_with_numbers_for_domains(tmp_path: Path) -> None:
    table = own_table(table_file(tmp_path), held_out=2)
    assert set(table.loc[table["split"] == "test", "scanner"]) == {2}
    assert set(table.loc[table["split"] != "test", "scanner"]) == {1, 3}


def test_a_patient_in_two_domains_is_refused(tmp_path: Path) -> None:
    path = table_file(tmp_path, patient=[f"p{number % 9}" for number in range(24)])
    with pytest.raises(DatasetError, match=r"patient groups are both in scanner=2 and elsewhere, such as 'p0'"):
        own_table(path, held_out=2)


def test_a_row_without_a_domain_and_a_single_domain_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 rows have no scanner"):
        own_table(table_file(tmp_path, scanner=[None, *["x", "y"] * 11, "y"]), held_out="x")
    with pytest.raises(DatasetError, match="every row has scanner=x"):
        own_table(table_file(tmp_path, scanner="x"), held_out="x")


def test_a_folder_whose_paths_name_the_site(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(12):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(
                tmp_path / label / f"site{number % 3}_{number}.png"
            )
    how: dict[str, Any] = {"name": "folder", "root": str(tmp_path), "domain_pattern": r"^(site\d)_"}
    table = load_dataset(**how, domain="domain", held_out="site1").table
    assert set(table.loc[table["split"] == "test", "domain"]) == {"site1"}
    assert set(table.loc[table["split"] != "test", "domain"]) == {"site0", "site2"}
    with pytest.raises(DatasetError, match=r"data\.domain_pattern='\^x\(y\)' finds no domain in the file's name"):
        load_dataset(**{**how, "domain_pattern": "^x(y)"})
