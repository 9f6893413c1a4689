"""What a run's configuration does not name is what was so when it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.data.errors import CheckpointError
from medzoo.store.directory import RunDirectory


@pytest.mark.parametrize(
    ("text", "augmenter"),
    [
        ("data: {name: phantom}\ntrainer: {augment: auto}\n", "albumentations"),
        ("data: {name: phantom}\ntrainer: {augment: auto, augmenter: opencv}\n", "opencv"),
    ],
)
def test_a_run_that_names_no_augmenter_was_drawn_by_albumentations(tmp_path: Path, text: str, augmenter: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    settings = RunDirectory(tmp_path).settings()
    assert settings["trainer"] == {"augment": "auto", "augmenter": augmenter}
    assert (tmp_path / "config.yaml").read_text() == text


def test_a_configuration_without_a_trainer_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {name: phantom}\n")
    assert RunDirectory(tmp_path).settings() == {"data": {"name": "phantom"}}
    (tmp_path / "config.yaml").write_text("trainer: {}\n")
    with pytest.raises(CheckpointError, match="it names no data"):
        RunDirectory(tmp_path).settings()
