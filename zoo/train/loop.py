"""The one training loop, for every family. It knows tasks only.

Every random draw in it is a function of (seed, epoch, sample or batch), so a training that is killed goes on from its last
state to the same last bit, whatever the number of loader workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, StoppedError, TrainingError
from medzoo.data.samples.augment import augment_policy
from medzoo.data.samples.feed import Feed
from medzoo.data.samples.loader import EpochBatches
from medzoo.data.seeding import derived_seed, generator
from medzoo.inference.run import Runner
from medzoo.models.shared_norm import Share, share_norms
from medzoo.settings.metric_names import monitored_text
from medzoo.settings.schema import TrainConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import prune
from medzoo.tasks.prepare import prepare_samples
from medzoo.tasks.task import DRAWS, STANDS_IN, Batch, Task
from medzoo.train import sharding
from medzoo.train.checks import check_trainer
from medzoo.train.display import Display
from medzoo.train.fit import write_checkpoint
from medzoo.train.live import LiveMetrics
from medzoo.train.mix import check_mixing, mix_batch
from medzoo.train.optim import learning_rate, make_optimizer, set_learning_rate
from medzoo.train.placement import place_images, place_model, prepared, slower_precision
from medzoo.train.profiling import Profile
from medzoo.train.progress import plot_history, start_trackers, write_history
from medzoo.train.readings import Readings, Taken
from medzoo.train.sampling import drawn_with
from medzoo.train.state import Progress, Resumable
from medzoo.train.stopping import Asked

REDRAWN = 30.0
"""Seconds between drawings of the learning curves; the last epoch always draws them."""


class Trainer:
    """One training: its data, optimizer, average and progress.

    Args:
        task: What is trained.
        dataset: With train and val splits.
        config: The run's configuration.
        yaml: The same as text, for the checkpoints.
        run: Where everything is written; untouched until `fit`.
        resume: Go on from the run's last state.
        accelerator: Devices and precision.

    Raises:
        TrainingError: If there is nothing to learn from or to choose an epoch by.
    """

    def __init__(
        self, task: Task, dataset: Dataset, config: TrainConfig, yaml: str, run: RunDirectory, resume: bool,
        accelerator: Accelerator
    ) -> None:  # fmt: skip
        self.config, self.run, self.accelerator = config.trainer, run, accelerator
        self.seed, self.yaml, self.resumed = config.seed, yaml, resume
        self.display = Display(accelerator.is_main_process)
        check_trainer(self.config, task, accelerator.num_processes)
        policy = augment_policy(self.config.augment, dataset.info.modality)
        self.train = task.samples(
            dataset, "train", policy=policy, augmenter=self.config.augmenter, seed=config.seed, training=True
        )
        self.val = task.validation_samples(dataset, self.config.augmenter, config.seed)
        for samples in (self.train, self.val):
            if not len(samples):
                raise TrainingError(f"the {samples.split} split is empty; change the split options of the dataset")
            prepare_samples(task, samples, dataset, config.model)
            task.require(samples)
        asked = None if self.config.monitor is None else monitored_text(self.config.monitor, "trainer.monitor")
        self.monitor, note = task.choose_monitor(asked, self.val)
        if note is not None:
            self.display.say(f"note: {note}")
        cache = self._caches(task)
        check_mixing(self.config, task.spec, cached=cache, views=self.train.views is not None or self.train.several)
        self.batches = EpochBatches(
            len(self.train), self.config.batch_size, seed=config.seed, shuffle=True,
            probabilities=drawn_with(self.config.sampling, self.train, dataset.labels, several=bool(dataset.targets)),
            rank=accelerator.process_index, world=accelerator.num_processes,
        )  # fmt: skip
        self.steps_per_epoch = math.ceil(len(self.batches) / self.config.accumulate)
        device = accelerator.device
        place_model(task, device)
        self.share = share_norms(task.model) if accelerator.num_processes > 1 else Share()
        slower = slower_precision(device, self.config.precision)
        # Features are computed once, of images that nobody augments.
        if cache and self.config.input == "device":
            raise ConfigError("trainer.input=device is for images, and features are computed once here; use auto")
        chosen = "loader" if cache and self.config.input == "auto" else self.config.input
        placed = place_images(chosen, self.train, self.val, device, self.config.workers)
        self.loader = Feed(self.train, self.batches, device, self.config.workers)
        self.readings, self.asked = Readings(), Asked()
        self.profile = Profile(run.trace if self.config.profile and accelerator.is_main_process else None, self.display.say)
        task.freeze(self.config)
        self.average, self.single, kept = sharding.share_out(task, self.config, accelerator, cache)
        for note in (slower, placed, kept):
            if note is not None:
                self.display.say(f"note: {note}")
        beside = [] if task.guide is None else list(task.guide.parameters())
        optimizer = make_optimizer(task.model, self.config, beside, one_by_one=bool(self.single))
        self.learners = [*task.model.parameters(), *beside]
        self.progress, self._drawn = Progress(), time.monotonic()
        if self.config.checkpoint_activations:  # of what learns: its average, copied above, only looks
            task.recompute_activations(self.config)
        self.live = self._live(task)
        average = self.average.module.model if self.average is not None else None
        self.resumable = Resumable(
            run.state, task.model, optimizer, average, accelerator.scaler, task.spec.hash, yaml, task.learnt_beside
        )
        if resume:
            self.progress, sums = self.resumable.restore()
            if self.live is not None:
                self.live.restore(sums)
        self.task = task
        if cache:
            self._cache_features()
        if self.config.compile:
            task.compile_network()
        self.wrapped, self.optimizer = prepared(task, optimizer, accelerator)

    def fit(self, stops: Callable[[Progress], bool] | None = None) -> Progress:
        """Train to the end, or until `patience` runs out; returns the final progress.

        Args:
            stops: Asked before each epoch, and at the end: whether to leave the training there, where it can be gone on with.

        Raises:
            TrainingError: If the loss stops being finite, or a state cannot be saved.
        """
        if not self.resumed:  # what is resumed stands, and is not written anew: no moment is without a state
            self._save_state()  # before trackers, which may want a login first: training can then be gone on with
        start_trackers(self.accelerator, self.config.trackers, self.yaml, self.run)
        with self.asked.listening():
            while not (stops is not None and stops(self.progress)) and not self.progress.finished:
                self._train_epoch()
                self._end_epoch()
        self.profile.missed()
        for tracker in self.accelerator.trackers:  # end_training would also end the process group evaluation still needs
            tracker.finish()
        self.accelerator.wait_for_everyone()  # rank 0 writes the checkpoints that all are about to read
        return self.progress

    def _train_epoch(self) -> None:
        progress, accumulate = self.progress, self.config.accumulate
        self.wrapped.train()
        self.task.set_training(self.config)
        self.batches.set_epoch(progress.epoch, start_batch=progress.batch)
        total, group, learns = len(self.batches), list[str](), False
        sums = torch.zeros(3, dtype=torch.float64, device=self.accelerator.device)
        label = f"epoch {progress.epoch + 1}/{self.config.epochs}"
        with self.display.epoch(label, math.ceil(total / accumulate), progress.batch // accumulate) as advance:
            for batch in self.profile.followed(self.loader):
                last = (progress.batch + 1) % accumulate == 0 or progress.batch + 1 == total
                self.share.counts = not self.batches.stands_in(progress.batch)
                if self.share.counts:
                    group += batch["sample_id"]
                    # A mixture lacks what either of its two lacks: only of complete targets some surely stay.
                    mixes = self.config.mixup or self.config.cutmix
                    known = {**batch, "observed": batch.get("complete")} if mixes else batch
                    learns = self.task.surely_learns(known) or learns
                else:
                    batch[STANDS_IN] = True
                sums += self._backward(batch, last)
                progress.batch += 1
                if last:
                    advance(self._step(sums, group, learns))
                    sums, group, learns = torch.zeros_like(sums), [], False
                    self._save_or_stop()
        self._read()

    def _backward(self, batch: Batch, last: bool) -> torch.Tensor:
        """Add one forward pass's gradient; returns the sum of the loss, how much it is over, and whether to stop."""
        words = (self.progress.epoch, self.progress.batch, self.accelerator.process_index)
        torch.manual_seed(derived_seed(self.seed, "forward", *words))
        batch = mix_batch(batch, self.config, generator(self.seed, "mix", *words))
        batch = {**batch, DRAWS: derived_seed(self.seed, "forward", *words[:2], 0)}
        with sharding.unsynchronised(self.wrapped, self.accelerator, last):
            with self.accelerator.autocast():
                outputs = self.wrapped(batch)
            # Sums, not means: passes of unequal numbers of labels then add up to the gradient of the larger batch.
            counted = outputs["count"] * self.share.counts
            self.accelerator.backward(outputs["loss"] * counted / self.config.batch_size)
        if self.live is not None and self.share.counts:
            self.live.update(outputs, batch["target"])
        count = counted.detach().double()
        return torch.stack([outputs["loss"].detach().double() * count, count, torch.full_like(count, self.asked.by is not None)])

    def _step(self, sums: torch.Tensor, group: list[str], learns: bool) -> float:
        """Take one optimizer step on the mean gradient of what was observed; returns the mean loss that was read last.

        On a GPU losses are read every `log_every` steps, or when only the device knows whether there is anything to learn.
        """
        progress = self.progress
        sums = self.accelerator.reduce(sums, "sum")
        self.readings.add(Taken(progress.epoch + 1, progress.step + 1, group, sums))
        count: Any = sums[1].float()
        if not learns or not sums.is_cuda or (progress.step + 1) % self.config.log_every == 0:
            count = self._read()
        rate = learning_rate(
            progress.step, steps=self.config.epochs * self.steps_per_epoch,
            warmup=round(self.config.warmup_epochs * self.steps_per_epoch), peak=self.config.learning_rate,
            final=self.config.final_learning_rate, schedule=self.config.schedule, milestones=self.config.milestones,
        )  # fmt: skip
        set_learning_rate(self.optimizer, rate)
        if isinstance(count, torch.Tensor) or count:  # a step over missing labels alone changes nothing
            sharding.average_gradients(self.single)
            gradients = [sharding.own(p.grad) for p in self.learners if p.grad is not None]
            torch._foreach_mul_(gradients, self.config.batch_size * self.accelerator.num_processes / count)
            if self.config.clip is not None:
                sharding.clip_gradients(self.task, self.learners, self.config.clip, self.accelerator)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        if self.average is not None:
            self.average.update(self.task, step=progress.step)
        if progress.step % self.config.log_every == 0:
            self.accelerator.log({"train_loss": self.readings.last, "learning_rate": rate}, step=progress.step)
        return self.readings.last

    def _save_or_stop(self) -> None:
        """Save where it is time to; stop, too, where a process was asked to: on a GPU at a step whose losses all have read."""
        progress, every = self.progress, self.config.save_every
        stops = self.readings.asked and (self.accelerator.device.type != "cuda" or progress.step % self.config.log_every == 0)
        if stops or (every and progress.step % every == 0):
            self._save_state()
        if stops:
            self.accelerator.wait_for_everyone()  # a process that ends makes torchrun end the others
            raise StoppedError(
                f"stopped as asked in epoch {progress.epoch + 1}, after step {progress.step}, and saved: medzoo train "
                f"resume={self.run.path} goes on"
            )

    def _read(self) -> float:
        """Read the losses of the steps since the last reading; returns how much the last one's is over."""
        last = 0.0
        for loss_sum, last in self.readings.read(str(self.run.state)):
            self.progress.loss_sum += loss_sum
            self.progress.loss_count += last
        return last

    def _end_epoch(self) -> None:
        progress = self.progress
        task: Task = self.average.module if self.average is not None else self.task
        task.eval()
        with sharding.gathered(task):
            outputs, val_loss = Runner(self.accelerator, self.config.batch_size).predict(task, self.val)
        if val_loss is None or not math.isfinite(val_loss):
            raise TrainingError(
                f"the validation loss is {val_loss} after epoch {progress.epoch + 1}; the last good state is kept in "
                f"{self.run.state}: lower trainer.learning_rate"
            )
        value = val_loss if self.monitor == "loss" else self.task.monitor_value(self.monitor, outputs, self.val)
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": progress.loss_sum / progress.loss_count if progress.loss_count else None,
            **(self.live.compute() if self.live is not None else {}),
            "val_loss": val_loss,
            f"val_{self.monitor}": value,
            **{f"val_{name}": found for name, found in task.followed(outputs, self.val).items()},
        }
        progress.history.append(row)
        sign = 1 if self.task.higher_is_better(self.monitor) else -1
        better = value is not None and (progress.best is None or sign * value > sign * progress.best)
        progress.epoch, progress.batch, progress.loss_sum, progress.loss_count = progress.epoch + 1, 0, 0.0, 0.0
        if better:
            progress.best, progress.best_epoch, progress.stale_epochs = value, progress.epoch, 0
            self._save_checkpoint(task, "best")
        else:
            progress.stale_epochs += 1
        patience = self.config.patience
        progress.finished = progress.epoch >= self.config.epochs or (patience is not None and progress.stale_epochs >= patience)
        if progress.finished:
            self._save_checkpoint(task, "last")
        self._save_state()
        if self.accelerator.is_main_process:
            write_history(self.run.history, progress.history)
            if progress.finished or time.monotonic() > self._drawn + REDRAWN:  # drawing takes as long as a small epoch
                plot_history(self.run.plots / "learning_curves.png", progress.history, self.monitor, progress.best_epoch)
                self._drawn = time.monotonic()
            if self.run.checkpoints.is_dir():
                prune(self.run.checkpoints, ["best", "last"])
        self.accelerator.log({k: v for k, v in row.items() if isinstance(v, float)}, step=progress.step)
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float) and k != "learning_rate")
        self.display.say(f"epoch {progress.epoch}/{self.config.epochs}  {shown}{'  (best)' if better else ''}")

    def _live(self, task: Task) -> LiveMetrics | None:
        """Return what follows the training batches, where it is asked for."""
        if not self.config.metrics:
            return None
        if task.spec.targets:
            raise ConfigError("trainer.metrics follows the answers for one target, and there are several; set it to false")
        if task.spec.labels is None or not task.answers_in_training:
            raise ConfigError(
                "trainer.metrics follows a model's answers, and this one gives none while it learns; set it to false"
            )
        return LiveMetrics(task.spec.labels, self.accelerator)

    def _caches(self, task: Task) -> bool:
        """Whether the features of a linear probe are computed once."""
        config = self.config
        if config.finetune != "linear":
            if config.cache_features:
                raise ConfigError("trainer.cache_features is for trainer.finetune=linear: other features change in training")
            return False
        plain = config.augment in ("auto", "none") and task.can_cache(self.train) and not (config.mixup or config.cutmix)
        if config.cache_features and config.augment not in ("auto", "none"):
            raise ConfigError("cached features see no augmentation; set trainer.augment=none or trainer.cache_features=false")
        if config.cache_features and not task.can_cache(self.train):
            raise ConfigError("the features of this model or of cases with several views are not cached; leave it null")
        return plain if config.cache_features is None else config.cache_features

    def _cache_features(self) -> None:
        self.task.eval()
        runner = Runner(self.accelerator, self.config.batch_size, self.config.workers)
        for samples in (self.train, self.val):
            samples.augment = samples.members = None
            samples.features = runner.features(self.task, samples)

    def _save_checkpoint(self, task: Task, pointer: str) -> None:
        writes, name = self.accelerator.is_main_process, f"epoch-{self.progress.epoch:04d}" + "-last" * (pointer == "last")
        weights = sharding.whole(task.model.state_dict(), writes)
        with sharding.gathered(task):
            if writes:
                write_checkpoint(self.run, task, self.yaml, name, pointer, weights)

    def _save_state(self) -> None:
        self._read()
        for name in sharding.not_finite(self.task.model.state_dict()):
            raise TrainingError(
                f"weights {name!r} are not finite at epoch {self.progress.epoch + 1}, step {self.progress.step}; the last "
                f"good state is kept in {self.run.state}: lower trainer.learning_rate or set trainer.clip"
            )
        sums = self.live.state() if self.live is not None and self.progress.batch else {}  # of no whole epoch
        self.resumable.save(self.progress, sums, self.accelerator.is_main_process)
