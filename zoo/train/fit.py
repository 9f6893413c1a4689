"""Fitting a post-hoc or language bottleneck: features of the training images once, then linear layers; no network is trained."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.inference.run import compute_features, predict_samples
from medzoo.models.backbones.contract import classify_features, head_modules
from medzoo.models.heads.concept_scores import ConceptScores, absent_concepts
from medzoo.models.heads.linear_layer import choose_penalty, fit_linear
from medzoo.models.heads.neighbours import NeighbourNetwork
from medzoo.settings.schema import TrainConfig
from medzoo.store.checkpoint import checkpoint_files, find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import prune, write_folder
from medzoo.tasks.bottleneck import Bottleneck, ConceptData, require_known
from medzoo.tasks.classify import Classify
from medzoo.tasks.load import bottleneck_from_weights, load_checkpoint
from medzoo.tasks.prepare import prepare_samples
from medzoo.tasks.setup.frozen import concept_source, require_concepts, without_concepts


def fit_bottleneck(
    task: Bottleneck, dataset: Dataset, settings: TrainConfig, accelerator: Accelerator
) -> tuple[Bottleneck, list[str]]:
    """Fit the concepts (post-hoc) or standardise and filter them (language), then the class layer.

    Args:
        task: From a configuration.
        dataset: The run's.
        settings: The run's.
        accelerator: Where the features are computed.

    Returns:
        The fitted bottleneck, on the CPU, and lines about what was chosen and left out.

    Raises:
        TrainingError: If there is nothing to learn from or to choose by.
        ConfigError: If too few concepts are left.
    """
    asked = settings.model.bottleneck
    assert asked is not None
    task.to(accelerator.device).eval()
    features = partial(_features, task, settings=settings, accelerator=accelerator)
    train, val = ((samples, features(samples)) for samples in _splits(task, dataset, settings))
    task.to("cpu")
    notes = []
    if asked.regime == "posthoc":
        source = concept_source(asked, dataset)
        task.to(accelerator.device)
        pairs = (train, val) if source is dataset else tuple((s, features(s)) for s in _splits(task, source, settings))
        task.to("cpu")
        notes.append(_fit_concept_vectors(task, *pairs))
    else:
        task = _standardise(task, train[1], asked.filter.activation)
        notes += [f"concept left out: {name}: {reason}" for name, reason in task.spec.objective["dropped"].items()]
        for samples, _ in (train, val):
            prepare_samples(task, samples, dataset, settings.model)
    penalty = task.finish(_data(task, *train), _data(task, *val))
    used = int((task.model.head.weight != 0).any(dim=0).sum())
    if not used:
        notes.append("warning: no concept helps on the validation split: the classes are the same for every image")
    notes.append(f"class layer: penalty {penalty:g}, {used} of {task.model.head.in_features} concepts used")
    return task, notes


def save_fitted(task: Bottleneck, run: RunDirectory, yaml: str) -> None:
    """Save the checkpoint `best`."""
    write_folder(run.checkpoints, "fitted", checkpoint_files(task.spec, task.model.state_dict(), yaml), "best")


def _splits(task: Bottleneck, dataset: Dataset, settings: TrainConfig) -> list[SampleDataset]:
    found = []
    for split in ("train", "val"):
        samples = SampleDataset(dataset, split, task.spec.preprocess)
        if not len(samples):
            raise TrainingError(f"the {split} split of {dataset.info.name} is empty; change the split options of the dataset")
        prepare_samples(task, samples, dataset, settings.model)
        found.append(samples)
    return found


def _features(task: Bottleneck, samples: SampleDataset, *, settings: TrainConfig, accelerator: Accelerator) -> Tensor:
    return compute_features(
        task, samples, batch_size=settings.trainer.batch_size, workers=settings.trainer.workers, accelerator=accelerator
    )


def _fit_concept_vectors(task: Bottleneck, train: tuple[SampleDataset, Tensor], val: tuple[SampleDataset, Tensor]) -> str:
    """Fit one direction a concept (logistic regression on features of mean 0 and spread 1); say the penalty chosen."""
    wanted, held_out = (torch.from_numpy(_filled(samples)) for samples, _ in (train, val))
    names = task.spec.objective["concepts"]
    require_known(names, wanted.numpy())
    for name, column in zip(names, wanted.T, strict=True):
        if len(column[~column.isnan()].unique()) < 2:
            raise TrainingError(f"the train split shows concept {name!r} in one state only: it has no direction; leave it out")
    mean, spread = train[1].mean(dim=0), train[1].std(dim=0, correction=0).clamp_min(1e-6)
    inputs, others = ((features - mean) / spread for _, features in (train, val))
    fit = partial(fit_linear, inputs, wanted, "multilabel")
    with torch.enable_grad():
        penalty = choose_penalty(lambda value: fit(penalty=value), others, held_out, "multilabel")
        weight, bias = fit(penalty=penalty)
    weight = weight / spread
    layer = head_modules(task.model.backbone)[0]
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if layer.bias is None:
        raise ConfigError(f"the last layer of {task.spec.architecture} has no bias to carry concepts; choose another backbone")
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        layer.bias.copy_(bias - weight @ mean)
    return f"concepts: {task.model.head.in_features} directions in {inputs.shape[1]} features, penalty {penalty:g}"


def _standardise(task: Bottleneck, features: Tensor, activation: float | None) -> Bottleneck:
    """Standardise the scores over the training images and leave out concepts these do not show."""
    scores = head_modules(task.model.backbone)[0]
    assert isinstance(scores, ConceptScores)
    names = list(task.spec.objective["concepts"])
    similarities = scores.similarities(features)
    dropped = absent_concepts(names, similarities.numpy(), activation=activation)
    kept = [place for place, name in enumerate(names) if name not in dropped]
    require_concepts([names[place] for place in kept], dropped)
    scores.standardise(similarities)
    state = {name: tensor for name, tensor in task.model.backbone.state_dict().items() if not name.startswith("fc.")}
    state |= {f"fc.{name}": tensor for name, tensor in scores.keep(kept).state_dict().items()}
    return bottleneck_from_weights(without_concepts(task.spec, dropped), state)


def _data(task: Bottleneck, samples: SampleDataset, features: Tensor) -> ConceptData:
    assert samples.targets is not None
    assert samples.concepts is not None
    with torch.no_grad():
        logits = classify_features(task.model.backbone, features).float()
    return ConceptData(logits, torch.from_numpy(samples.concepts), torch.from_numpy(samples.targets), features)


def _filled(samples: SampleDataset) -> np.ndarray:  # type: ignore[type-arg]
    if samples.concepts is None or np.isnan(samples.concepts).all():
        raise TrainingError(f"the {samples.split} split has no sample with a concept; nothing to learn or choose by")
    return samples.concepts


def fit_neighbours(
    task: Classify, dataset: Dataset, run: RunDirectory, yaml: str, accelerator: Accelerator, *, batch_size: int, workers: int
) -> None:
    """Compute the training split's features, remember them with their targets, and save the checkpoint `best`."""
    network = task.model
    assert isinstance(network, NeighbourNetwork)
    samples = SampleDataset(dataset, "train", task.spec.preprocess)
    assert samples.targets is not None
    task.to(accelerator.device).eval()
    features = compute_features(task, samples, batch_size=batch_size, workers=workers, accelerator=accelerator)
    labelled = ~np.isnan(samples.targets).all(axis=1)  # what has no label has no vote, and takes no other's place
    targets = torch.from_numpy(samples.targets[labelled])
    network.remember(features[torch.from_numpy(labelled)].to(accelerator.device), targets.to(accelerator.device))
    if accelerator.is_main_process:
        files = checkpoint_files(task.spec, network.state_dict(), yaml)
        write_folder(run.checkpoints, "memory", files, "best")
    accelerator.wait_for_everyone()


