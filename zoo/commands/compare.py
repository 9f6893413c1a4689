"""`medzoo compare`: runs side by side as one Markdown page, made from their metrics.json, spec.json and config.yaml alone.

Of a bottleneck on a trained run, that run's config.yaml is read, too, where it is at hand.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.evaluation.bootstrap import value_text
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.models.trained import is_run
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file

DEFAULT_METRICS = {
    "multiclass": ("auroc", "balanced_accuracy", "f1", "ece"),
    "ordinal": ("kappa", "mae", "auroc", "balanced_accuracy", "f1"),
    "multilabel": ("auroc", "ap", "f1", "ece"),
    "regression": ("mae", "r2", "spearman"),
}
SEEDS = (
    "seed", "run", "data.draw_seed", "data.root", "device", "trainer.workers", "trainer.trackers", "trainer.metrics",
    "evaluation.extra", "debug",
)  # fmt: skip
"""Settings that do not part runs: what is drawn, and where, and what else is looked at."""


@dataclass(frozen=True)
class Result:
    """What one run says of itself.

    Attributes:
        name: Folder name.
        config: The run's configuration.
        spec: Its model's spec.
        report: Its metrics.json.
    """

    name: str
    config: Mapping[str, Any]
    spec: ModelSpec
    report: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a run directory; CheckpointError if it is not one, EvaluationError if it has not been evaluated."""
        run = RunDirectory.open(path)
        if not run.metrics.is_file():
            raise EvaluationError(f"{path} has no metrics.json; make it with medzoo evaluate run={path}")
        try:
            report = json.loads(run.metrics.read_text(encoding="utf-8"))
            config = run.settings()
            whole = {"labels", "interval", "splits"} <= set(report) or "retrieval" in report
            whole = whole and {"data", "model", "trainer", "seed"} <= set(config)
        except (OSError, ValueError, TypeError) as error:
            raise EvaluationError(f"{path}: metrics.json is damaged ({type(error).__name__}); evaluate the run again") from error
        if not whole:
            raise EvaluationError(f"{path}: metrics.json or config.yaml is damaged (a part is missing); evaluate the run again")
        return cls(path.resolve().name, config, ModelSpec.read(run.spec), report)

    def tested_on(self, split: str) -> str:
        """Return the checksum of the rows that the report's split had; empty in reports of an earlier medzoo."""
        data = self.report.get("details", {}).get("data", {})
        return str(data.get("splits", {}).get(split, {}).get("table", ""))

    def metric(self, split: str, name: str) -> Mapping[str, Any]:
        """Return `value, low, high` of a metric; UnknownNameError if the run's report has no such split or metric."""
        splits = self.report["splits"]
        if split not in splits:
            raise UnknownNameError("split", split, splits, where=f" in {self.name}")
        metrics: Mapping[str, Mapping[str, Any]] = {**self.extra(split), **splits[split]["metrics"]}
        called = [text for text in self.extra(split) if text.split("(")[0] == name]  # by name alone, where one has it
        if name not in metrics and len(called) != 1:
            raise UnknownNameError("metric", name, metrics, where=f" in {self.name}")
        return metrics[name if name in metrics else called[0]]

    def extra(self, split: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the metrics of a split that were asked for by name (`evaluation.extra`), and are no others' of that name."""
        part = self.report["splits"].get(split, {})
        return {text: metric for text, metric in part.get("extra", {}).items() if text not in part["metrics"]}


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status, and raises a MedzooError on a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="medzoo compare", description="Compare runs; those that differ in seed are pooled.")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--metrics", nargs="+", help="columns; default: by label kind")
    parser.add_argument("--split", default="test")
    parser.add_argument("--title", default="Results")
    parser.add_argument("--note", action="append", default=[], help="a line above the tables, such as the machine")
    parser.add_argument("--output", type=Path, help="Markdown file to write; default: the terminal")
    given = parser.parse_args(list(arguments))
    # Without title and notes, which stand on the page as they are.
    words = ["medzoo", "compare", *map(str, given.runs), "--split", given.split]
    words += ["--metrics", *given.metrics] if given.metrics else []
    made = f"The tables are made by `{shlex.join(words)}`."
    page = comparison([Result.read(path) for path in given.runs], split=given.split, metrics=given.metrics, title=given.title,
                      notes=[*given.note, made])  # fmt: skip
    if given.output is None:
        print(page, end="")
    else:
        write_file(given.output, page.encode("utf-8"))
    return 0


