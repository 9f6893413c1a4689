"""The last step of a concept bottleneck's training: what only the whole training split tells."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from medzoo.config import TrainConfig
from medzoo.data.dataset import Dataset
from medzoo.data.samples import SampleDataset
from medzoo.inference.run import compute_features, predict_samples
from medzoo.store.checkpoint import checkpoint_files, find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import prune, write_folder
from medzoo.tasks.bottleneck import Bottleneck, ConceptData
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.registry import prepare_samples


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
