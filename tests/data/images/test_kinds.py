"""Names that no file can have are those of no file; reading them says what is wrong, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medzoo.data.errors import MedzooError
from medzoo.data.images.kinds import is_file, is_folder, is_there
from medzoo.data.registry import load_dataset

LONG = "a" * 5000


@pytest.mark.parametrize("name", [LONG, "a\x00b", "nothing"])
def test_a_name_that_no_file_can_have_is_not_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert (is_file(path), is_folder(path), is_there(path)) == (False, False, False)


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert (is_file(file), is_folder(file), is_there(file)) == (True, False, True)
    assert (is_file(tmp_path), is_folder(tmp_path), is_there(tmp_path)) == (False, True, True)


@pytest.mark.parametrize("name", [LONG, f"{LONG}/x.png", "a\x00b.png"])
@pytest.mark.parametrize("options", [{}, {"frames": "volume"}, {"frames": "members"}, {"frames": "channels", "channels": 4}])
@pytest.mark.parametrize("missing", ["ignore", "error", "skip"])
def test_a_tables_cell_of_such_a_name_is_no_file(name: str, options: dict[str, Any], missing: str, tmp_path: Path) -> None:
    pd.DataFrame({"image": [name, "b.png"], "label": ["x", "y"]}).to_csv(tmp_path / "t.csv", index=False)
    try:
        dataset = load_dataset("table", file=tmp_path / "t.csv", target="label", missing=missing, **options)
        dataset.reader.read(name)
    except MedzooError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        pytest.fail("it was read")