def comparison(
    results: Sequence[Result], *, split: str = "test", metrics: Sequence[str] | None = None, title: str = "Results",
    notes: Sequence[str] = ()
) -> str:  # fmt: skip
    """Return a Markdown page: a section a dataset and table, a row a setting, with mean and spread over seeds, then every run.

    Args:
        results: At least one.
        split: Which split's figures.
        metrics: Columns; None: by label kind, with what all runs of a section were evaluated by, too.
        title: Heading.
        notes: Paragraphs below it.

    Raises:
        UnknownNameError: If a run lacks the split or a metric.
    """
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [note, ""]
    sections: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        sections.setdefault((str(result.spec.data["name"]), result.tested_on(split)), []).append(result)
    for (dataset, table), members in sections.items():
        kind = members[0].report["labels"]["kind"]
        shared = [text for text in members[0].extra(split) if all(text in member.extra(split) for member in members)]
        columns = list(metrics or [*DEFAULT_METRICS[kind], *shared])
        part = members[0].report["splits"].get(split, {})
        unit = members[0].report["interval"]["unit"]
        rows = f", table {table[:12]}" if table else ""
        lines += [f"## {dataset}, {split} ({part.get('samples')} samples, {part.get('groups')} {unit} groups{rows})", ""]
        lines += _table(["setting", "training", "runs", *columns], _pooled(members, split, columns))
        lines += [f"Every run, with {members[0].report['interval']['level']:.0%} intervals "
                  f"({members[0].report['interval']['method']}):", ""]  # fmt: skip
        lines += _table(["run", "seed", *columns], _single(members, split, columns))
    return "\n".join(lines).rstrip() + "\n"


def _pooled(members: Sequence[Result], split: str, columns: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[Result]] = {}
    for result in members:
        groups.setdefault(_setting(result), []).append(result)
    for group in groups.values():
        seeds = [r.config["seed"] for r in group]
        twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
        if twice is not None:
            same = [r.name for r in group if r.config["seed"] == twice]
            raise EvaluationError(f"{' and '.join(same)} have the same settings and the same seed {twice}; leave one out")
    rows = []
    for group in groups.values():
        row = [_common_name([r.name for r in group]), _recipe(group[0]), str(len(group))]
        for column in columns:
            values = [r.metric(split, column)["value"] for r in group]
            known = [v for v in values if v is not None]
            spread = f" ± {stdev(known):.3f}" if len(known) > 1 else ""
            row.append(f"{mean(known):.3f}{spread}" if known else "undefined")
        rows.append(row)
    return rows


def _single(members: Sequence[Result], split: str, columns: Sequence[str]) -> list[list[str]]:
    rows = []
    for result in members:
        metrics = [result.metric(split, column) for column in columns]
        texts = [value_text(metric["value"], metric["low"], metric["high"]) for metric in metrics]
        rows.append([result.name, str(result.config["seed"]), *texts])
    return rows


