"""`medzoo suite`: a grid of trainings, run to its end however often it is stopped, and one page of what came out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medzoo.commands.compared.html import html_page
from medzoo.commands.compared.page import comparison_csv
from medzoo.commands.compared.result import Result
from medzoo.commands.suites.grid import Grid, Job
from medzoo.commands.suites.page import suite_parts
from medzoo.commands.suites.progress import Progress, command
from medzoo.data.errors import MedzooError
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.comparison.parts import markdown
from medzoo.store.storage import write_file

PAGE, HTML, FIGURES = "results.md", "results.html", "results.csv"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        MedzooError: Of a mistake in the grid before anything is trained; of jobs that failed when the others are done.
    """
    given = _parser().parse_args(list(arguments))
    grid = Grid.read(given.grid)
    folder = given.output or Path("runs") / given.grid.stem
    jobs, progress = grid.jobs(), Progress.read(folder)
    if given.list:
        for job in jobs:
            state = "done" if job.name in progress.done else "started" if job.name in progress.started else "to do"
            print(f"{state:<8}{job.name}: medzoo {' '.join(command(job))}")
        return 0
    interval = Interval(replicates=given.replicates)
    progress.check(jobs)
    left = [job for job in jobs if job.name not in progress.done]
    print(f"{len(jobs)} jobs, {len(jobs) - len(left)} done")
    failed: dict[str, MedzooError] = {}
    for number, job in enumerate(left, len(jobs) - len(left) + 1):
        if any(job.name.startswith(f"{name}/external/") for name in failed):
            continue  # of a run that is not there
        print(f"== {number} of {len(jobs)}: {job.name}", flush=True)
        try:
            progress.run(job)
        except MedzooError as error:
            print(f"failed: {error}", flush=True)
            failed[job.name] = error
    done = {job: replace(Result.read(folder / job.name), name=_short(job)) for job in jobs if job.name in progress.done}
    if done:
        _write(folder, grid, done, given.split or ("val" if grid.folds else "test"), interval, len(jobs))
    if failed:
        name, first = next(iter(failed.items()))
        more = f" ({len(failed)} jobs failed)" if len(failed) > 1 else ""
        raise MedzooError(f"{name}: {first}{more}; the others are done, and the same command tries it again")
    return 0


def _write(folder: Path, grid: Grid, done: dict[Job, Result], split: str, interval: Interval, jobs: int) -> None:
    notes = [f"{len(done)} of {jobs} jobs; differences by {interval.replicates} replicates over patients."]
    parts = suite_parts(grid, done, split, interval)
    write_file(folder / PAGE, markdown(folder.name, notes, parts).encode("utf-8"))
    write_file(folder / HTML, html_page(folder.name, notes, parts).encode("utf-8"))
    own = [result for job, result in done.items() if job.kind != "evaluate"]
    if own:
        write_file(folder / FIGURES, comparison_csv(own, split=split).encode("utf-8"))
    print(f"wrote {folder / PAGE}, {HTML} and {FIGURES}")


def _short(job: Job) -> str:
    """Return what a run is called on the page: `resnet-fold1-seed0`, of a test on other data with its name behind."""
    model, *rest = job.name.split("/")[1:]
    marks = sorted(part.replace("-", "") for part in rest if part.startswith(("seed-", "fold-")))
    return "-".join([model, *marks]) + (f"/{rest[-1]}" if job.kind == "evaluate" else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medzoo suite",
        description="Train a grid of datasets, models, seeds and folds, and compare them; called again, it does what is left. "
        "docs/suites.md",
    )
    parser.add_argument("grid", type=Path, help="YAML: data, models, zeroshot, seeds, folds, common, external, metric, reference")
    parser.add_argument("--output", type=Path, help="folder of the runs and the page; default: runs/<name of the grid>")
    parser.add_argument("--list", action="store_true", help="print every job with its command and whether it is done; run none")
    parser.add_argument("--split", help="whose figures; default: test, of folds val, where each patient is once")
    parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap of paired differences")
    return parser
