"""What must stay light: a deployment without torch imports these."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = [
    "medzoo", "medzoo.data", "medzoo.data.errors", "medzoo.data.labels", "medzoo.data.images.decode",
    "medzoo.export", "medzoo.export.runtime", "medzoo.export.runtime.model", "medzoo.export.commands.predict",
    "medzoo.export.commands.doctor", "medzoo.export.service", "medzoo.export.service.app", "medzoo.export.commands.serve",
    "medzoo.cli", "medzoo.data.text.tokenizer",
]  # fmt: skip


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_no_heavy_library(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{'torch', 'pandas', 'hydra', 'timm', 'torchmetrics'}} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_no_verb_imports_torchmetrics_before_a_metric_of_its_is_asked_for() -> None:
    """It takes seconds."""
    verbs = "medzoo.commands.train, medzoo.commands.evaluate, medzoo.commands.compare, medzoo.commands.zeroshot"
    program = f"import sys, {verbs}, medzoo.train.live, medzoo.evaluation.extra_report; print('torchmetrics' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_help_imports_nothing_and_says_every_verb() -> None:
    program = "import sys; from medzoo.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    text = subprocess.check_output([sys.executable, "-c", program], text=True)
    for verb in ("train", "evaluate", "export", "predict", "list"):
        assert f"  {verb}" in text


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    import medzoo

    with pytest.raises(AttributeError, match="nothing_here"):
        _ = medzoo.nothing_here
