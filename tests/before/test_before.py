"""What was on disk before the folders were parted into rooms is read, scored, run and gone on with as it was then.

`make.py` wrote `files/` with the code of that time. What is copied and counted must be the same to the byte; what a network or
an optimizer computes may differ by a rounding where the processor or a library does. MEDZOO_TEST_EXACT=1, on a machine like
the one that wrote the files, asks for the same bits everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from medzoo.cli import main
from medzoo.data import load_dataset
from tests.before.make import RUNS, SCORED, TEXTS, ask

FILES = Path(__file__).parent / "files"
EXACT = os.environ.get("MEDZOO_TEST_EXACT") == "1"
NUMBER = re.compile(r"(-?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+))")
ANSWERS = np.load(FILES / "answers.npz")
CHANGED = re.compile(r"\.(low|high|text_to_image|recall@\d+)(\.|$)")
"""What later work gave another meaning: where no interval is made, and what a query of retrieval is (CHANGELOG.md)."""
COPIED = ("target.", "concept.", "subgroup.")
"""Numbers that no network computes."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files as the working directory, as their paths are relative."""
    copy = tmp_path / "files"
    shutil.copytree(FILES, copy)
    monkeypatch.chdir(copy)
    return copy


def same_values(found: Any, kept: Any, what: str) -> None:
    """Check type and shape, and values within a rounding, which the standardised scores of concepts enlarge."""
    found, kept = np.asarray(found), np.asarray(kept)
    assert (found.dtype, found.shape) == (kept.dtype, kept.shape), what
    if EXACT:
        assert found.tobytes() == kept.tobytes(), what
    np.testing.assert_allclose(found, kept, rtol=1e-4, atol=1e-4, err_msg=what)


def same_text(found: str, kept: str, *, within: float = 1e-3) -> None:
    """Check that a text is the same but for the last digits of its fractions."""
    if EXACT:
        assert found == kept
    new, old = NUMBER.split(found), NUMBER.split(kept)
    assert new[::2] == old[::2]
    np.testing.assert_allclose(np.array(new[1::2], float), np.array(old[1::2], float), rtol=within, atol=within)


def same_report(found: Path, kept: Path, *, within: float = 1e-3) -> None:
    """Check that a metrics.json holds every value of the one before, but for what has another meaning since (`CHANGED`)."""
    new, old = (dict(flat(json.loads(path.read_text(encoding="utf-8")))) for path in (found, kept))
    kept_names = [name for name in old if not CHANGED.search(name) and new.get(f"{name.rpartition('.')[0]}.no_mean") is None]
    assert len(kept_names) > 10
    assert [name for name in kept_names if name not in new] == []
    for name in kept_names:
        if isinstance(old[name], float):
            np.testing.assert_allclose(new[name], old[name], rtol=within, atol=within, err_msg=name)
        else:
            assert new[name] == old[name], name


def flat(report: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings and lists by its dotted name."""
    if isinstance(report, dict | list):
        for key, value in report.items() if isinstance(report, dict) else enumerate(report):
            yield from flat(value, f"{prefix}.{key}")
    else:
        yield prefix, report


def without_intervals(text: str) -> str:
    return re.sub(r" \[-?[\d.]+, -?[\d.]+\]|  \(no interval: [^)]*\)", "", text)


def by_level(text: str) -> str:
    """Return lines, those on levels of subgroups in one order, without what is said since: gaps, what to look at first."""
    since = re.compile(r"look first: |and \d+ more in metrics\.json|  \S+: (?:no gap in|\w+ gap) ")
    lines = [line for line in re.sub(r"  \(few: [^)]*\)", "", text).splitlines() if not since.match(line)]
    levels = sorted(line.strip() for line in lines if re.match(r" +\w+=.* n=\d", line))
    return "\n".join([*(line for line in lines if line.strip() not in levels), *levels])


def described(table: pa.Table) -> dict[str, Any]:
    """Return what a Parquet file says of itself, without what is said since: the data, captions that were cut, labels."""
    about = json.loads((table.schema.metadata or {}).get(b"medzoo", b"{}"))
    if about.get("kind") == "embeddings":
        about.pop("labels", None)
    for name in ("data", "captions_cut", "training", "choice"):
        about.get("details", {}).pop(name, None)
    return about


def same_table(found: Path, kept: Path) -> None:
    """Check a Parquet file's columns, their types and metadata, and every value that is not predicted, to the bit."""
    new, old = pq.read_table(found), pq.read_table(kept)
    # Columns that there were not yet: of packed images, of embeddings.
    since = ("sha256", "source") if "image_key" not in old.schema.names else ("target.", "subgroup.")
    new = new.drop_columns([name for name in new.schema.names if name.startswith(since)])
    assert [name_and_type(field) for field in new.schema] == [name_and_type(field) for field in old.schema]
    if "split" in old.schema.names:  # embeddings hold the training split, too, since
        new = new.filter(pc.is_in(new["split"], value_set=pc.unique(old["split"])))
    assert described(new) == described(old)
    for field in old.schema:
        one, other = (table[field.name].to_pandas().to_numpy() for table in (new, old))
        if pa.types.is_fixed_size_list(field.type):
            one, other = np.stack(one), np.stack(other)
        if one.dtype.kind == "f" and not field.name.startswith(COPIED):
            same_values(one, other, field.name)
        elif one.dtype.kind == "f":
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one.tolist() == other.tolist(), field.name


def name_and_type(field: pa.Field) -> tuple[str, str]:
    """Return what a column is; pandas 3 writes large strings where pandas 2 wrote strings."""
    return field.name, str(field.type).removeprefix("large_")


@pytest.mark.parametrize("run", RUNS)
def test_a_run_and_its_onnx_files_answer_as_before(run: str, files: Path) -> None:
    found = ask(run)
    assert set(found) == {name.removeprefix(f"{run}/") for name in ANSWERS.files if name.startswith(f"{run}/")}
    for name, values in found.items():
        same_values(values, ANSWERS[f"{run}/{name}"], name)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_scored_and_predicted_as_before(run: str, files: Path) -> None:
    scored = ["evaluate", f"run={run}", *SCORED]
    for predict, within in (("false", 1e-9), ("true", 1e-3)):
        (files / run / "metrics.json").unlink()
        assert main([*scored, f"predict={predict}"]) == 0
        same_report(files / run / "metrics.json", FILES / run / "metrics.json", within=within)
    for path in sorted((FILES / run).glob("*.parquet")):
        same_table(files / run / path.name, path)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["multiclass", "clip"])
