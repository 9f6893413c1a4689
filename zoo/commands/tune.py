"""`medzoo tune`: settings searched by Optuna, trial after trial, however often it is stopped; the test split is not looked at."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from omegaconf import OmegaConf
from optuna.trial import TrialState

from medzoo.commands import evaluate
from medzoo.commands.compared.html import html_page
from medzoo.commands.compared.result import Result
from medzoo.commands.suites.written import Words
from medzoo.commands.tuning.asked import Asked
from medzoo.commands.tuning.best import FILE as BEST
from medzoo.commands.tuning.best import command, experiment
from medzoo.commands.tuning.outer import Judged, judge, optimism, outer_asked, outer_folder
from medzoo.commands.tuning.page import FOOTER, drawing, notes_of, state_of, tune_csv, tune_parts
from medzoo.commands.tuning.plan import Plan, plan
from medzoo.commands.tuning.search import Search
from medzoo.data.errors import ConfigError, MedzooError
from medzoo.evaluation.comparison.parts import markdown
from medzoo.settings.compose import typed
from medzoo.settings.schema import TrainConfig
from medzoo.settings.verbs import EvaluateConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file

FILE = "tune.json"
PAGE, HTML, FIGURES = "results.md", "results.html", "results.csv"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status.

    Raises:
        MedzooError: Of a mistake before anything is trained; where every trial has failed.
    """
    given = _parser().parse_intermixed_args(list(arguments))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file, words = _parted(given.what)
    asked = Asked.read(file, words, given.trials)
    folder = given.output or (None if file is None else Path("runs") / file.stem)
    if folder is None:
        raise ConfigError("say where the trials go: --output runs/tuned")
    begun = _begun(folder, asked)
    if given.list:
        return _list(Search(folder, asked) if begun else None)
    for search, name in _searches(folder, asked, begun):
        search.carry_out(name)
    return _close(folder, asked)


