from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medzoo.data.dataset import ArrayReader, Dataset, Reader
from medzoo.data.errors import ConfigError, DatasetError, ImageError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import Batch, SampleDataset

GRADES = LabelSpace("ordinal", ("none", "mild", "severe"))
SIZE = Preprocess((24, 24))


@dataclass
class FussyReader(Reader):
    """Reads images of any size; fails in one of several ways on the sample named so."""

    columns: tuple[str, ...] = ("sample_id",)
    shape: tuple[int, ...] | None = None

    def read(self, *values: Any) -> NDArray[Any]:
        (name,) = values
        if name == "broken":
            raise ImageError("/data/broken.png: not an image")
        if name == "unknown":
            raise UnknownNameError("window", "lnug", ["lung", "bone"])
        if name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "defect":
            raise ZeroDivisionError("a defect, not a mistake")
        side = 20 + len(name)
        return np.full((3, side, side), 7, dtype=np.uint8)


def make_samples(reader: Reader | None = None, names: list[str] | None = None, augmented: bool = True) -> SampleDataset:
    names = names or [f"s{i}" for i in range(13)]
    arrays = np.random.default_rng(0).integers(0, 256, (len(names), 3, 24, 24), dtype=np.uint8)
    table = pd.DataFrame(
        {
            "sample_id": names,
            "split": "train",
            "group": names,
            "array_index": np.arange(len(names)),
            "target": [np.nan if i == 1 else i % 3 for i in range(len(names))],
        }
    )
    info = DatasetInfo("tests/loader", "Loader", "skin", "none", "none", "none", GRADES)
    dataset = Dataset(info, table, ArrayReader(arrays) if reader is None else reader, GRADES)
    augment = Augment(POLICIES["skin"], SIZE) if augmented else None
    return SampleDataset(dataset, "train", SIZE, augment=augment, seed=3)


def same(one: Batch, other: Batch) -> bool:
    assert set(one) == set(other)
    return all(
        torch.equal(one[k].nan_to_num(-1), other[k].nan_to_num(-1)) if isinstance(one[k], torch.Tensor) else one[k] == other[k]
        for k in one
    )


def batches_of(size: int, batch_size: int, **options: Any) -> EpochBatches:
    return EpochBatches(size, batch_size, **{"seed": 5, "shuffle": True, **options})


# Epochs


@given(st.integers(0, 200), st.integers(1, 40), st.integers(0, 5), st.booleans(), st.integers(0, 9))
def test_an_epoch_has_every_sample_once(size: int, batch_size: int, epoch: int, shuffle: bool, seed: int) -> None:
    batches = batches_of(size, batch_size, shuffle=shuffle, seed=seed)
    batches.set_epoch(epoch)
    found = list(batches)
    assert sorted(index for batch in found for _, index in batch) == list(range(size))
    assert {e for batch in found for e, _ in batch} <= {epoch}
    assert len(found) == len(batches)
    assert all(len(batch) == batch_size for batch in found[:-1])
    if shuffle and batch_size > 1 and size > 1:
        assert all(len(batch) >= 2 for batch in found)
    if not shuffle:
        assert [index for batch in found for _, index in batch] == list(range(size))
        assert len(found) == -(-size // batch_size)


@given(st.data())
def test_processes_share_the_same_batches(data: st.DataObject) -> None:
    world = data.draw(st.integers(1, 4))
    shuffle = data.draw(st.booleans())
    batch_size = data.draw(st.integers(world if shuffle else 1, 24))
    size = data.draw(st.integers(world if shuffle else 0, 90))
    ranks = [batches_of(size, batch_size, shuffle=shuffle, rank=r, world=world) for r in range(world)]
    parts = [list(r) for r in ranks]
    assert [len(p) for p in parts] == [len(r) for r in ranks]
    if shuffle:
        assert len({len(p) for p in parts}) == 1, "a process without a batch would leave the others waiting"
    alone = list(batches_of(size, batch_size, shuffle=shuffle))
    assert max(map(len, parts), default=0) == len(alone)
    for number, whole in enumerate(alone):
        shares = [part[number] for rank, part in zip(ranks, parts, strict=True) if number < len(part)]
        stand_ins = [number < len(part) and rank.stands_in(number) for rank, part in zip(ranks, parts, strict=True)]
        assert all(share == whole[:1] for share, one in zip(shares, stand_ins, strict=False) if one)
        counted = [share for share, one in zip(shares, stand_ins, strict=False) if not one]
        assert [share[i] for i in range(max(map(len, counted))) for share in counted if i < len(share)] == whole
        assert sum(stand_ins) == (max(0, world - len(whole)) if shuffle else 0)


@given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 4), st.data())
def test_an_epoch_resumes_at_any_batch(size: int, batch_size: int, epoch: int, data: st.DataObject) -> None:
    whole = batches_of(size, batch_size)
    whole.set_epoch(epoch)
    full = list(whole)
    start = data.draw(st.integers(0, len(full)))
    resumed = batches_of(size, batch_size)
    resumed.set_epoch(epoch, start)
    assert list(resumed) == full[start:]
    assert len(resumed) == len(full)
    resumed.set_epoch(epoch)
    assert list(resumed) == full


