"""`medzoo ensemble`: several runs as one that answers by their mean, or one network of their mean weights: docs/learning.md."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf

from medzoo.commands.joined.rows import Rows, unseen_rows
from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.samples.feed import Feed
from medzoo.data.samples.loader import EpochBatches
from medzoo.data.splits.learnt_from import FILE
from medzoo.evaluation.run_report import report_run
from medzoo.inference.devices import make_accelerator
from medzoo.inference.predict import predict_run, run_dataset
from medzoo.inference.run import Runner
from medzoo.losses.votes import fit_votes
from medzoo.settings.compose import typed
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.schema import ModelConfig
from medzoo.store.checkpoint import find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory, default_run_path
from medzoo.tasks.ensemble import HOWS
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.ensemble import Member, averaged, batch_norms, check_members, ensemble_of
from medzoo.tasks.task import Task
from medzoo.train.fit import write_checkpoint
from medzoo.train.state import training_left

WEIGHTS = "weights"
"""`--how` of one network with the mean of the members' weights."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status, and raises a MedzooError on a mistake of the user's."""
    given = _parser().parse_args(list(arguments))
    if given.votes and given.how == WEIGHTS:
        raise ConfigError("--votes is for a mean of answers; --how weights takes all weights alike: leave one out")
    runs = [RunDirectory.open(path) for path in given.runs]
    members = [Member.read(run.path, given.checkpoint, run.settings()) for run in runs]
    check_members(members)
    run = RunDirectory(given.run or default_run_path(str(members[0].settings["data"]["name"]), "ensemble"))
    run.require_empty()
    own = members[0].task.spec
    dataset = run_dataset(runs[0], _changes(given.data), own)
    rows = unseen_rows(dataset, given.runs)
    for note in (*rows.notes, *(f"{one.path}: {left}" for one in runs if (left := training_left(one)))):
        print(f"note: {note}")
    accelerator = make_accelerator(given.device)
    runner = Runner(accelerator, given.batch_size)
    if given.how == WEIGHTS:
        task = _soup(members, dataset, runner)
    else:
        votes = _votes(members, rows, runner, given.how) if given.votes else [1 / len(members)] * len(members)
        task = ensemble_of(members, given.how, votes)
        said = ", ".join(f"{member.path.name} {vote:.3f}" for member, vote in zip(members, votes, strict=True))
        print(f"mean of {given.how} of {len(members)} runs: {said}")
    text = _configuration(members, given)
    RunDirectory.create(run.path, text, task.spec, {**task.assets(), FILE: rows.learnt.to_bytes()})
    write_checkpoint(run, task.to("cpu"), text, "joined", "best")
    chosen_by = "val loss, which the votes were fitted to" if given.votes else "no choice: made of trained runs"
    _report(run, members, rows, runner, chosen_by)
    print(f"run directory: {run.path}")
    return 0


def _report(run: RunDirectory, members: Sequence[Member], rows: Rows, runner: Runner, chosen_by: str) -> None:
    """Predict and score the splits that no member has learnt from; `chosen_by` is what its report says the votes are from."""
    settings, folder = members[0].settings, find_checkpoint(run.path)
    asked, plain = settings.get("evaluation") or {}, EvaluationConfig()
    kept = {name: asked.get(name, getattr(plain, name)) for name in ("replicates", "level", "seed", "bins")}
    evaluation = replace(plain, splits=list(rows.splits), **kept)
    details = {"checkpoint": "best", "weights": weights_checksum(folder), "chosen_by": chosen_by}
    trainer = settings["trainer"]
    predict_run(
        run, load_checkpoint(folder), rows.dataset, evaluation, runner, details, augment=trainer["augment"],
        augmenter=trainer["augmenter"],
    )  # fmt: skip
    report_run(run, evaluation)


def _votes(members: Sequence[Member], rows: Rows, runner: Runner, how: str) -> list[float]:
    """Return the votes of the least loss on the val split, which no member may have learnt from."""
    if rows.val_refused:
        raise ConfigError(f"--votes is fitted on the val split, and {rows.val_refused}; leave --votes out")
    said, targets = [], None
    for member in members:
        samples = member.task.samples(rows.dataset, "val")
        member.task.prepare(samples, rows.dataset)
        outputs, _ = runner.predict(member.task.to(runner.device).eval(), samples)
        said.append(outputs["logits"])
        targets = samples.targets
    assert targets is not None
    return [float(vote) for vote in fit_votes(members[0].task.spec.label_space, targets, said, how)]


def _soup(members: Sequence[Member], dataset: Dataset, runner: Runner) -> Task:
    """Return the network of the mean weights, with what only the training split tells computed anew.

    That is the running statistics of batch normalisation (Izmailov et al. 2018, section 3.2), and the last step of a bottleneck.
    """
    task = averaged(members).to(runner.device)
    said = f"mean of the weights of {len(members)} runs"
    if layers := batch_norms(task.model):
        _measure(task, layers, dataset, runner)
        said += f"; {len(layers)} layers of batch normalisation measured anew on the training split"
    if task.completes:
        config = members[0].settings["model"]
        task.complete(dataset, typed(ModelConfig, OmegaConf.create(config)), runner)
    print(said)
    return task.eval()


@torch.no_grad()
def _measure(task: Task, layers: Sequence[Any], dataset: Dataset, runner: Runner) -> None:
    """Set the running statistics of some layers to their mean over the batches of the training split, not augmented."""
    samples = task.samples(dataset, "train")
    batches = EpochBatches(len(samples), max(2, runner.batch_size), seed=0, shuffle=True)
    before = [layer.momentum for layer in layers]
    task.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
        layer.train()
    for batch in Feed(samples, batches, runner.device, runner.workers):
        task.predict(batch)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    task.eval()


def _configuration(members: Sequence[Member], given: argparse.Namespace) -> str:
    """Return the YAML of the run: the first member's, with what the model is in place of what it was trained as."""
    config: dict[str, Any] = {**members[0].settings, "run": None, "resume": None}
    if given.how != WEIGHTS:
        arguments = {
            "members": [str(member.path) for member in members], "how": given.how, "votes": "val" if given.votes else "equal",
            "checkpoint": given.checkpoint,
        }  # fmt: skip
        config["model"] = {"family": "ensemble", "backbone": "ensemble", "arguments": arguments}
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _changes(given: Sequence[str]) -> dict[str, Any]:
    """Return dataset options from KEY=VALUE words."""
    found = {}
    for word in given:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"--data {word}: options are given as KEY=VALUE, such as root=/data")
        found[key] = yaml.safe_load(value)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medzoo ensemble", description="Make one run of several: it is evaluated, compared and exported as any other."
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of models with the same labels")
    parser.add_argument("--how", choices=(*HOWS, WEIGHTS), default=HOWS[0], help="what the mean is of (default: probabilities)")
    parser.add_argument("--votes", action="store_true", help="weigh the members by the val split; default: all alike")
    parser.add_argument("--run", type=Path, help="directory to write; default: runs/<data>-ensemble-<time>")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="of each member (default: best)")
    parser.add_argument("--data", nargs="+", default=[], metavar="KEY=VALUE", help="options that differ here, such as root=/data")
    parser.add_argument("--batch-size", type=int, default=64, help="images a forward pass (default: 64)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser
