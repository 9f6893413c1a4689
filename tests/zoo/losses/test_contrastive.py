"""Contrastive losses against open_clip's own, by hand with repeats, and over two processes."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss

from medzoo.data.errors import UnknownNameError
from medzoo.losses.contrastive import Pairs, clip_loss, contrastive_loss, siglip_loss


def pairs(count: int, image_key: list[int] | None = None, text_key: list[int] | None = None, seed: int = 0) -> Pairs:
    torch.manual_seed(seed)
    image, text = (F.normalize(torch.randn(count, 8), dim=1) for _ in range(2))
    order = list(range(count))
    return Pairs(image, text, torch.tensor(image_key or order), torch.tensor(text_key or order))


@pytest.mark.parametrize("bias", [None, torch.tensor(-3.0)])
def test_without_repeats_they_equal_open_clip(bias: torch.Tensor | None) -> None:
    batch, scale = pairs(9), torch.tensor(14.0)
    torch.testing.assert_close(clip_loss(batch, scale), ClipLoss()(batch.image, batch.text, scale))
    theirs = SigLipLoss()(batch.image, batch.text, scale, bias)
    torch.testing.assert_close(siglip_loss(batch, scale, bias), theirs)


@pytest.mark.parametrize("loss", [clip_loss, siglip_loss])
def test_mixed_precision_rounds_no_similarity(loss: Callable[..., torch.Tensor]) -> None:
    batch, scale = pairs(9), torch.tensor(100.0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(batch, scale)
    assert torch.equal(mixed, loss(batch, scale))


def test_clip_with_a_repeated_caption_by_hand() -> None:
    """Images 0 and 1 bear one caption: each is right with either copy, so the best loss is log 2, not 0."""
    image = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    batch = Pairs(image, image.clone(), torch.tensor([0, 1, 2]), torch.tensor([7, 7, 8]))
    scale = torch.tensor(2.0)
    row = math.log(2 * math.exp(2) + 1)  # logits of image 0: [2, 2, 0]
    first = -(0.5 * (2 - row) + 0.5 * (2 - row))
    third = -(2 - math.log(math.exp(2) + 2))
    by_hand = (2 * first + third) / 3
    assert clip_loss(batch, scale).item() == pytest.approx(by_hand, abs=1e-6)
    plain = ClipLoss()(batch.image, batch.text, scale).item()
    distinct = Pairs(image, image.clone(), torch.arange(3), torch.arange(3))
    assert clip_loss(distinct, scale).item() == pytest.approx(plain, abs=1e-6)
    assert clip_loss(batch, torch.tensor(50.0)).item() == pytest.approx((2 * math.log(2)) / 3, abs=1e-6)


def test_siglip_with_a_repeated_image_by_hand() -> None:
    image = torch.tensor([[1.0, 0], [1.0, 0]])
    text = torch.tensor([[1.0, 0], [0, 1.0]])
    batch = Pairs(image, text, torch.tensor([5, 5]), torch.tensor([0, 1]))
    scale, bias = torch.tensor(3.0), torch.tensor(-1.0)
    yes = lambda z: math.log1p(math.exp(-z))  # noqa: E731
    by_hand = (yes(2.0) + yes(-1.0) + yes(2.0) + yes(-1.0)) / 2  # all four pairs belong together
    assert siglip_loss(batch, scale, bias).item() == pytest.approx(by_hand, abs=1e-6)


def test_an_unknown_loss_is_one_line() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'siglip'"):
        contrastive_loss("sigclip")


TWO = """
import sys, torch, torch.nn.functional as F
from torch import distributed
from medzoo.losses.contrastive import Pairs, gather_pairs, clip_loss, siglip_loss
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
raw = torch.randn(2, 5, 8)
keys = torch.tensor([[0, 1, 2, 0, 4], [0, 1, 2, 3, 1]])
cut = [slice(0, 3), slice(3, 5)][rank]
leaf = raw[:, cut].clone().requires_grad_()
loss = clip_loss if sys.argv[1] == "clip" else siglip_loss
unit = F.normalize(leaf, dim=2)
whole = gather_pairs(Pairs(unit[0], unit[1], keys[0, cut], keys[1, cut]))
value = loss(whole, torch.tensor(5.0), None)
(value * leaf.shape[1]).backward()
alone = raw.clone().requires_grad_()
unit = F.normalize(alone, dim=2)
single = loss(Pairs(unit[0], unit[1], keys[0], keys[1]), torch.tensor(5.0), None)
single.backward()
torch.testing.assert_close(value, single)
torch.testing.assert_close(leaf.grad, 5 * alone.grad[:, cut])
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_unequal_shares_of_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    """Each process's gradient sums over processes: its pairs times that of the whole batch, as the loop expects."""
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), name]
    done = subprocess.run(launch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
