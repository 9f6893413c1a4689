"""Batch normalisation of several processes: what counts in its statistics, and what cannot be shared."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.slices import SliceNetwork
from medzoo.models.shared_norm import counting, share_norms, share_of


def test_what_one_part_is_given_counts_apart_from_another() -> None:
    model = nn.ModuleDict({name: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for name in ("left", "right")})
    share = share_norms(model)
    left, right = (model[name][1] for name in ("left", "right"))
    assert share_of(model["left"]) is share
    counting(model["left"], False)
    assert (left.counts, right.counts) == (False, True)
    counting(model["left"], True)
    share.counts = False  # a sample that only stands in counts in no part
    assert (left.counts, right.counts) == (False, False)


def test_a_part_that_takes_no_statistics_shares_nothing() -> None:
    model = nn.ModuleDict({"norm": nn.BatchNorm2d(2), "plain": nn.LayerNorm(2)})
    share_norms(model)
    assert share_of(model["plain"]) is None
    assert share_of(model["norm"].eval()) is None
    values = torch.randn(3, 2, 4, 4)
    assert torch.equal(model["norm"](values), nn.BatchNorm2d(2).eval()(values))


def test_slices_some_at_a_time_are_refused_where_they_are_normalised_over() -> None:
    normalised = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    share_norms(SliceNetwork(normalised, 0, "mean"))
    share_norms(SliceNetwork(nn.Conv2d(1, 2, 3), 0, "mean", chunk=4))
    with pytest.raises(ConfigError, match="4 slices at a time"):
        share_norms(SliceNetwork(normalised, 0, "mean", chunk=4))
