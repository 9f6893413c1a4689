"""The rules of the house that no linter knows: where imports stand, how large files and folders are, who asks for a family."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOMES = {"zoo": "medzoo", "data": "medzoo.data", "export": "medzoo.export", "conf": "medzoo.conf"}
PRODUCT = sorted(path.relative_to(ROOT) for home in HOMES for path in (ROOT / home).rglob("*.py"))

MAY_IMPORT_LATE = {
    "zoo/cli.py": "--help and the light verbs must not wait for torch",
    "data/registry.py": "listing datasets needs neither pandas nor a dataset's module",
    "zoo/models/registry.py": "one family's network must not bring the libraries of all",
    "zoo/tasks/registry.py": "one task must not bring the libraries of all",
    "zoo/commands/search.py": "a search by name must not wait for torch",
    "zoo/models/clip/": "open_clip costs seconds, and is not needed by a model without text",
}
"""Files and folders where a function may import from medzoo, and the weight it saves; every `__init__.py` beside them."""

MOST_LINES, MOST_FILES = 350, 17
PEERS = {
    "tests/data/datasets": "a test and a generator of files for each dataset: alike, and none knows another",
    "zoo/commands": "a file for each verb, called as it is",
    "tests/zoo/commands": "a test for each verb",
    "zoo/tasks": "a file for each family, and what all stand on",
    "zoo/tasks/setup": "what builds each family from settings",
}
"""Folders whose files are alike, so that their number makes nothing harder to find."""

TASKS = {"Task", "TrainableTask", "Classify", "Contrast", "Bottleneck"}
KNOW_FAMILIES = ("zoo/tasks/", "zoo/models/")


def late_imports(source: str) -> Iterator[str]:
    """Yield the imports of medzoo that stand in a function."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    seen = {node for function in functions for node in ast.walk(function)}
    for node in sorted((n for n in seen if isinstance(n, ast.Import | ast.ImportFrom)), key=lambda n: n.lineno):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        if any(module.split(".")[0] == "medzoo" for module in modules):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def family_questions(source: str) -> Iterator[str]:
    """Yield where code asks which family or task it holds: by class, by the name it compares, by `match`."""
    nodes = (node for node in ast.walk(ast.parse(source)) if hasattr(node, "lineno"))
    for node in sorted(nodes, key=lambda node: node.lineno):
        asked = False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass"):
            asked = any(_last(part) in TASKS for part in ast.walk(node.args[1]))
        elif isinstance(node, ast.Compare):
            by_name = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
            asked = by_name and any(_is_kind(side) for side in (node.left, *node.comparators))
        elif isinstance(node, ast.Match):
            asked = _is_kind(node.subject) or any(_last(p.cls) in TASKS for p in ast.walk(node) if isinstance(p, ast.MatchClass))
        if asked:
            yield f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}"


def _last(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _is_kind(node: ast.AST) -> bool:
    """Return whether an expression is `x.family`, `x.task`, `x["family"]` or `x["task"]`."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value in ("family", "task")
    return isinstance(node, ast.Attribute) and node.attr in ("family", "task")


def _found(check: Callable[[str], Iterator[str]], skip: Callable[[str], bool]) -> list[str]:
    return [f"{path} {found}" for path in PRODUCT if not skip(path.as_posix()) for found in check((ROOT / path).read_text())]


def test_medzoo_is_imported_in_functions_for_weight_alone() -> None:
    late = _found(late_imports, lambda path: path.endswith("__init__.py") or path.startswith(tuple(MAY_IMPORT_LATE)))
    assert not late, "\n".join(late)


def test_nobody_asks_for_a_family_but_tasks_and_models() -> None:
    asked = _found(family_questions, lambda path: path.startswith(KNOW_FAMILIES))
    assert not asked, "\n".join(asked)


def test_no_file_is_too_long() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in PRODUCT}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_folder_holds_too_many_unlike_files() -> None:
    counts = Counter(path.parent for path in PRODUCT)
    counts.update(path.relative_to(ROOT).parent for path in (ROOT / "tests").rglob("*.py"))
    full = {folder.as_posix(): count for folder, count in counts.items() if count > MOST_FILES}
    assert {folder: count for folder, count in full.items() if folder not in PEERS} == {}
    assert all((ROOT / folder).is_dir() for folder in PEERS)


def test_every_package_is_listed() -> None:
    """One that is not imports from an editable install and is missing from the wheel."""
    folders = {path.parent for path in PRODUCT}
    here = {".".join([HOMES[folder.parts[0]], *folder.parts[1:]]) for folder in folders}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(here) == sorted(listed)
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from medzoo.data import a\nif TYPE_CHECKING:\n    import medzoo.b", 0),
        ("def f():\n    import numpy\n    from medzoon import a", 0),
        ("def f():\n    from medzoo.data import a", 1),
        ("class A:\n    async def f(self):\n        def g():\n            import medzoo.data as d, os", 1),
        ("def f():\n    if x:\n        import medzoo\n    from medzoo import load", 2),
    ],
)
def test_an_import_in_a_function_is_found(source: str, count: int) -> None:
    assert len(list(late_imports(source))) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("isinstance(task, nn.Module) or task.model is None or spec.task is None", 0),
        ("family = spec.family\nshown[spec.task] = 1\nspec.tasks == 2\ntask == 'x'", 0),
        ("isinstance(task, Contrast)", 1),
        ("assert isinstance(self.task, (Classify, tasks.Bottleneck))", 1),
        ("issubclass(kind, Classify | Contrast)", 1),
        ("spec.family == 'cnn'", 1),
        ("'clip' != run.spec.family", 1),
        ("a = config.model.family not in NAMED and spec.task in ('contrast',)", 2),
        ("card['spec']['task'] == 'contrast'", 1),
        ("match spec.task:\n    case 'contrast':\n        pass", 1),
        ("match task:\n    case Contrast():\n        pass", 1),
    ],
)
def test_a_question_for_the_family_is_found(source: str, count: int) -> None:
    assert len(list(family_questions(source))) == count