def _recipe(result: Result) -> str:
    """Return a run's training in one line."""
    model, trainer, data = result.config["model"], result.config["trainer"], result.config["data"]
    words = [f"{result.spec.architecture} at {'x'.join(map(str, result.spec.preprocess.size))}"]
    objective, untrained = result.spec.objective, _untrained(result)
    if untrained:
        words.append("frozen")
    elif earlier := result.spec.data.get("learnt_from"):
        words.append(f"pretrained on {', '.join(str(card['name']) for card in earlier)}")
    else:
        words.append("pretrained" if model.get("pretrained") or model.get("checkpoint_path") else "from scratch")
    for key in ("shots", "fraction"):
        if data.get(key) is not None:
            words.append(f"{key}={data[key]}")
    if model.get("neighbours"):
        return ", ".join([*words, f"{model['neighbours']} nearest neighbours on frozen features"])
    if result.spec.concepts is not None:
        words.append(f"{objective['regime']} {objective['kind']} bottleneck")
        words += ["residual path"] if objective.get("residual") else []
        words += ["shuffled concepts"] if (model.get("bottleneck") or {}).get("shuffle_concepts") else []
    if untrained:
        return ", ".join(words)
    words.append(str(objective.get("classes", objective)["loss"]))
    if trainer["finetune"] != "full":
        words.append(trainer["finetune"])
    if (training := result.spec.training) is not None:
        return ", ".join([*words, f"solved, penalty by val {training['monitor']}"])
    words.append(f"{trainer['optimizer']} {trainer['learning_rate']:g} {trainer['schedule']}")
    words.append(f"batch {trainer['batch_size']}, {trainer['epochs']} epochs, augment {trainer['augment']}")
    details = result.report.get("details", {})
    words += [str(details["training"])] if "training" in details else []
    words += [f"epoch by {details['chosen_by']}"] if "chosen_by" in details else []
    return ", ".join(words)


def _untrained(result: Result) -> bool:
    """Whether the run is a bottleneck on a network that stayed as it was."""
    return result.spec.objective.get("regime") in FROZEN


def _backbone_run(result: Result) -> Path | None:
    """Return the trained run that a network started from or stands on; None if that is published weights, or nothing."""
    model = result.config["model"]
    if not _untrained(result):
        return Path(model["backbone"]).expanduser() if result.spec.data.get("learnt_from") else None
    if not model.get("backbone"):
        return None
    published = model["backbone"].startswith(("hf-hub:", "local-dir:")) or model.get("pretrained") or model.get("checkpoint_path")
    if result.spec.objective["regime"] == "language" and published:
        return None
    return Path(model["backbone"]).expanduser()


def _without_seeds(config: Mapping[str, Any]) -> str:
    def part(value: Any, prefix: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: part(v, f"{prefix}{k}.") for k, v in value.items() if f"{prefix}{k}" not in SEEDS}

    return json.dumps(part(config, ""), sort_keys=True)


def _setting(result: Result) -> str:
    """Return all that parts one setting from another: the configuration without its seeds, and how it was evaluated.

    A backbone that is a run differs from seed to seed by its path; what it is and how it was trained stand for it.
    """
    details = result.report.get("details", {})
    evaluated = {key: details.get(key) for key in ("checkpoint", "tta", "training")}
    own = result.config["data"] if result.config["data"].get("name") in ("folder", "table") else {}
    config, below, run = dict(result.config), None, _backbone_run(result)
    if run is not None:
        config["model"] = {key: value for key, value in config["model"].items() if key != "backbone"}
        below = [result.spec.family, result.spec.architecture, _training(run)]
    return json.dumps([_without_seeds(config), evaluated, own.get("root"), own.get("file"), below], sort_keys=True)


def _training(run: Path) -> list[str]:
    """Return how a run, and those that it started from, were trained; of one that is not there its path, which parts it."""
    file = RunDirectory(run).config
    if not file.is_file():
        return [str(run)]
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    start = str(config["model"]["backbone"])
    if not is_run(start):
        return [_without_seeds(config)]
    config["model"] = {**config["model"], "backbone": None}
    return [_without_seeds(config), *_training(Path(start).expanduser())]


def _common_name(names: Sequence[str]) -> str:
    """Return what run names share, without the number at their end."""
    first = names[0]
    length = next((i for i in range(len(first), 0, -1) if all(n.startswith(first[:i]) for n in names)), 0)
    return re.sub(r"[-_.](seed)?\d*$", "", first[:length]) or first


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
