"""Libraries that speak of themselves while they work, and raise an exception when they fail."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_library(*, output: bool = False) -> Iterator[None]:
    """Keep a library's log up to warnings to itself; with `output` logged errors, Python warnings and what it prints, too."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR if output else logging.WARNING)
    with contextlib.ExitStack() as stack:
        stack.callback(logging.disable, before)
        if output:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield
