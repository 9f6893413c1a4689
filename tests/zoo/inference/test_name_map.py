"""A map of names: words that YAML takes for truth values are the names that read so."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.data.errors import ConfigError
from medzoo.inference.name_map import read_name_map


def test_a_truth_value_is_the_name_that_reads_as_it(tmp_path: Path) -> None:
    assert read_name_map({False: "healthy", True: "lesion"}, ("False", "True"), ("healthy", "lesion")) == {
        "False": "healthy", "True": "lesion",
    }  # fmt: skip
    assert read_name_map({"benign": False}, ("benign",), ("no", "yes")) == {"benign": "no"}
    file = tmp_path / "map.yaml"
    file.write_text("no: healthy\nyes: null\n2: lesion\n")
    found = read_name_map(str(file), ("no", "yes", "2"), ("healthy", "lesion"))
    assert found == {"no": "healthy", "yes": None, "2": "lesion"}


@pytest.mark.parametrize("theirs", [("no", "False"), ("0", "1")])
def test_a_truth_value_that_is_several_names_or_none_is_to_be_quoted(theirs: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="quote numbers and yes or no"):
        read_name_map({False: "healthy"}, theirs, ("healthy", "lesion"))
