"""The page's sections of concept bottlenecks: figures with their place, no curve of other weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import ConceptSpace
from medzoo.report.concept_sections import interventions, prototypes
from medzoo.report.document import report_page
from medzoo.store.directory import RunDirectory
from tests.zoo.report.evaluated_run import drawn, evaluated
from tests.zoo.report.test_document import COMMAND, KINDS, Page, as_text, look_up

NAMES = ("halo <dark>", "spots/bright", "vessel~a")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run whose predictions hold three concepts, and a file of what correcting two of them did."""
    rng = np.random.default_rng(1)
    predictions = drawn(KINDS["multiclass"])
    truth = (rng.random((len(predictions), 3)) < 0.4).astype(np.float32)
    truth[::7, 2] = np.nan
    logits = (2 * np.nan_to_num(truth) - 1 + rng.normal(size=truth.shape)).astype(np.float32)
    run = evaluated(
        tmp_path / "run", replace(predictions, concepts=ConceptSpace(NAMES), concept_targets=truth, concept_logits=logits), 10
    )
    rows = [{"corrected": n, "share": n / 3, "value": 0.6 + n / 10, "low": None, "high": None} for n in range(4)]
    banded = [{**row, "low": row["value"] - 0.05, "high": row["value"] + 0.05} for row in rows]
    spec = json.loads(run.metrics.read_text())["spec"]
    found = {"spec": spec, "weights": None, "split": "test", "metric": "auroc", "before": 0.6,
             "curves": {"random": banded, "effect": rows}}  # fmt: skip
    (run.path / "interventions.json").write_text(json.dumps(found))
    return run


def page_of(run: RunDirectory) -> Page:
    return Page(report_page(run, split="test", each=0, dataset=None, command=COMMAND))


def test_every_figure_of_concepts_is_the_one_it_says_it_is(run: RunDirectory) -> None:
    page = page_of(run)
    own = [(s, t) for s, t in page.figures if s.startswith(("metrics.json#/splits/test/concepts", "interventions.json"))]
    for source, text in own:
        assert text == as_text(look_up(run.path, source)), source
    shown = {source for source, _ in own}
    assert {"metrics.json#/splits/test/concepts/auroc", "metrics.json#/splits/test/concepts/f1/classes/vessel~0a",
            "metrics.json#/splits/test/concepts/auroc/classes/spots~1bright/positives"} <= shown  # fmt: skip
    assert {f"interventions.json#/curves/{policy}/{n}" for policy in ("random", "effect") for n in range(4)} <= shown
    assert {"concepts", "interventions"} <= set(page.names)


def test_without_concepts_there_is_no_section(tmp_path: Path) -> None:
    page = page_of(evaluated(tmp_path / "run", drawn(KINDS["multiclass"]), 5))
    assert not {"concepts", "interventions"} & set(page.names)


def test_curves_of_other_weights_are_not_shown(run: RunDirectory) -> None:
    metrics: dict[str, Any] = json.loads(run.metrics.read_text())
    (note,) = interventions(run.path, {**metrics, "details": {"weights": "others"}}).blocks
    assert "run medzoo intervene again" in str(note)
    path = run.path / "interventions.json"
    earlier = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("spec", "weights")}
    path.write_text(json.dumps(earlier))  # as an earlier medzoo wrote it: of which weights is not said
    (note,) = interventions(run.path, metrics).blocks
    assert "run medzoo intervene again" in str(note)


@pytest.mark.parametrize("content", ["[", "{}", '{"curves": {"random": [{}]}, "metric": "auroc", "split": "test"}'])
def test_a_damaged_file_is_named(run: RunDirectory, content: str) -> None:
    (run.path / "interventions.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"interventions\.json is damaged"):
        page_of(run)


def test_the_training_images_nearest_to_prototypes_stand_on_the_page(run: RunDirectory) -> None:
    assert "prototypes" not in page_of(run).names
    (run.path / "prototypes.csv").write_text(
        "concept,prototype,sample,slice,row,column,rows,columns,similarity\n"
        '"halo <dark>",0,007,2,1,0,3,4,0.912345\n"halo <dark>",1,NA,0,0,2,3,4,-0.5\n'
    )
    (table,) = prototypes(run.path).blocks
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["halo <dark>", "0", "007", "slice 2, row 1, column 0 of 3x4", "0.912"],
        ["halo <dark>", "1", "NA", "slice 0, row 0, column 2 of 3x4", "-0.500"],
    ]
    assert "prototypes" in page_of(run).names
    (run.path / "prototypes.csv").write_text("concept,prototype\na,b\n")
    with pytest.raises(EvaluationError, match=r"prototypes\.csv is damaged"):
        page_of(run)
