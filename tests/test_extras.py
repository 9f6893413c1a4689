"""One family's libraries are no other's: what is missing stops what needs it, with one line, and nothing else."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medzoo.data import extras
from medzoo.data.errors import MissingDependencyError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {
    extra: {canonicalize_name(Requirement(text).name) for text in texts}
    for extra, texts in PROJECT["optional-dependencies"].items()
}
TINY = ["data.size=32", "data.patients=24", "trainer.epochs=1", "trainer.batch_size=16", "evaluation.replicates=20"]
CNN = ["train", "data=phantom", "model=cnn", "model.backbone=test_resnet", *TINY]
OF_FAMILIES = [
    "open_clip", "transformers", "tokenizers", "ftfy", "monai", "nibabel", "tensorboard", "pydicom", "tifffile", "openpyxl",
]  # fmt: skip
"""Modules that a CNN on 2D images has no use for."""
BLOCKED = """
import contextlib, io, json, sys
blocked, commands = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))
from medzoo.cli import main
for number, command in enumerate(commands):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main([*command, f"run=run{number}"])
    print(json.dumps([status, said.getvalue().splitlines()]))
"""


def run_without(blocked: list[str], folder: Path, *commands: list[str]) -> list[tuple[int, list[str]]]:
    """Return the status and the lines on standard error of commands where modules cannot be imported."""
    program = [sys.executable, "-W", "ignore", "-c", BLOCKED, json.dumps([blocked, commands])]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [(status, lines) for status, lines in map(json.loads, done.stdout.splitlines())]


def test_a_cnn_needs_no_other_familys_library_and_the_others_say_theirs(tmp_path: Path) -> None:
    clip = ["train", "data=phantom", "model=clip", "model.backbone=clip_tiny", *TINY]
    volumes = ["train", "data=phantom", "data.dims=3", "model=cnn3d", *TINY]
    results = run_without(
        OF_FAMILIES, tmp_path, CNN, clip, ["train", "data=phantom", "model=clip_image", "model.backbone=clip_tiny", *TINY],
        volumes, [*CNN, "trainer.trackers=[tensorboard]"],
    )  # fmt: skip
    assert results[0] == (0, [])
    for (status, lines), (module, extra) in zip(
        results[1:],
        [("open_clip", "clip"), ("open_clip", "clip"), ("monai", "volumes"), ("tensorboard", "trackers")],
        strict=True,
    ):
        assert status == 2
        (line,) = lines
        assert line.startswith("medzoo: ")
        assert line.endswith(f"need {module}: pip install 'medzoo[{extra}]'") or line.endswith(
            f"needs {module}: pip install 'medzoo[{extra}]'"
        )


@pytest.mark.slow
def test_a_text_tower_of_hugging_face_says_that_it_needs_transformers(tmp_path: Path) -> None:
    clip = ["train", "data=phantom", "model=clip", "model.backbone=roberta-ViT-B-32", *TINY]
    ((status, lines),) = run_without(["transformers"], tmp_path, clip)
    assert status == 2
    assert lines == ["medzoo: Hugging Face text towers need transformers: pip install 'medzoo[clip]'"]


@pytest.mark.slow
def test_without_albumentations_a_cnn_trains_and_a_list_of_its_names_is_one_line(tmp_path: Path) -> None:
    own = [*CNN, "trainer.augment=[{name: RandomGamma}]"]
    plain, listed = run_without(["albumentations"], tmp_path, CNN, own)
    assert plain == (0, [])
    told = "augmentation RandomGamma is none of torchvision's own; for albumentations' pip install 'medzoo[augment]'"
    assert listed == (2, [f"medzoo: {told}"])


def test_all_is_all() -> None:
    (requirement,) = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert requirement.extras == set(DECLARED) - {"all", "cpu", "gpu", "test", "dev", "docs"}


def imported(source: str) -> set[str]:
    """Return the first words of all modules that Python code imports when it runs."""
    nodes = list(ast.walk(ast.parse(source)))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in named}


BY_OTHERS = {"regex": "open_clip_torch", "openvino": None}
"""Modules that are used and not declared → the declared distribution that requires them; None: it is tried where it is there."""


def test_every_library_that_is_imported_is_declared() -> None:
    used = set[str]().union(
        *(imported(path.read_text()) for room in ("zoo", "data", "export") for path in (ROOT / room).rglob("*.py"))
    )
    known = set(map(canonicalize_name, (Requirement(text).name for text in PROJECT["dependencies"]))).union(*DECLARED.values())
    undeclared = {
        name for name in used - set(sys.stdlib_module_names) - {"medzoo", *BY_OTHERS}
        if canonicalize_name(extras.DISTRIBUTIONS.get(name, name)) not in known
    }  # fmt: skip
    assert undeclared == set()
    assert {canonicalize_name(name) for name in BY_OTHERS.values() if name} <= known


def test_the_extras_are_read_from_the_installed_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy<3", 'Open_CLIP.torch[x]<4,>=3.0; extra == "clip"', "ftfy>=1; extra == 'clip'", 'ftfy>=1; extra == "text"',
        'medzoo[clip]; extra == "all"', 'ftfy; extra == "dev"', 'big>1; (python_version < "4") and extra == "a-b"',
    ]  # fmt: skip
    monkeypatch.setattr(extras, "requires", lambda name: lines)
    extras._brought.cache_clear()
    try:
        assert extras.brought_by("clip") == ("Open_CLIP.torch", "ftfy")
        assert extras.brought_by("all") == ()
        assert extras.missing("open_clip.model") == "open_clip: pip install 'medzoo[clip]'"
        assert extras.missing("ftfy") == "ftfy: pip install 'medzoo[text]'"  # the smaller one
        assert extras.missing("big") == "big: pip install 'medzoo[a-b]'"
        assert extras.missing("sklearn") == "sklearn: pip install scikit-learn"
    finally:
        extras._brought.cache_clear()


def test_a_module_of_ours_that_is_missing_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError) as raised, extras.needed_for("tests"):
        import medzoo.not_there  # noqa: F401
    assert not isinstance(raised.value, MissingDependencyError)
    with (
        pytest.raises(MissingDependencyError, match=r"^tests need nobody_has_this: pip install nobody_has_this$"),
        extras.needed_for("tests"),
    ):
        import nobody_has_this.inside  # noqa: F401


def test_every_extra_that_prose_names_exists() -> None:
    texts = [
        path for room in ("zoo", "data", "export", "docs") for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".md")
    ]
    named = {
        extra
        for path in (*texts, ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for group in re.findall(r"medzoo\[([\w,]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert named - set(DECLARED) == set()
    assert {"clip", "volumes", "train", "cpu"} <= named
