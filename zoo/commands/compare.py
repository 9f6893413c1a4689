"""`medzoo compare`: runs side by side, by their reports; or, on the same samples, by their predictions: docs/comparison.md."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from medzoo.commands.compared.html import of_differences, of_runs
from medzoo.commands.compared.page import comparison, comparison_csv
from medzoo.commands.compared.paired import compare_runs
from medzoo.commands.compared.result import Result, require_alike
from medzoo.data.errors import ConfigError
from medzoo.evaluation.attention import COPIES
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.comparison.page import as_text
from medzoo.evaluation.comparison.paired import Asked
from medzoo.store.storage import write_file

FORMATS = ("markdown", "csv", "html", "json")
BY_PREDICTIONS = ("--paired", "--pool-folds", "--readers")
NEED_THEM = ("margin", "all_pairs", "classes", "threshold", "replicates", "level", "seed")
"""Options that mean nothing without predictions."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status, and raises a MedzooError on a mistake of the user's."""
    given = _parser().parse_args(list(arguments))
    # Without title and notes, which stand on the page as they are.
    words = ["medzoo", "compare", *_repeated(given)]
    made = f"The tables are made by `{shlex.join(words)}`."
    results = [Result.read(path) for path in given.runs]
    require_alike(results)
    given.note = [*_leaks(results), *given.note]
    if given.paired or given.pool_folds or given.readers:
        plain = Interval()
        interval = Interval(
            plain.replicates if given.replicates is None else given.replicates,
            plain.level if given.level is None else given.level,
            plain.seed if given.seed is None else given.seed,
        )
        if given.threshold is not None and not given.readers:
            raise ConfigError("--threshold is of the models' answers beside readers; give --readers, or leave it out")
        if (given.all_pairs or given.classes) and not given.paired:
            raise ConfigError("--all-pairs and --classes are of differences between runs; give --paired, or leave them out")
        asked = Asked(
            tuple(given.metrics or ()), interval, tuple(given.margin or ()), given.paired, given.all_pairs, given.classes,
            tuple(given.readers or ()), given.threshold,
        )  # fmt: skip
        report = compare_runs(results, given.split, asked, pool_folds=given.pool_folds)
        notes = [*given.note, made]
        html = given.format == "html"
        page = of_differences(report, given.title, notes) if html else as_text(report, given.format, given.title, notes)
    else:
        meant = [f"--{name.replace('_', '-')}" for name in NEED_THEM if getattr(given, name) not in (None, False)]
        meant += ["--format json"] if given.format == "json" else []
        if meant:
            raise ConfigError(f"{', '.join(meant)}: give {', '.join(BY_PREDICTIONS[:-1])} or {BY_PREDICTIONS[-1]} with it")
        split, notes = given.split or "test", [*given.note, made]
        if given.format == "csv":
            page = comparison_csv(results, split=split, metrics=given.metrics)
        elif given.format == "html":
            page = of_runs(results, split=split, metrics=given.metrics, title=given.title, notes=notes)
        else:
            page = comparison(results, split=split, metrics=given.metrics, title=given.title, notes=notes)
    if given.output is None:
        print(page, end="")
    else:
        write_file(given.output, page.encode("utf-8"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medzoo compare", description="Compare runs; those that differ in seed are pooled. docs/comparison.md"
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run directories, RUN/external/NAME, RUN/targets/NAME or RUN/by/COLUMN"
    )
    parser.add_argument("--metrics", nargs="+", help="columns; default: by label kind")
    parser.add_argument("--split", help="default: test; val with --pool-folds of data.folds")
    parser.add_argument("--title", default="Results")
    parser.add_argument("--note", action="append", default=[], help="a line above the tables, such as the machine")
    parser.add_argument("--format", choices=FORMATS, default="markdown", help="json has every figure of predictions")
    parser.add_argument("--output", type=Path, help="file to write; default: the terminal")
    paired = parser.add_argument_group("on the same samples, from predictions.parquet")
    paired.add_argument("--paired", action="store_true", help="differences from the first setting, with intervals and p-values")
    paired.add_argument("--all-pairs", action="store_true", help="of every pair of settings")
    paired.add_argument("--classes", action="store_true", help="of every class or finding, too")
    paired.add_argument("--margin", nargs="+", help="how much worse is no worse: 0.02, or auroc=0.02 ece=0.01")
    paired.add_argument("--pool-folds", action="store_true", help="join runs that are folds of one dataset, each patient once")
    paired.add_argument("--readers", nargs="+", help="TABLE [READER...], or columns that the predictions carry")
    paired.add_argument("--threshold", type=float, help="of models beside readers; default: the most probable class, or 0.5")
    paired.add_argument("--replicates", type=int, help="of the bootstrap over patients; default: 1000")
    paired.add_argument("--level", type=float, help="of intervals; default: 0.95")
    paired.add_argument("--seed", type=int, help="of the bootstrap; default: 0")
    return parser


def _leaks(results: Sequence[Result]) -> list[str]:
    """Return what is to be known before any figure: that a result is of what its network has learnt from."""
    found = [(result.name, entry) for result in results for entry in result.report.get("attention", [])]
    return [f"{name}: {entry['says']}" for name, entry in found if entry["kind"] in COPIES]


def _repeated(given: argparse.Namespace) -> list[str]:
    """Return the words that make the same page, without where it goes."""
    words = [*map(str, given.runs), "--split", given.split or "test"]
    if given.split is None and given.pool_folds:
        words = [*map(str, given.runs)]
    for name in ("paired", "all_pairs", "classes", "pool_folds"):
        words += [f"--{name.replace('_', '-')}"] if getattr(given, name) else []
    for name in ("metrics", "margin", "readers"):
        words += [f"--{name}", *getattr(given, name)] if getattr(given, name) else []
    for name in ("threshold", "replicates", "level", "seed"):
        words += [f"--{name}", str(getattr(given, name))] if getattr(given, name) is not None else []
    return words
