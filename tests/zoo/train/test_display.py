"""Bars on a terminal, nothing elsewhere; looking through data needs no torch for it."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from medzoo.train.display import Display


def shown(terminal: bool, main: bool = True) -> str:
    display, stream = Display(main), io.StringIO()
    display.console = Console(file=stream, force_terminal=terminal, quiet=not main, highlight=False, width=100)
    with display.bar("images", 4) as move:
        move(advance=3)
    with display.epoch("epoch 1/2", 8, 2) as advance:
        advance(0.25)
    display.say("done [1]")
    return stream.getvalue()


def test_a_terminal_has_a_bar_for_images_and_epochs() -> None:
    text = shown(terminal=True)
    assert "images" in text
    assert "3/4" in text
    assert "epoch 1/2 loss 0.2500" in text
    assert "3/8" in text
    assert text.endswith("done [1]\n")


@pytest.mark.parametrize(("main", "said"), [(True, "done [1]\n"), (False, "")])
def test_elsewhere_there_are_lines_alone_and_of_rank_0(main: bool, said: str) -> None:
    assert shown(terminal=False, main=main) == said


def test_a_bar_needs_no_torch() -> None:
    program = "import sys, medzoo.train.display; print(sorted({'torch', 'accelerate', 'omegaconf'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