def test_order_depends_on_seed_and_epoch() -> None:
    batches = batches_of(50, 50)
    orders = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        orders.append([index for _, index in next(iter(batches))])
    assert orders[0] != orders[1] != orders[2]
    batches.set_epoch(0)
    assert [index for _, index in next(iter(batches))] == orders[0]
    assert [index for _, index in next(iter(batches_of(50, 50, seed=6)))] != orders[0]


def test_a_short_last_batch_joins_the_one_before_in_training_only() -> None:
    assert [len(b) for b in batches_of(9, 4)] == [4, 5]
    assert [len(b) for b in batches_of(10, 4)] == [4, 4, 2]
    assert [len(b) for b in batches_of(3, 1)] == [1, 1, 1]
    assert [len(b) for b in batches_of(1, 4)] == [1]
    assert [len(b) for b in batches_of(9, 4, shuffle=False)] == [4, 4, 1]
    assert [len(b) for b in batches_of(11, 4, rank=1, world=2)] == [2, 2, 1]
    assert [len(b) for b in batches_of(9, 4, rank=1, world=2)] == [2, 2]
    assert [[len(b) for b in batches_of(9, 4, shuffle=False, rank=r, world=2)] for r in (0, 1)] == [[2, 2, 1], [2, 2]]


def test_an_iteration_keeps_the_epoch_it_began_with() -> None:
    batches = batches_of(10, 5)
    iterator = iter(batches)
    next(iterator)
    batches.set_epoch(1)
    assert {epoch for epoch, _ in next(iterator)} == {0}


