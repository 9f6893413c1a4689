"""`medzoo evaluate`: predict with a checkpoint (or take the predictions that are there), score, report."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from medzoo.data.errors import CheckpointError, ConfigError, EvaluationError
from medzoo.data.registry import PLACES
from medzoo.data.splits.learnt_from import read_record, refuse_learnt_from
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.extra import check_extras
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.run_report import report_run
from medzoo.inference.devices import SMALLER_BATCH, enough_memory, make_accelerator
from medzoo.inference.predict import predict_run, run_dataset
from medzoo.inference.run import Runner
from medzoo.settings.schema import check_evaluation
from medzoo.settings.verbs import EvaluateConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint
from medzoo.train.state import training_left

USED_BY_PREDICTING = ("device", "workers", "evaluation.batch_size", "evaluation.tta")
"""Settings that scoring predictions which are there already would ignore."""


def main(config: EvaluateConfig) -> None:
    """Run the command."""
    if config.run is None:
        raise ConfigError("say which run to evaluate: run=<run directory>")
    check_evaluation(config.evaluation)
    run = RunDirectory.open(Path(config.run))
    if config.predict:
        checkpoint = find_checkpoint(run.path, config.checkpoint)
        task = load_checkpoint(checkpoint)
        if task.embedder is None:
            check_extras(config.evaluation.extra, task.spec.labels)
        dataset, learnt = run_dataset(run, config.data, task.spec), read_record(run.path)
        if learnt.complete or task.spec.data.get("learnt_from") or set(config.data) - {*PLACES, "file"}:
            dataset = refuse_learnt_from(dataset, learnt, config.evaluation.splits)
        settings = run.settings()
        trainer, captions = settings["trainer"], settings["model"].get("captions", "auto")
        details = {"checkpoint": config.checkpoint, "weights": weights_checksum(checkpoint)}
        if left := training_left(run):
            details["training"] = left
        runner = Runner(make_accelerator(config.device), config.evaluation.batch_size or 64, config.workers)
        drawn = {name: trainer[name] for name in ("augment", "augmenter")}
        with enough_memory(EvaluationError, f"evaluation.batch_size={runner.batch_size}", SMALLER_BATCH):
            predict_run(run, task, dataset, config.evaluation, runner, details, **drawn, captions=captions)
    else:
        _refuse_predicting(config)
        _require_current(run, config.checkpoint)
    report_run(run, config.evaluation)


def _refuse_predicting(config: EvaluateConfig) -> None:
    """Refuse settings that would have an effect on predicting alone."""
    plain = EvaluateConfig()
    ignored = [name for name in USED_BY_PREDICTING if attrgetter(name)(config) != attrgetter(name)(plain)]
    ignored += [f"data.{name}" for name in config.data]
    if ignored:
        have, them = ("has", "it") if len(ignored) == 1 else ("have", "them")
        raise ConfigError(f"{', '.join(ignored)} {have} no effect with predict=false; leave {them} out")


def _require_current(run: RunDirectory, checkpoint: str) -> None:
    """Refuse to score predictions of another checkpoint than is asked for, or of weights that training has replaced since.

    A run that was sent without its weights passes. `best` is no exception although it is the default: who leaves the
    checkpoint out takes the figures for those of the best one.
    """
    for path, reader in ((run.predictions, Predictions), (run.embeddings, Embeddings)):
        if not path.is_file():
            continue
        details = reader.read(path).details
        which = str(details.get("checkpoint", "best"))
        if which != checkpoint:
            raise ConfigError(
                f"{path} was made with checkpoint={which}, not {checkpoint}; give checkpoint={which} to score it, or leave out "
                "predict=false"
            )
        try:
            current = weights_checksum(find_checkpoint(run.path, which))
        except CheckpointError:
            continue
        if details.get("weights", current) != current:
            raise ConfigError(f"{path} was made by other weights than checkpoint={which} has now; leave out predict=false")
