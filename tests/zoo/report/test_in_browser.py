"""The report in a real browser, at the width of a desk and of a phone: it asks for nothing, fails nowhere and fits the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

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