@pytest.mark.parametrize(
    ("size", "batch_size", "options", "message"),
    [
        (10, 0, {}, "batch size must be at least 1, got 0"),
        (10, 4, {"rank": 2, "world": 2}, "process 2 of 2"),
        (10, 2, {"world": 3}, "2 samples cannot be shared by 3 processes"),
        (2, 8, {"world": 3}, "2 samples cannot be shared by 3 processes"),
    ],
)
def test_impossible_batches_are_refused(size: int, batch_size: int, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        batches_of(size, batch_size, **options)


def test_impossible_starts_are_refused() -> None:
    batches = batches_of(10, 4)
    for epoch, start in ((-1, 0), (0, -1), (0, 4)):
        with pytest.raises(ConfigError, match=r"it has 3"):
            batches.set_epoch(epoch, start)
    with pytest.raises(ConfigError, match="workers"):
        make_loader(make_samples(), batches, workers=-1, pin_memory=False)


# Loading


def load(workers: int, epochs: int = 3) -> list[list[Batch]]:
    batches = batches_of(13, 4)
    loader = make_loader(make_samples(), batches, workers=workers, pin_memory=False)
    found = []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        found.append(list(loader))
    return found


def test_workers_change_nothing() -> None:
    alone, shared = load(0), load(2)
    assert [len(epoch) for epoch in alone] == [3, 3, 3]
    for one, other in zip(alone, shared, strict=True):
        assert all(same(a, b) for a, b in zip(one, other, strict=True))


def test_every_sample_of_every_epoch_is_augmented_differently() -> None:
    """One picture under 13 names: two workers must not make the same of it, nor two epochs."""
    samples = make_samples()
    samples._reader.arrays[:] = samples._reader.arrays[0]  # type: ignore[attr-defined]
    batches = batches_of(13, 4)
    loader = make_loader(samples, batches, workers=2, pin_memory=False)
    images: set[bytes] = set()
    for epoch in range(2):
        batches.set_epoch(epoch)
        images |= {image.numpy().tobytes() for batch in loader for image in batch["image"]}
    assert len(images) == 26


def test_loading_resumes_in_mid_epoch() -> None:
    whole = load(0)[2]
    batches = batches_of(13, 4)
    loader = make_loader(make_samples(), batches, workers=2, pin_memory=False)
    batches.set_epoch(2, start_batch=1)
    assert all(same(a, b) for a, b in zip(loader, whole[1:], strict=True))


def test_an_abandoned_epoch_leaves_nothing_behind() -> None:
    batches = batches_of(13, 2)
    loader = make_loader(make_samples(), batches, workers=2, pin_memory=False)
    for _ in loader:
        break
    batches.set_epoch(1)
    expected = batches_of(13, 2)
    expected.set_epoch(1)
    assert [batch["index"].tolist() for batch in loader] == [[i for _, i in keys] for keys in expected]


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_torchs_random_state_alone(workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load(workers, epochs=2)
    assert torch.equal(before, torch.get_rng_state())


def test_missing_labels_stay_missing() -> None:
    batch = next(iter(make_loader(make_samples(), batches_of(13, 13, shuffle=False), workers=0, pin_memory=False)))
    assert batch["target"].isnan().all(dim=1).tolist() == [i == 1 for i in range(13)]
    assert batch["index"].tolist() == list(range(13))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("broken", ImageError, "/data/broken.png: not an image"),
        ("unknown", UnknownNameError, "unknown window 'lnug'; did you mean 'lung'?"),
    ],
)
def test_a_mistake_found_by_a_worker_stays_one_line(workers: int, name: str, kind: type, message: str) -> None:
    samples = make_samples(FussyReader(), ["good", name, "also good"], augmented=False)
    loader = make_loader(samples, batches_of(3, 1, shuffle=False), workers=workers, pin_memory=False)
    iterator = iter(loader)
    assert next(iterator)["sample_id"] == ["good"]
    with pytest.raises(kind) as caught:
        next(iterator)
    assert str(caught.value) == message


def test_a_defect_keeps_its_traceback() -> None:
    samples = make_samples(FussyReader(), ["good", "defect"], augmented=False)
    loader = make_loader(samples, batches_of(2, 2), workers=1, pin_memory=False)
    with pytest.raises(ZeroDivisionError, match="a defect, not a mistake"):
        list(loader)


def test_a_worker_that_dies_is_one_line() -> None:
    samples = make_samples(FussyReader(), ["good", "deadly"], augmented=False)
    loader = make_loader(samples, batches_of(2, 2), workers=1, pin_memory=False)
    with pytest.raises(DatasetError, match=r"a loading process died .* use fewer workers") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


def test_forked_workers_survive_a_parent_that_used_threads() -> None:
    """OpenMP's and OpenCV's pools do not outlive a fork; a worker that waited for them would hang."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(512, 512) @ torch.randn(512, 512)
        make_samples()[0]
        assert len(load(2, epochs=1)[0]) == 3
    finally:
        torch.set_num_threads(threads)
