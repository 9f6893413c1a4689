"""The design that MedMNIST's published results were made with, written anew: one image at a time, four passes an epoch.

After github.com/MedMNIST/experiments (MedMNIST2D/train_and_eval_pytorch.py, Yang et al. 2023): each image becomes a
PIL image, goes through torchvision's ToTensor and Normalize, and a DataLoader without workers collates batches of
128; Adam at 1e-3, a tenth of it after half and three quarters of the epochs; every loss is fetched from the device
twice; and each epoch ends with the scores of the training, validation and test splits. What theirs writes to
TensorBoard is left out, in its favour; worker processes are the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Normalize, ToTensor

from benchmarks.gpu_ceilings import synchronise

SPLITS = ("train", "val", "test")


class Images(torch.utils.data.Dataset[Any]):
    """One split, image by image."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = Compose([ToTensor(), Normalize(mean=[0.5], std=[0.5])])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index].astype(int)


@dataclass
class Published:
    """One training by that design.

    Attributes:
        network: Trained in place.
        arrays: Of a MedMNIST file.
        device: Where it trains.
        workers: Of every loader; theirs has none.
        epochs: Of the whole training.
        batch_size: Theirs: 128.
        history: `train_loss`, `val_loss`, `val_auc`, and the seconds of the training pass and of the whole epoch, of each epoch.
    """

    network: nn.Module
    arrays: dict[str, NDArray[Any]]
    device: torch.device
    workers: int
    epochs: int
    batch_size: int = 128
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        sets = {split: Images(self.arrays[f"{split}_images"], self.arrays[f"{split}_labels"]) for split in SPLITS}
        self._loader = self._make(sets["train"], shuffle=True)
        self._evaluated = {split: self._make(images, shuffle=False) for split, images in sets.items()}
        self._criterion = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        milestones = [round(0.5 * self.epochs), round(0.75 * self.epochs)]
        self._schedule = torch.optim.lr_scheduler.MultiStepLR(self._optimizer, milestones, gamma=0.1)

    def _make(self, images: Images, *, shuffle: bool) -> DataLoader[Any]:
        return DataLoader(images, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.workers)

    def epoch(self) -> None:
        """Run one epoch and add its line to the history."""
        synchronise(self.device)
        start = time.perf_counter()
        train_loss = self._train()
        synchronise(self.device)
        trained = time.perf_counter()
        scores = {split: self._evaluate(loader) for split, loader in self._evaluated.items()}
        self._schedule.step()
        line = {"train_loss": train_loss, "val_loss": scores["val"][0], "val_auc": scores["val"][1]}
        self.history.append({**line, "train_seconds": trained - start, "seconds": time.perf_counter() - start})

    def _train(self) -> float:
        self.network.train()
        losses, logged = list[float](), list[float]()
        for inputs, targets in self._loader:
            self._optimizer.zero_grad()
            outputs = self.network(inputs.to(self.device))
            loss = self._criterion(outputs, torch.squeeze(targets, 1).long().to(self.device))
            losses.append(loss.item())
            logged.append(loss.item())  # for TensorBoard
            loss.backward()
            self._optimizer.step()
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _evaluate(self, loader: DataLoader[Any]) -> tuple[float, float, float]:
        """Return mean loss, AUC and accuracy of a split."""
        self.network.eval()
        losses, truth = list[float](), list[NDArray[Any]]()
        scores = torch.tensor([], device=self.device)
        for inputs, targets in loader:
            outputs = self.network(inputs.to(self.device))
            losses.append(self._criterion(outputs, torch.squeeze(targets, 1).long().to(self.device)).item())
            scores = torch.cat((scores, outputs.softmax(dim=1)), 0)
            truth.append(targets.numpy()[:, 0])
        positive, wanted = scores.cpu().numpy()[:, -1], np.concatenate(truth)
        return sum(losses) / len(losses), float(roc_auc_score(wanted, positive)), float(accuracy_score(wanted, positive > 0.5))


def curves(named: dict[str, Sequence[float]]) -> list[list[str]]:
    """Return the rows of a table of several curves, an epoch a row."""
    length = max((len(values) for values in named.values()), default=0)
    return [
        [str(at + 1), *(f"{values[at]:.4f}" if at < len(values) else "" for values in named.values())] for at in range(length)
    ]
