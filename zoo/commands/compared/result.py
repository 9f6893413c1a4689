"""A run, or a test of it on other data, as `medzoo compare` takes it: what it says of itself, and what parts it from others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.evaluation.calibration.recalibrate import as_scored
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.several import refuse_whole
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.models.trained import is_run
from medzoo.store.directory import BY, EXTERNAL, TARGETS, RunDirectory
from medzoo.store.spec import ModelSpec

SEEDS = (
    "seed", "run", "data.draw_seed", "data.root", "device", "trainer.workers", "trainer.trackers", "trainer.metrics",
    "evaluation.extra", "evaluation.operating_points", "evaluation.prevalence", "evaluation.decision_curve",
    "evaluation.intersections", "evaluation.interval", "evaluation.audit", "evaluation.by", "evaluation.vote", "debug",
    "evaluation.calibration", "evaluation.bins",
)  # fmt: skip
"""Settings that do not part runs: what is drawn, and where, and what else is looked at; and of what the report itself says how it
was made (`_evaluated`), for a run may be evaluated anew."""
BINS = 15
"""Of the calibration error, in reports of an earlier medzoo."""
LATER = ("data.", "loss.", "trainer.")
"""Groups of settings that have got new ones, null unless asked for."""


FOLDS = ("data.fold", "data.outer_fold", "data.held_out")
"""Settings that part folds of one dataset."""
OWN_FOLDS = (*FOLDS, "data.file", "data.split", "data.split_seed")
"""Those that part folds of one's own making, where `--pool-folds` says that there are any."""


@dataclass(frozen=True)
class Result:
    """What one run says of itself.

    Attributes:
        name: Folder name; of a test on other data with its run's in front, `first/external/clinic`.
        config: The run's configuration.
        spec: Its model's spec.
        report: Its metrics.json.
        files: Where its results lie.
    """

    name: str
    config: Mapping[str, Any]
    spec: ModelSpec
    report: Mapping[str, Any]
    files: RunDirectory

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a run directory; in one a test on other data, `external/<name>`, or what groups of rows say, `by/<columns>`.

        Or the results of one of several targets, `targets/<name>`; or what `medzoo zeroshot` wrote.

        Raises:
            CheckpointError: If it is neither.
            EvaluationError: If it has not been evaluated, or a file is damaged.
        """
        place, files = path.resolve(), RunDirectory(path)
        if files.zeroshot.is_file():
            return cls(place.name, *_by_prompts(files), files)
        if place.parent.name == BY and RunDirectory(place).predictions.is_file():  # groups of rows
            of_rows = cls.read(path / ".." / "..")
            return replace(of_rows, name=f"{of_rows.name}/{BY}/{place.name}", files=files, report=_read_report(files))
        whole = RunDirectory(place).whole
        if whole.path != place:  # one of several targets
            config, spec, name = whole.settings(), ModelSpec.read(whole.spec).of_target(place.name), whole.path.name
            return cls(f"{name}/{TARGETS}/{place.name}", config, spec, _read_report(files), files)
        elsewhere = place.parent.name == EXTERNAL and RunDirectory(place.parent.parent).config.is_file()
        run = RunDirectory.open(place.parent.parent if elsewhere else path)
        if not files.metrics.is_file():
            on = " on=<dataset>" if elsewhere else ""
            raise EvaluationError(f"{path} has no metrics.json; make it with medzoo evaluate run={run.path}{on}")
        report, config = _read_report(files), run.settings()
        if not {"data", "model", "trainer", "seed"} <= set(config):
            raise EvaluationError(f"{path}: config.yaml is damaged (a part is missing); evaluate the run again")
        name = f"{place.parent.parent.name}/{EXTERNAL}/{place.name}" if elsewhere else place.name
        return cls(name, config, ModelSpec.read(run.spec), report, files)

    @property
    def dataset(self) -> str:
        """The name of the dataset it was tested on."""
        data = self.report.get("details", {}).get("data", {})
        return str(data.get("name") or self.spec.data["name"])

    @property
    def domain(self) -> Mapping[str, Any] | None:
        """Return `column`, `held_out` and `trained_on` of a run that left one domain out, for its test; None of others."""
        found: Mapping[str, Any] | None = self.report.get("details", {}).get("data", {}).get("domain")
        return found

    def predictions(self, split: str) -> Predictions:
        """Return what it predicted of a split, calibrated where its figures are; UnknownNameError if it has no such split."""
        found = as_scored(Predictions.read(self.files.predictions), self.files, self.report)
        if split not in set(map(str, found.split)):
            raise UnknownNameError("split", split, set(map(str, found.split)), where=f" in the predictions of {self.name}")
        return found.of_split(split)

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


def _by_prompts(files: RunDirectory) -> tuple[dict[str, Any], ModelSpec, dict[str, Any]]:
    """Return settings, spec and report of results for which nothing was trained; EvaluationError if a file is damaged."""
    try:
        asked = json.loads(files.zeroshot.read_text(encoding="utf-8"))
        spec = ModelSpec.from_dict(asked.pop("spec"))
        report = json.loads(files.metrics.read_text(encoding="utf-8"))
        if not {"labels", "interval", "splits"} <= set(report):
            raise KeyError("splits")
        return {**asked, "data": dict(asked["data"]), "model": dict(asked["model"]), "trainer": {}, "seed": "–"}, spec, report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{files.path}: its results are damaged ({type(error).__name__}); classify it again") from error


def require_alike(results: Sequence[Result]) -> None:
    """Refuse results of rows beside those of groups of rows, and of groups by other columns or votes; EvaluationError."""
    said: dict[str, str] = {}
    for result in results:
        by = result.report.get("details", {}).get("by")
        said.setdefault("rows" if by is None else f"groups by {', '.join(by['columns'])} ({by['vote']})", result.name)
    if len(said) > 1:
        raise EvaluationError(
            f"{' and '.join(f'{name} is of {what}' for what, name in list(said.items())[:2])}: compare results of one kind"
        )


def _read_report(files: RunDirectory) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(files.metrics.read_text(encoding="utf-8"))
        whole = {"labels", "interval", "splits"} <= set(report) or "retrieval" in report
        refuse_whole(files.path, report)
    except (OSError, ValueError, TypeError) as error:
        raise EvaluationError(
            f"{files.path}: metrics.json is damaged ({type(error).__name__}); evaluate the run again"
        ) from error
    if not whole:
        raise EvaluationError(f"{files.path}: metrics.json is damaged (a part is missing); evaluate the run again")
    return report


def recipe(result: Result) -> str:
    """Return a run's training in one line, and how its figures were made where that is not the usual way."""
    told = _evaluated(result)
    further = [f"mean over {int(told['tta']) + 1} copies"] if told["tta"] else []
    further += [f"calibrated by {told['calibration']}"] if told["calibration"] else []
    further += [f"{told['bins']} bins"] if told["bins"] != BINS else []
    return ", ".join([_recipe(result), *further])


