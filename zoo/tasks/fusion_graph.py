"""Several modalities as they are exported: one graph, in which each of them may be left out."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medzoo.data.images.given import view_names
from medzoo.data.inputs import InputSpace
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.losses.objective import Objective
from medzoo.models.fusion.network import INPUTS, FusionNetwork
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import in_units, probabilities

BLANK = 8
"""Pixels a side of what stands for an image that is left out."""


class FusionGraph(nn.Module):
    """The deployable form of several modalities; outputs `logits`, `probabilities` (N, K).

    Inputs are `image`, the first modality's raw images, those of the others by their names, further views of one as `<name>_2`
    and so on, texts by their names as (N, L) token ids, `<name>_mask` (N, 1) of each, 1 where it is there, and `inputs` (N, V)
    values, NaN where missing, categories as codes. All but `image` may be left out: the others are then missing, and `image` is
    there. What is missing changes nothing, whatever stands in its place.

    Attributes:
        optional_inputs: Input → what it is where it is left out, in the order of `forward`.
        examples: Input → what it is traced with, of those that cannot be made up: token ids.
    """

    outputs = ("logits", "probabilities")

    def __init__(self, spec: ModelSpec, model: FusionNetwork, texts: Mapping[str, Tokenizer]) -> None:
        super().__init__()
        self.spec, self.model = spec, model
        self.objective = Objective.from_dict(spec.objective)
        self.preprocess = {name: spec.preprocess_of(name) for name in spec.arguments["encoders"]}
        self.views = {name: view_names(name, int(spec.arguments["encoders"][name].get("views", 1))) for name in self.preprocess}
        self.texts = list(texts)
        self.first, *others = [view for views in self.views.values() for view in views]
        about = spec.arguments.get("inputs")
        self.inputs = None if about is None else InputSpace.from_dict(about)
        self.optional_inputs: dict[str, Tensor] = {}
        for name, own in self.preprocess.items():
            dtype = torch.uint8 if own.dtype == "uint8" else torch.float32
            for view in self.views[name]:
                if view != self.first:
                    self.optional_inputs[view] = torch.zeros(1, *(BLANK for _ in own.size), own.channels, dtype=dtype)
        self.optional_inputs |= {name: torch.zeros(1, one.context_length, dtype=torch.int64) for name, one in texts.items()}
        self.examples = {name: torch.from_numpy(one(["a", "an image, 3 cm (moderate)"])) for name, one in texts.items()}
        self.optional_inputs[f"{self.first}_mask"] = torch.ones(1, 1)
        self.optional_inputs |= {f"{name}_mask": torch.zeros(1, 1) for name in (*others, *self.texts)}
        if self.inputs is not None:
            self.optional_inputs[INPUTS] = torch.full((1, self.inputs.width), torch.nan)
        self.metadata = {
            "medzoo.modalities": json.dumps(
                {"images": {name: own.to_dict() for name, own in self.preprocess.items()},
                 "inputs": None if self.inputs is None else self.inputs.to_dict(),
                 **({"texts": self.texts} if texts else {})},
                ensure_ascii=False,
            ),
        }  # fmt: skip
        if texts:
            told = {name: one.to_dict() for name, one in texts.items()}
            self.metadata["medzoo.tokenizers"] = json.dumps(told, ensure_ascii=False)
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities; `further` as named in `optional_inputs`, of N rows or one for all."""
        logits = self.logits(image, *further)
        return logits, probabilities(logits, self.spec.label_space)

    def logits(self, image: Tensor, *further: Tensor) -> Tensor:
        """Return logits; arguments as for `forward`."""
        given = dict(zip(self.optional_inputs, further, strict=True))
        raw, rows = {self.first: image, **given}, image.shape[0]  # len() would fix it in the graph
        tokens, there = [], []
        for name, own in self.preprocess.items():
            seen = [normalise(fit(raw[view].movedim(-1, 1), own), own) for view in self.views[name]]
            masks = [given[f"{view}_mask"][:, 0] > 0.5 for view in self.views[name]]
            if len(seen) == 1:
                found, mask = self.model.encoders[name](seen[0]), masks[0]
            else:  # all views through the encoder together, so that it stands in the file once
                each = [values.expand(rows, *values.shape[1:]) for values in seen]
                shown = torch.stack([one.expand(rows) for one in masks])
                parts = self.model.encoders[name](torch.cat(each)).float().reshape(len(each), rows, -1)
                found = (parts * shown[..., None]).sum(dim=0) / shown.sum(dim=0).clamp(min=1)[:, None]
                mask = shown.any(dim=0)
            tokens.append(self.model.token(name, found, mask))
            there.append(mask)
        for name in self.texts:
            mask = given[f"{name}_mask"][:, 0] > 0.5
            tokens.append(self.model.token(name, self.model.encoders[name](given[name]), mask))
            there.append(mask)
        if self.inputs is not None:
            assert self.model.inputs is not None
            mask = (~torch.isnan(given[INPUTS])).any(dim=1)
            tokens.append(self.model.token(INPUTS, self.model.inputs(given[INPUTS]), mask))
            there.append(mask)
        joined = self.model.joined([token.expand(rows, -1) for token in tokens], [mask.expand(rows) for mask in there])
        return in_units(self.model.answers(joined), self.objective)
