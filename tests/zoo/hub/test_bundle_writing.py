"""What would be written into a bundle is refused, since it would no longer load; a copy without its manifest is a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import medzoo
from medzoo.cli import main
from medzoo.store.directory import MANIFEST


@pytest.fixture(scope="module")
def bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bundle")
    shutil.copytree(trained_run, home / "run", ignore=shutil.ignore_patterns("*.onnx", "model.json", "state", "export*"))
    assert main(["push", f"run={home / 'run'}", f"output={home / 'bundle'}"]) == 0
    return home / "bundle"


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate"],
        ["evaluate", "predict=false"],
        ["report"],
        ["report", "output=RUN/pages/report.html"],
        ["robustness"],
        ["intervene"],
        ["explain", "sample=x"],
        ["explain", "measure=deletion"],
        ["export"],
        ["export", "output=elsewhere.onnx"],
        ["card"],
        ["bench"],
    ],
)
def test_verbs_that_write_into_a_run_refuse_a_bundle(bundle: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([words[0], f"run={bundle}", *(word.replace("RUN", str(bundle)) for word in words[1:])]) == 2
    said = capsys.readouterr().err
    assert f"medzoo: {bundle} is a bundle" in said
    assert said.count("\n") == 1
    assert f"copy the folder, remove {MANIFEST} from the copy" in said
    assert medzoo.load(f"local-dir:{bundle}") is not None


def test_a_training_neither_goes_on_from_a_bundle_nor_lies_in_one(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"resume={bundle}"]) == 2
    assert "holds no state to go on from" in capsys.readouterr().err
    tiny = ["data=phantom", "data.size=24", "data.patients=16", "model.backbone=test_resnet", "device=cpu"]
    assert main(["train", *tiny, f"run={bundle / 'run'}"]) == 2
    assert f"lies in the bundle {bundle}" in capsys.readouterr().err
    assert medzoo.load(f"local-dir:{bundle}") is not None


def test_what_the_refusal_advises_works_and_results_may_go_elsewhere(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    run = f"run={tmp_path / 'run'}"
    assert main(["evaluate", run, "evaluation.replicates=2", "device=cpu"]) == 0
    assert main(["report", run, "cases=0"]) == 0
    assert main(["card", f"run={bundle}", f"output={tmp_path / 'card.md'}"]) == 0
    assert main(["export", run, "images=4"]) == 0
    assert medzoo.load(f"local-dir:{bundle}") is not None