def finish_bottleneck(run: RunDirectory, dataset: Dataset, settings: TrainConfig, yaml: str, accelerator: Accelerator) -> None:
    """Fit the class layer of a run's checkpoints (unless joint) and the scale of interventions, and save them.

    The training split is predicted without augmentation; running it again gives the same checkpoints.
    """
    for pointer in ("best", "last"):
        folder = find_checkpoint(run.path, pointer)
        task = load_checkpoint(folder, unfinished=True)
        assert isinstance(task, Bottleneck)
        samples = SampleDataset(dataset, "train", task.spec.preprocess)
        prepare_samples(task, samples, dataset, settings.model)
        task.to(accelerator.device).eval()
        trainer = settings.trainer
        outputs, _ = predict_samples(
            task, samples, batch_size=trainer.batch_size, workers=trainer.workers, accelerator=accelerator
        )
        features = None
        if task.model.residual is not None:
            features = compute_features(
                task, samples, batch_size=trainer.batch_size, workers=trainer.workers, accelerator=accelerator
            )
        task.to("cpu")
        assert samples.concepts is not None
        assert samples.targets is not None
        logits = torch.from_numpy(outputs["concept_logits"])
        # Copies: pandas' own memory cannot be written, of which torch warns.
        concepts, targets = torch.from_numpy(samples.concepts.copy()), torch.from_numpy(samples.targets.copy())
        task.finish(ConceptData(logits, concepts, targets, features))
        if accelerator.is_main_process:
            name = folder.name.removesuffix("-finished") + "-finished"
            write_folder(run.checkpoints, name, checkpoint_files(task.spec, task.model.state_dict(), yaml), pointer)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        prune(run.checkpoints, ["best", "last"])