def test_a_run_is_exported_as_before(run: str, files: Path) -> None:
    from medzoo.export import OnnxModel

    models = sorted(path.name for path in (files / run).glob("*.onnx"))
    for name in models:
        (files / run / name).unlink()
    assert main(["export", f"run={run}", "images=8"]) == 0
    assert sorted(path.name for path in (files / run).glob("*.onnx")) == models
    for name, values in ask(run).items():
        same_values(values, ANSWERS[f"{run}/{name}"], name)
    for name in models:
        new, old = OnnxModel(files / run / name), OnnxModel(FILES / run / name)
        assert new.spec == old.spec
        assert new.labels == old.labels


def test_commands_print_as_before(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(files / "zeroshot")
    for name, words in TEXTS.items():
        assert main(words) == 0
        found, kept = capsys.readouterr().out, (FILES / f"{name}.txt").read_text()
        same_text(by_level(without_intervals(found)), by_level(without_intervals(kept)), within=2e-3)
    same_report(files / "zeroshot" / "metrics.json", FILES / "zeroshot" / "metrics.json")
    same_report(files / "cbm" / "interventions.json", FILES / "cbm" / "interventions.json")


def test_prepared_images_are_opened_and_made_as_before(files: Path) -> None:
    dataset = load_dataset("folder", root="photos", packed="packed")
    kept = np.load(FILES / "packed" / "images-00000.npy")
    rows = dataset.table[list(dataset.reader.columns)].itertuples(index=False)
    read = np.stack([dataset.reader.read(*row) for row in rows])
    assert sorted(image.tobytes() for image in read) == sorted(image.tobytes() for image in kept)
    assert main(["prepare", "data=folder", "data.root=photos", "size=16", "output=again"]) == 0
    again = np.load(files / "again" / "images-00000.npy")
    assert np.abs(again.astype(int) - kept.astype(int)).max() <= (0 if EXACT else 1)
    assert (files / "again" / "manifest.json").read_bytes() == (FILES / "packed" / "manifest.json").read_bytes()
    same_table(files / "again" / "index.parquet", FILES / "packed" / "index.parquet")


def test_an_interrupted_run_goes_on_to_the_same_end(files: Path) -> None:
    kept = (FILES / "interrupted.csv").read_text()
    history = files / "interrupted" / "history.csv"
    assert not history.exists() or len(history.read_text()) < len(kept)
    assert main(["train", "resume=interrupted"]) == 0
    # Another torch may put two of the 15 validation samples the other way round: 0.007 of an AUROC.
    same_text(history.read_text(), kept, within=1e-2)


def test_the_files_stay_small_and_name_no_place() -> None:
    paths = [path for path in FILES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 4e6
    for path in paths:
        if path.suffix in (".json", ".yaml", ".txt", ".csv"):
            assert not re.search(r"(?<![\w.:/])/(?:tmp|home|root|work)\b", path.read_text(encoding="utf-8")), path
