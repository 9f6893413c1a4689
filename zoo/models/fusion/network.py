"""The network of several modalities: what each encoder says of those samples that have it, joined into one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.losses.gathered import added, processes
from medzoo.models.fusion.inputs import InputEncoder
from medzoo.models.fusion.join import JOINS
from medzoo.models.heads.targets import TargetHeads
from medzoo.models.shared_norm import counting, share_of

INPUTS = "inputs"


class FusionNetwork(nn.Module):
    """Images and texts by modality and values beside them, any of them missing → (N, K).

    Args:
        encoders: Modality → (M, C, ...) normalised images, or (M, L) token ids → (M, width); in the order of the tokens.
        inputs: Of the values beside the images; None: there are none.
        join: One of `medzoo.models.fusion.join.JOINS`.
        width: Of a token.
        outputs: Numbers that the last layer gives.
        link: What makes outputs of those; None: they are the outputs.

    Attributes:
        names: Of the modalities, the values beside the images last.
        heads: Of the targets beside the first, where there are several; None: there are none.
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], inputs: InputEncoder | None, join: str, width: int, outputs: int,
        link: nn.Module | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = (*encoders, *((INPUTS,) if inputs is not None else ()))
        self.encoders = nn.ModuleDict(encoders)
        self.inputs = inputs
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in self.names})
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in self.names})
        self.join = JOINS[join](len(self.names), width)
        self.head = nn.Linear(width, outputs)
        self.link = link
        self.heads: TargetHeads | None = None

    def forward(self, images: Mapping[str, Tensor], present: Mapping[str, Tensor], values: Tensor | None = None) -> Tensor:
        """Return (N, K); arguments as for `features`."""
        return self.answers(self.features(images, present, values))

    def features(
        self, images: Mapping[str, Tensor], present: Mapping[str, Tensor], values: Tensor | None = None,
        prepare: Callable[[str, Tensor], Tensor] = lambda name, images: images
    ) -> Tensor:  # fmt: skip
        """Return (N, F) joined features, the input of the last layer.

        An encoder is given the images that are there and no others, so that the missing ones count in no batch statistics.

        Args:
            images: Modality → (N, C, ...), or (N, V, C, ...) of several views, whose tokens are averaged; of texts (N, L) token
                ids. One that no sample has may be left out.
            present: Modality → (N,) or (N, V) bool, on the host, so that nobody waits for a device to know how many there are.
            values: (N, V) values beside the images.
            prepare: Makes what an encoder takes of a modality's (M, C, ...) images that are there.
        """
        return self.combined(self.encoded(images, present, prepare), present, values)

    def encoded(
        self, images: Mapping[str, Tensor], present: Mapping[str, Tensor], prepare: Callable[[str, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return image modality → (N, D) what its encoder says, 0 where it is missing; arguments as for `features`.

        Of several processes that learn together all go through an encoder, or none: one without images for it looks at a blank
        one, of which nothing is kept.
        """
        every = self._shared_counts(present) if self.training and processes() > 1 else {}
        return {name: self._encoded(name, images.get(name), present[name], prepare, every.get(name)) for name in self.encoders}

    def combined(self, encoded: Mapping[str, Tensor], present: Mapping[str, Tensor], values: Tensor | None = None) -> Tensor:
        """Return (N, F) joined features of what the encoders said; `present` and `values` as for `features`."""
        found = dict(encoded)
        if self.inputs is not None:
            assert values is not None
            found[INPUTS] = self.inputs(values)
        device = self.head.weight.device
        there = {
            name: (present[name] if present[name].ndim == 1 else present[name].any(dim=1)).to(device, non_blocking=True)
            for name in self.names
        }
        return self.joined([self.token(name, found[name], there[name]) for name in self.names], list(there.values()))

    def token(self, name: str, found: Tensor, there: Tensor) -> Tensor:
        """Return a modality's (N, D) tokens: what its encoder found where it is there (N,), and a learnt one elsewhere."""
        return torch.where(there[:, None], self.norms[name](found.float()), self.absent[name])

    def joined(self, tokens: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
        """Return (N, F) features of the tokens of all modalities, (N, D) each, and whether each is there."""
        found: Tensor = self.join(torch.stack(list(tokens), dim=1), torch.stack(list(there), dim=1))
        return found

    def answers(self, features: Tensor) -> Tensor:
        """Return (N, K) of joined features."""
        outputs: Tensor = self.head(features)
        outputs = outputs if self.link is None else self.link(outputs)
        return outputs if self.heads is None else torch.cat([outputs, self.heads(features)], dim=1)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head

    def _shared_counts(self, present: Mapping[str, Tensor]) -> dict[str, int]:
        """Return how many images all processes have for each encoder that normalises by what all of them hold."""
        shares = {name: share for name, encoder in self.encoders.items() if (share := share_of(encoder)) is not None}
        if not shares:
            return {}
        own = [int(present[name].sum()) * share.counts for name, share in shares.items()]
        return dict(zip(shares, added(torch.tensor(own, device=self.head.weight.device)).tolist(), strict=True))

    def _encoded(
        self, name: str, images: Tensor | None, mask: Tensor, prepare: Callable[[str, Tensor], Tensor], every: int | None
    ) -> Tensor:  # fmt: skip
        """Return (N, D): what an encoder says of the images that are there, 0 elsewhere; of several views the mean.

        `every` is how many all processes have, where it normalises by what all of them hold.
        """
        views = 1 if mask.ndim == 1 else mask.shape[1]
        rows = mask.flatten().nonzero()[:, 0]
        width = self.head.in_features
        encoder: Any = self.encoders[name]
        kept = len(rows)
        if every is not None:
            counting(encoder, kept > 0)
        if images is None or not (kept or every):
            return torch.zeros(len(mask), width, device=self.head.weight.device)
        if self.training and kept == 1 and every in (None, 1):  # batch normalisation needs two, the one twice has its statistics
            kept, rows = 2, rows.repeat(2)
        given = images if mask.ndim == 1 else images.flatten(0, 1)
        there = rows.to(images.device, non_blocking=True)
        # Without images of its own a process looks at a blank one, in company of those who have some.
        shown = given.index_select(0, there) if kept else given[:1]
        seen: Tensor = encoder(prepare(name, shown)).float()[:kept]
        total = seen.new_zeros(len(mask), width).index_add(0, there // views, seen)
        counts = torch.bincount(rows // views, minlength=len(mask)).clamp(min=1)
        return total / counts[:, None].to(images.device, non_blocking=True)
