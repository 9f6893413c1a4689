"""The page: every figure traceable, nothing fetched, right with any labels, equal bytes from equal files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.evaluation.bootstrap import value_text
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, write_metrics
from medzoo.report.document import overlaps, report_page
from medzoo.store.directory import RunDirectory
from tests.zoo.report.evaluated_run import drawn, evaluated

COMMAND = ["medzoo", "report", "run=r"]
KINDS = {
    "multiclass": LabelSpace("multiclass", ("normal", "cyst $x_1$", "a <b> & 'c'", "tumour/other~x")),
    "ordinal": LabelSpace("ordinal", ("0", "1", "2")),
    "one finding": LabelSpace("multilabel", ("nodule",)),
    "findings": LabelSpace("multilabel", ("mass", "nodule", "effusion")),
    "many": LabelSpace("multiclass", tuple(f"class {k}" for k in range(200))),
    "regression": LabelSpace("regression", ("thickness", "acuity"), ("µm", "letters")),
}


class Page(HTMLParser):
    """Cells with what they say they are from; every address; the names of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.names: list[str] = []
        self.tags: list[str] = []
        self._source: str | None = None
        self._hidden = 0
        self._text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.names += [str(given["id"])] if "id" in given else []
        self.addresses += [str(given[name]) for name in ("src", "href", "xlink:href", "action") if name in given]
        if tag in ("td", "th", "p") and "data-source" in given:
            self._source, self._text = str(given["data-source"]), ""
        self._hidden += tag == "span"

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag == "span"
        if tag in ("td", "th", "p") and self._source is not None:
            self.figures.append((self._source, self._text.strip()))
            self._source = None

    def handle_data(self, data: str) -> None:
        self._text += data if not self._hidden else ""


@lru_cache(maxsize=1)  # of a run's file, thousands of times
def parsed(text: str) -> Any:
    return json.loads(text)


def look_up(folder: Path, source: str) -> Any:
    file, _, place = source.partition("#")
    value = parsed((folder / file).read_text())
    for part in place.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def as_text(value: Any) -> str:
    if isinstance(value, dict):
        return value_text(value["value"], value["low"], value["high"])
    return f"{value:,}" if isinstance(value, int) else str(value)