def _recipe(result: Result) -> str:
    """Return a run's training in one line."""
    if not result.config["trainer"]:
        asked = result.config
        words = [f"{result.spec.architecture} at {'x'.join(map(str, result.spec.preprocess.size))}", "zero-shot"]
        words += [f"prompts {asked['prompts']} {asked['version']}"] + [f"held out: {asked['held_out']}"] * bool(asked["held_out"])
        return ", ".join(words)
    model, trainer, data = result.config["model"], result.config["trainer"], result.config["data"]
    words = [f"{result.spec.architecture} at {'x'.join(map(str, result.spec.preprocess.size))}"]
    if several := data.get("targets"):
        words.append(f"{len(several)} targets at once")
    if join := result.spec.arguments.get("join"):
        words.append(f"joined by {join}")
    objective, untrained = result.spec.objective, _untrained(result)
    if voters := objective.get("runs"):
        votes = "" if len(set(objective["votes"])) == 1 else ", votes by val"
        return f"{objective['loss']} of {len(voters)} runs ({', '.join(one['run'] for one in voters)}){votes}"
    if joined := result.spec.data.get("averaged"):
        words.append(f"mean weights of {len(joined)} runs")
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
    if groups := objective.get("groups"):
        words.append(f"{groups['column']} by {groups['how']}")
    if taught := objective.get("teacher"):
        words.append(f"taught by {taught['run']} ({taught['architecture']})")
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


def _without_seeds(config: Mapping[str, Any], further: Sequence[str] = ()) -> str:
    def part(value: Any, prefix: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        # An option that was not there yet when a run was made is, in that run, what is null in later ones.
        kept = {
            k: v for k, v in value.items() if f"{prefix}{k}" not in (*SEEDS, *further) and not (prefix in LATER and v is None)
        }
        return {k: part(v, f"{prefix}{k}.") for k, v in kept.items()}

    return json.dumps(part(config, ""), sort_keys=True)


def setting_key(result: Result, further: Sequence[str] = ()) -> str:
    """Return all that parts one setting from another: the configuration without its seeds, and how it was evaluated.

    A backbone that is a run differs from seed to seed by its path; what it is and how it was trained stand for it.

    Args:
        result: Of a run.
        further: Settings that do not part runs either, such as `FOLDS`.
    """
    own = result.config["data"] if result.config["data"].get("name") in ("folder", "table") else {}
    config, below, run = dict(result.config), None, _backbone_run(result)
    if run is not None:
        config["model"] = {key: value for key, value in config["model"].items() if key != "backbone"}
        below = [result.spec.family, result.spec.architecture, _training(run)]
    file = None if "data.file" in further else own.get("file")
    return json.dumps([_without_seeds(config, further), _evaluated(result), own.get("root"), file, below], sort_keys=True)


def _evaluated(result: Result) -> dict[str, Any]:
    """Return how a report was made: of a calibrator the method, for its numbers are of its seed as weights are."""
    details = result.report.get("details", {})
    told = {key: details.get(key) for key in ("checkpoint", "tta", "training", "target")}
    method = str(details.get("calibration") or "").partition(" ")[0]
    return {**told, "calibration": method or None, "bins": int(result.report.get("bins", BINS))}


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


def common_name(names: Sequence[str]) -> str:
    """Return what run names share, without the number at their end."""
    first = names[0]
    length = next((i for i in range(len(first), 0, -1) if all(n.startswith(first[:i]) for n in names)), 0)
    return re.sub(r"([-_.](seed|fold)\d*)+$|[-_.]\d*$", "", first[:length]) or first
