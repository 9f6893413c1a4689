"""The report in a real browser, at the width of a desk and of a phone: it asks for nothing, fails nowhere and fits the screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from tests.conftest import TINY
from tests.export.service.browser import Browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of so few patients that cells are marked, and what the marks mean is hidden beside them."""
    run = tmp_path_factory.mktemp("few") / "run"
    few = ["data.patients=14", "trainer.epochs=1", "trainer.batch_size=8", "evaluation.replicates=50"]
    assert main(["train", *TINY[:2], *TINY[3:], *few, f"run={run}"]) == 0
    assert main(["report", f"run={run}"]) == 0
    return run / "report.html"


@pytest.mark.parametrize("width", [1280, 420])
def test_a_report_fits_the_screen_and_asks_for_nothing(width: int, report: Path) -> None:
    """Wide tables are scrolled in themselves, what is hidden in them included."""
    program = chromium()
    assert program is not None
    with Browser(program) as page:
        page.open(report.as_uri(), width=width, height=900)
        page.wait("document.readyState === 'complete'")
        assert page.evaluate("document.querySelectorAll('td .away').length") > 0
        # Not of innerWidth, which on a phone grows with the page.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert [asked for asked in page.requests if not asked.startswith(("file:", "data:"))] == []
        assert page.errors == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 600 pictures: 200 classes, some of them unknown, and one finding, which a third of the pictures lack."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = ["image,patient,diagnosis,nodule"]
    for k in range(600):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        name = f"class number {k % 200:03d} of two hundred" if k % 7 else ""
        lines.append(f"{k}.png,p{k // 2},{name},{k // 3 % 2 if k % 3 else ''}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(("target", "kind", "classes"), [("nodule", "multilabel", 1), ("diagnosis", "multiclass", 200)])
def test_one_class_and_two_hundred_without_subgroups_by_keyboard(
    target: str, kind: str, classes: int, pictures: Path, tmp_path: Path
) -> None:
    program, run = chromium(), tmp_path / "run"
    assert program is not None
    options = [
        "data=table", f"data.file={pictures / 'table.csv'}", "data.image=image", "data.group=patient", f"data.target=[{target}]",
        f"data.kind={kind}", "model.backbone=test_resnet", "trainer.epochs=1", "trainer.trackers=[]", "evaluation.replicates=20",
    ]  # fmt: skip
    if classes > 1:
        options[4] = f"data.target={target}"
    assert main(["train", *options, f"run={run}"]) == 0
    assert main(["report", f"run={run}"]) == 0
    with Browser(program) as page:
        for width in (1280, 420):
            page.open((run / "report.html").as_uri(), width=width, height=900)
            page.wait("document.readyState === 'complete'")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.errors == []
        assert [asked for asked in page.requests if not asked.startswith(("file:", "data:"))] == []
        assert page.evaluate("document.querySelector('#subgroups') === null")
        titles = page.evaluate(
            "[...document.querySelectorAll('#curves svg')].map(s => s.textContent.match(/: [01][.][0-9]{3}/g).length)"
        )
        assert titles == [min(classes, 12)] * 2
        # The summary's table, by the first of its buttons: Tab leads there, Enter sorts, and Enter turns the order.
        column = "[...document.querySelectorAll('#summary tbody tr')].map(row => row.cells[0].textContent)"
        for _ in range(40):
            page.press("Tab")
            if page.evaluate("document.activeElement.matches('#summary th button')"):
                break
        assert page.evaluate("document.activeElement.textContent") == "split"
        page.press("Enter")
        assert page.evaluate(column) == ["test", "val"]
        page.press("Enter")
        assert page.evaluate(column) == ["val", "test"]
        closed = "[...document.querySelectorAll('details')].filter(one => !one.open).length"
        before = page.evaluate(closed)
        for _ in range(80):
            page.press("Tab")
            if page.evaluate("document.activeElement.matches('summary')"):
                break
        page.press("Enter")
        assert page.evaluate(closed) == before - 1