@pytest.mark.parametrize(("kind", "missing"), [(kind, m) for kind in KINDS for m in (0.0, 0.3) if kind != "many" or not m])
def test_every_figure_is_the_one_it_says_it_is(kind: str, missing: float, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", drawn(KINDS[kind], 240, missing=missing, subgroups=kind != "many"), 5)
    page = Page(report_page(run, split="test", each=3, dataset=None, command=COMMAND))
    assert len(page.figures) > 20
    for source, text in page.figures:
        value = look_up(run.path, source)
        assert text in ({f"{value:.4g}", f"{value:.3f}"} if isinstance(value, float) else {as_text(value)}), source
    shown = {source for source, _ in page.figures}
    metrics = json.loads(run.metrics.read_text())["splits"]["test"]["metrics"]
    assert {f"metrics.json#/splits/test/metrics/{name}" for name in metrics} <= shown
    if kind not in ("regression", "many"):
        assert {"metrics.json#/splits/test/operating_points/youden/classes/" + one.replace("~", "~0").replace("/", "~1") + "/ppv"
                for one in KINDS[kind].names} <= shown  # fmt: skip
        assert sum("/disparity/" in source for source in shown) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched_and_each_name_is_there_once(kind: str, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", drawn(KINDS[kind], subgroups=kind != "findings"), 10)
    text = report_page(run, split="test", each=2, dataset=None, command=COMMAND)
    page = Page(text)
    assert all(address.startswith(("#", "data:")) for address in page.addresses), page.addresses
    assert not re.findall(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    sections = [name for name in page.names if f'<section id="{name}"' in text]
    assert len(sections) == len(set(sections)) >= 5
    assert {address[1:] for address in page.addresses if address.startswith("#") and len(address) < 20} <= set(page.names)
    assert ("subgroups" in sections) == (kind != "findings")


def test_names_of_others_are_text(tmp_path: Path) -> None:
    labels = LabelSpace("multiclass", ("<script>alert(1)</script>", "b\"'&", "$\\frac{1}{"))
    text = report_page(evaluated(tmp_path / "run", drawn(labels), 10), split="test", each=1, dataset=None, command=COMMAND)
    assert "alert(1)</script>" not in text
    assert text.count("<script>") == 1


def test_the_same_files_give_the_same_bytes_and_predictions_give_the_metrics(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", drawn(KINDS["multiclass"]))
    first = report_page(run, split="test", each=2, dataset=None, command=COMMAND)
    assert report_page(run, split="test", each=2, dataset=None, command=COMMAND) == first
    run.metrics.unlink()
    assert (
        main(
            [
                "evaluate",
                f"run={run.path}",
                "predict=false",
                "evaluation.replicates=50",
                "evaluation.operating_points=[youden]",
                "evaluation.decision_curve=[0.1,0.5]",
            ]
        )
        == 0
    )
    assert report_page(run, split="test", each=2, dataset=None, command=COMMAND) == first


def test_metrics_of_other_predictions_are_refused(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", drawn(KINDS["findings"]), 10)
    predictions = Predictions.read(run.predictions)
    predictions.take(np.arange(len(predictions)) % 7 > 0).write(run.predictions)
    with pytest.raises(EvaluationError, match="run medzoo evaluate"):
        report_page(run, split="test", each=0, dataset=None, command=COMMAND)
    replace(predictions, spec_hash="other").write(run.predictions)
    with pytest.raises(EvaluationError, match="run medzoo evaluate"):
        report_page(run, split="test", each=0, dataset=None, command=COMMAND)
    with pytest.raises(UnknownNameError, match="trial"):
        report_page(run, split="trial", each=0, dataset=None, command=COMMAND)
    run.metrics.write_text("[]")
    with pytest.raises(EvaluationError, match="holds no results"):
        report_page(run, split="test", each=0, dataset=None, command=COMMAND)
    run.metrics.unlink()
    with pytest.raises(EvaluationError, match="medzoo evaluate run="):
        report_page(run, split="test", each=0, dataset=None, command=COMMAND)


def test_tests_on_other_data_are_shown_with_their_own_file(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", drawn(KINDS["findings"]), 10)
    elsewhere = RunDirectory(run.path / "external" / "clinic")
    given = replace(drawn(KINDS["findings"], 90, seed=5), notes=("mass: not in the other table",))
    given = replace(given, split=np.array(["test"] * 90, dtype=object))
    write_metrics(elsewhere.metrics, evaluate(given, splits=["test"]))
    page = Page(report_page(run, split="test", each=0, dataset=None, command=COMMAND))
    found = [(source, text) for source, text in page.figures if source.startswith("external/clinic/")]
    assert len(found) >= 6
    for source, text in found:
        said = as_text(look_up(run.path, source))
        assert text == (f"clinic: {said}" if "/notes/" in source else said)


def test_a_group_in_two_splits_is_counted() -> None:
    dataset = load_dataset("phantom", patients=12, size=16)
    assert overlaps(None) is None
    assert set((overlaps(dataset) or {}).values()) == {0}
    table = dataset.table.copy()
    theirs = table.loc[table["split"] == "train", "group"].iloc[0]
    table.loc[table["split"] == "test", "group"] = theirs
    leaked = load_dataset("phantom", patients=12, size=16, allow_shared_groups=True).with_table(table)
    assert (overlaps(leaked) or {})["train and test"] == 1


def test_the_verb_writes_a_page_with_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train = ["train", "data=phantom", "data.patients=24", "data.size=32", "model.backbone=test_resnet", "trainer.epochs=1"]
    assert main([*train, "trainer.trackers=[]", "evaluation.replicates=20", f"run={run}"]) == 0
    assert main(["report", f"run={run}", "cases=2"]) == 0
    text = (run / "report.html").read_text()
    assert text.count('src="data:image/png;base64,') == text.count('<figure class="case">') >= 4
    assert "is in two of the splits" in text
    first = (run / "report.html").read_bytes()
    assert main(["report", f"run={run}", "cases=2", f"output={tmp_path / 'again.html'}"]) == 0
    assert (tmp_path / "again.html").read_bytes() == first
    capsys.readouterr()
    assert main(["report"]) == 2
    assert "say which run" in capsys.readouterr().err
    assert main(["report", f"run={run}", "cases=-1"]) == 2
    assert main(["report", f"run={run}", "+data.patients=20"]) == 2
    assert "only" in capsys.readouterr().err