def _parted(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Part a file from settings."""
    files = [word for word in words if "=" not in word]
    if len(files) > 1 or (files and words[0] != files[0]):
        raise ConfigError(f"{files[-1]!r} is no setting; medzoo tune takes one file, then settings as KEY=VALUE")
    return (Path(files[0]), list(words[1:])) if files else (None, list(words))


def _begun(folder: Path, asked: Asked) -> bool:
    """Say whether a folder holds this search already; ConfigError if it holds another, or something else."""
    file = folder / FILE
    if not file.is_file():
        if folder.exists() and (not folder.is_dir() or any(path.name != "locks" for path in folder.iterdir())):
            raise ConfigError(f"{folder} holds no search (no {FILE}) and is not empty; give another --output")
        return False
    try:
        told: dict[str, Any] = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file} is damaged ({type(error).__name__}); give another --output") from error
    changed = [name for name, value in asked.told().items() if told.get(name) != value]
    if changed:
        raise ConfigError(
            f"{folder} was begun with another {' and '.join(changed)}, so its trials are not this search's; give another --output"
        )
    return True


def _searches(folder: Path, asked: Asked, begun: bool) -> list[tuple[Search, str]]:
    """Return the search itself and those within outer folds, each with what its lines begin with; all are checked before."""
    wanted: list[tuple[Path, Asked, Words, str]] = [(folder, asked, (), "")]
    for fold in range(asked.folds or 0):
        within, further = outer_asked(asked, fold)
        wanted.append((outer_folder(folder, fold), within, further, f"outer fold {fold}, "))
    plans: list[Plan | None] = [None] * len(wanted)
    if not begun:
        for place, (where, one, further, name) in enumerate(wanted):
            try:
                plans[place] = plan(one, further, where, every=place == 0)
            except MedzooError as error:
                raise ConfigError(f"{name}{error}") from error
        write_file(folder / FILE, json.dumps(asked.told(), indent=1, ensure_ascii=False).encode("utf-8"))
    made = []
    for (where, one, further, name), planned in zip(wanted, plans, strict=True):
        search = Search(where, one, further, planned)
        if not search.journal.begun:  # killed between two searches' beginnings
            search = Search(where, one, further, plan(one, further, where, every=False))
        made.append((search, name))
    search, ended = made[0][0], len(made[0][0].journal.trials())
    if search.journal.noted("tested") is not None and asked.trials > ended:
        raise ConfigError(
            f"the test split was looked at after {ended} trials, and the best of {asked.trials} would be chosen knowing it; "
            "search anew with another --output"
        )
    return made


def _close(folder: Path, asked: Asked) -> int:
    """Judge, test and write what has ended; the process that ends last finds all of it."""
    search, judged = Search(folder, asked), list[Judged]()
    for fold in range(asked.folds or 0):
        one = judge(Search(outer_folder(folder, fold), *outer_asked(asked, fold)), fold)
        judged += [] if one is None else [one]
    best = search.journal.best()
    with search.alone():
        tested = _tested(search) if asked.test and search.done and best is not None else None
        found = optimism(judged, search.journal.direction)
        notes, parts = notes_of(search), tune_parts(search, judged, found, tested)
        write_file(folder / PAGE, markdown(folder.name, notes, parts).encode("utf-8"))
        write_file(folder / HTML, html_page(folder.name, notes, parts, drawing(search), footer=FOOTER).encode("utf-8"))
        write_file(folder / FIGURES, tune_csv(search).encode("utf-8"))
        if best is not None:
            told, beside = experiment(asked.words(best.params))
            line = command(["--config-dir", f"{folder.name}/conf", "experiment=best", *beside, "run=..."])
            write_file(folder / BEST, f"# @package _global_\n# Trial {best.number}: {line}\n{told}".encode())
    print(f"wrote {folder / PAGE}, {HTML} and {FIGURES}")
    trials = search.journal.trials()
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if running := sum(not trial.state.is_finished() for trial in trials):
        print(f"{running} trials are being run by other processes; the one that ends last writes the whole page")
    if failed and best is None and not running:
        raise MedzooError(f"all {len(failed)} trials failed; trial {failed[0].number}: {failed[0].user_attrs.get('failed')}")
    if best is not None:
        more = f"; {len(failed)} failed" if failed else ""
        print(f"best: trial {best.number}, val {search.monitor} {best.value:.4f}{more}; its settings: {folder / BEST}")
    return 0


def _tested(search: Search) -> str:
    """Evaluate the best trial on test, once, and say what it reached."""
    best = search.journal.best()
    assert best is not None
    paths = search.runs(best.number)
    if search.journal.noted("tested") is None:
        for path in paths:
            settings: TrainConfig = typed(TrainConfig, OmegaConf.create(RunDirectory.open(path).settings()))
            splits = list(dict.fromkeys([*settings.evaluation.splits, "test"]))
            asked = replace(settings.evaluation, splits=splits)
            evaluate.main(EvaluateConfig(run=str(path), evaluation=asked, device=settings.device))
        search.journal.note("tested", best.number)
    said = []
    for path in paths:
        metrics = Result.read(path).report["splits"].get("test", {}).get("metrics", {})
        told = metrics.get(search.monitor) or next(iter(metrics.values()), None)
        name = search.monitor if search.monitor in metrics else next(iter(metrics), "")
        if told is not None and told["value"] is not None:
            interval = "" if told.get("low") is None else f" [{told['low']:.4f}, {told['high']:.4f}]"
            said.append(f"{name} {told['value']:.4f}{interval}")
    return f"On test, looked at once, after the last trial: {', '.join(said) or 'no figure is defined'}."


def _list(search: Search | None) -> int:
    trials = [] if search is None else search.journal.trials()
    for trial in trials:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        words = yaml.safe_dump(trial.params, default_flow_style=True, width=10_000, sort_keys=False).strip()
        print(f"{trial.number:>4}  {state_of(trial):<22}{value:<10}{words}")
    print(f"{len(trials)} trials begun")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medzoo tune",
        description="Search settings by validation; called again, it goes on where it was stopped. docs/tuning.md",
    )
    parser.add_argument(
        "what", nargs="+", metavar="FILE.yaml | KEY=VALUE",
        help="YAML: space, common, trials, sampler, pruner, seed, inner, folds, test; settings of all trials; and ranges: "
        "trainer.learning_rate='log(1e-5,1e-2)', model.backbone='choice(resnet18,resnet50)'",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="folder of the trials and the page; default: runs/<name of the file>")
    parser.add_argument("--trials", type=int, help="how many, in place of the file's number")
    parser.add_argument("--list", action="store_true", help="print the trials that there are; run none")
    return parser
