"""What `medzoo export` says of what stays behind."""

from __future__ import annotations

from pathlib import Path

from medzoo.export.commands.answers import left_of_targets
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file


def test_what_was_fitted_to_single_targets_is_said_to_stay_behind(tmp_path: Path) -> None:
    run, targets = RunDirectory(tmp_path), ("finding", "kind")
    assert left_of_targets(run, targets) is None
    write_file(run.of_target("kind").operating_points, b"{}")
    left = "do not travel in the file, but stand in targets/ of the run"
    assert left_of_targets(run, targets) == f"note: operating points of several targets {left}"
    write_file(run.of_target("finding").calibration, b"{}")
    said = left_of_targets(run, targets)
    own = "the file has the model's own probabilities"
    assert said == f"note: operating points and calibrators of several targets {left}; {own}"
    write_file(run.of_target("kind").conformal, b"{}")
    assert str(left_of_targets(run, targets)).startswith("note: operating points, calibrators and prediction sets of several")
