"""How often each training sample is drawn in an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.splits.draws import balanced_weights, even_weights
from medzoo.settings.schema import LossConfig

SAMPLINGS = ("shuffle", "balanced", "groups")


def drawn_with(
    sampling: str, samples: SampleDataset, labels: LabelSpace | None, *, several: bool = False
) -> NDArray[np.float64] | None:
    """Return (N,) the probability of drawing each sample, with replacement; None: every sample once.

    A sample of weight 2 is there twice: it is drawn so much more often, and its weight, which would count it once more, is taken
    from the samples.

    Args:
        sampling: One of `SAMPLINGS`.
        samples: The training split.
        labels: Of the dataset.
        several: Whether it has several targets.

    Raises:
        UnknownNameError: If there is no such sampling.
        ConfigError: If it needs what the samples lack.
    """
    if sampling not in SAMPLINGS:
        raise UnknownNameError("trainer.sampling", sampling, SAMPLINGS)
    if sampling == "shuffle":
        return None
    if sampling == "groups":
        if "group_code" not in samples.further:
            raise ConfigError("trainer.sampling=groups draws the groups of loss.group equally often; name their column there")
        assert samples.targets is not None  # loss.group has seen to it
        labelled = np.asarray(~np.isnan(samples.targets).all(axis=1))
        return even_weights(samples.further["group_code"], labelled, samples.further.pop("weight", None))
    if several:
        raise ConfigError("trainer.sampling=balanced is of one target's classes, and there are several; use shuffle")
    if labels is None or samples.targets is None:
        raise ConfigError("trainer.sampling=balanced needs labels, and this dataset has none; use shuffle")
    return balanced_weights(samples.targets, labels, samples.further.pop("weight", None))


def evened_twice(sampling: str, loss: LossConfig) -> str | None:
    """Return a note where a loss evens out what sampling has evened out before it; None where it does not.

    Each is by the shares of the training split, which are no longer those drawn: both together weigh what is rare as many
    times too much as either alone lifts it.

    Args:
        sampling: One of `SAMPLINGS`.
        loss: The loss, its `group` as `medzoo.tasks.setup.groups` has checked it.
    """
    if sampling == "balanced":
        asked = {
            "class_weights=balanced": loss.class_weights == "balanced",
            "positive_weights=balanced": loss.positive_weights == "balanced",
            f"logit_adjustment={loss.logit_adjustment}": bool(loss.logit_adjustment),
        }
        found, what = [name for name, given in asked.items() if given], "classes"
    elif sampling == "groups" and isinstance(loss.group, Mapping) and loss.group.get("how") == "balanced":
        found, what = ["group.how=balanced"], "groups"
    else:
        return None
    if not found:
        return None
    return f"trainer.sampling={sampling} evens out the {what}, and loss.{found[0]} does it once more: rare ones count twice over"
