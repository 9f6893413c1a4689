"""Contrastive training of images and captions: CLIP, SigLIP and every model open_clip builds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError, TrainingError, UnknownNameError
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.samples.send import sent
from medzoo.data.seeding import stable_hash
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.evaluation.bootstrap import NO_INTERVAL
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.retrieval import retrieval_metrics
from medzoo.losses.contrastive import Pairs, contrastive_loss, gather_pairs
from medzoo.models.clip.model import build_clip, encode_image, encode_text
from medzoo.models.clip.tokenizer import TEXT_CONFIG_FILE, TOKENIZER_FILE
from medzoo.models.clip.volume import with_volumes
from medzoo.settings.schema import TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.prepare import write_captions
from medzoo.tasks.task import STANDS_IN, Batch, Task
from medzoo.tasks.views import over_views

TOWERS = ("image", "text")


class Contrast(Task):
    """An open_clip model with a contrastive loss on (`image`, `text`) pairs.

    Attributes:
        spec: The model's spec; `objective` holds `loss` and `freeze`.
        model: `encode_image`, `encode_text`, `logit_scale`, `logit_bias`; see `medzoo.models.clip.model`.
        tokenizer: Text to tokens.
        text_config: The Hugging Face text tower's configuration, or None.
    """

    answers_in_training = False
    accumulates = False  # every pair is the others' negative
    no_copies = "image–text models; set it to 0"

    def __init__(
        self, spec: ModelSpec, model: nn.Module, tokenizer: Tokenizer, text_config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(spec, model)
        self.tokenizer = tokenizer
        self.text_config = text_config
        self.loss = contrastive_loss(spec.objective["loss"])

    @classmethod
    def from_spec(cls, spec: ModelSpec, assets: Mapping[str, bytes]) -> Self:
        """Rebuild the model with its tokenizer and, where it has one, the text tower's configuration.

        Raises:
            CheckpointError: If either is missing or damaged.
        """
        try:
            tokenizer = Tokenizer.from_dict(json.loads(assets[TOKENIZER_FILE]))
            text_config = json.loads(assets[TEXT_CONFIG_FILE]) if TEXT_CONFIG_FILE in assets else None
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's assets are missing or damaged ({type(error).__name__}: {error})") from None
        model = build_clip(spec.arguments["open_clip"], text_config)
        preprocess = spec.preprocess
        return cls(spec, with_volumes(model, spec.arguments, preprocess.size, preprocess.channels), tokenizer, text_config)

    @property
    def embedder(self) -> Contrast:
        """The task itself."""
        return self

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss over the pairs of all processes and the number of this one's pairs; rows without text are left out."""
        return self._loss(batch)

    def compile_network(self) -> None:
        """Compile both towers: the model itself is never called, its `encode_image` and `encode_text` are."""
        self.model.visual.compile()
        (self.model.text if hasattr(self.model, "text") else self.model.transformer).compile()

    def surely_learns(self, batch: Batch) -> bool:
        """Whether any row has a text."""
        return any(batch["text"])

    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`; the loss is of whole batches, see `whole_loss`."""
        return self.predict(batch)

    @torch.no_grad()
    def whole_loss(self, outputs: Mapping[str, NDArray[Any]], samples: SampleDataset, batch_size: int) -> float | None:
        """Return the mean loss over the pairs of a split, in batches of the table's order; None of no pair."""
        if "text_embedding" not in outputs:
            return None
        image, text = (torch.from_numpy(outputs[f"{tower}_embedding"]) for tower in TOWERS)
        texts = [samples.text(index) for index in range(len(samples))]
        keys = torch.tensor([stable_hash(one) >> 1 for one in texts], dtype=torch.int64)
        shown, (scale, bias) = torch.as_tensor(np.asarray(samples.image_keys)), self._scaling("cpu")
        total, pairs = 0.0, 0
        for start in range(0, len(texts), batch_size):
            rows = [row for row in range(start, min(start + batch_size, len(texts))) if texts[row]]
            if rows:
                total += float(self.loss(Pairs(image[rows], text[rows], shown[rows], keys[rows]), scale, bias)) * len(rows)
                pairs += len(rows)
        return total / pairs if pairs else None

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `image_embedding` (N, E), and with text `text_embedding` (N, E), NaN where a row has none; unit vectors."""
        outputs = {"image_embedding": self.embed_images(batch)}
        if "text" in batch:
            kept = [place for place, text in enumerate(batch["text"]) if text]
            texts = torch.full_like(outputs["image_embedding"], float("nan"))
            if kept:
                texts[kept] = self.embed_texts([batch["text"][place] for place in kept])
            outputs["text_embedding"] = texts
        return outputs

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, E) unit image embeddings."""
        return self.embed_images(batch)

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Let a split bear captions made from labels, where the dataset's own are not used."""
        write_captions(samples, dataset, captions)

    def embed_images(self, batch: Batch) -> Tensor:
        """Return (N, E) unit embeddings of a batch's images; of several views their mean."""
        embeddings = over_views(lambda images: self.embed_inputs(self.input(images)), batch)
        return nn.functional.normalize(embeddings, dim=1)

    def embed_inputs(self, inputs: Tensor) -> Tensor:
        """Return (N, E) unit embeddings, with gradient, of images as `input` returns them."""
        return encode_image(self.model, inputs)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return (N, E) unit embeddings of texts; what does not fit the context is cut (`tokenizer.truncated` tells)."""
        device = next(self.model.parameters()).device
        return encode_text(self.model, sent(torch.from_numpy(self.tokenizer(texts)), device))

    def deploy(self) -> nn.Module:
        """Return the image tower to export: raw image → embedding."""
        return ImageTower(self.spec, self.model)

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        texts: list[str] = batch["text"] if STANDS_IN not in batch else [""] * len(batch["text"])
        kept = torch.tensor([place for place, text in enumerate(texts) if text], dtype=torch.int64)
        device = next(self.model.parameters()).device
        part = {k: v for k, v in batch.items() if k in ("image", "view_mask", "image_key")}
        if len(kept) < len(texts):
            part = {k: v[kept.to(v.device, non_blocking=True)] for k, v in part.items()}
        found = [text for text in texts if text]
        keys = torch.tensor([stable_hash(text) >> 1 for text in found], dtype=torch.int64).to(device, non_blocking=True)
        if len(kept):
            pairs = Pairs(self.embed_images(part), self.embed_texts(found), part["image_key"].to(device, non_blocking=True), keys)
        else:
            # Joined to the graph: with several processes each must go backwards through the gathering.
            first = {k: v[:1] for k, v in batch.items() if k in ("image", "view_mask")}
            pairs = Pairs(self.embed_images(first)[:0], self.embed_texts(["a"])[:0], keys, keys)
        whole, (scale, bias) = gather_pairs(pairs), self._scaling(device)
        if len(whole.image) == 0:
            # Nothing to learn, yet every parameter takes part, as wrapping for several devices demands.
            return {"loss": scale.sum() * 0 + whole.image.sum() + whole.text.sum(), "count": torch.zeros((), device=device)}
        return {"loss": self.loss(whole, scale, bias), "count": torch.full((), float(len(kept)), device=device)}

    def _scaling(self, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
        """Return what cosine similarities are multiplied by, and what is added then."""
        scale: Tensor = self.model.logit_scale.exp()  # type: ignore[operator]
        bias: Any = self.model.logit_bias
        return scale.to(device), None if bias is None else bias.to(device)

    def require(self, samples: SampleDataset) -> None:
        """Check that a split has pairs to learn from or to choose by; TrainingError if it has none."""
        if not samples.has_text:
            raise TrainingError(f"the {samples.split} split has no sample with a caption; nothing to learn or choose by")

    def choose_monitor(self, asked: str | None, val: SampleDataset) -> tuple[str, str | None]:
        """Return the metric the epoch is chosen by; the loss unless recall is asked for, and no note."""
        if asked not in (None, "loss", "recall"):
            raise UnknownNameError("metric", asked, ["loss", "recall"], where=" for image–text models")
        return asked or "loss", None

    def monitor_value(self, name: str, outputs: Mapping[str, NDArray[Any]], val: SampleDataset) -> float | None:
        """Return recall@1, the mean of both directions, over the validation split; None of a single pair."""
        found = retrieval_metrics(embeddings_of(val, outputs), ks=(1,), interval=NO_INTERVAL)
        values = [found[direction]["recall@1"]["value"] for direction in ("image_to_text", "text_to_image")]
        return None if None in values else float(np.mean(values))

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a monitored metric is better."""
        return name != "loss"

    def freeze(self, config: TrainerConfig) -> None:
        """Mark what shall not be trained: the towers of `model.freeze`, and with `finetune=linear` all but the projections.

        Raises:
            ConfigError: For `finetune=partial`, which open_clip's towers do not know here.
            UnknownNameError: If `finetune` is not known.
        """
        if config.finetune == "partial":
            raise ConfigError("image–text models take trainer.finetune=full or linear, and model.freeze=[image] or [text]")
        if config.finetune not in ("full", "linear"):
            raise UnknownNameError("trainer.finetune", config.finetune, ["full", "linear"])
        if config.finetune == "linear" and "volume_tower" in self.spec.arguments:
            raise ConfigError("trainer.finetune=linear trains projections, and a network over volumes has none: use full")
        for name, parameter in self.model.named_parameters():
            tower = "image" if name.startswith("visual.") else "text"
            learnt = name in ("logit_scale", "logit_bias") or (
                tower not in self.spec.objective["freeze"] and (config.finetune != "linear" or is_projection(name))
            )
            parameter.requires_grad_(learnt)

    def set_training(self, config: TrainerConfig) -> None:
        """Put the towers that learn into training mode and the frozen ones into evaluation mode."""
        if config.finetune == "linear":
            self.model.eval()
            return
        self.model.train()
        for name, module in self.model.named_children():
            if ("image" if name == "visual" else "text") in self.spec.objective["freeze"]:
                module.eval()

    def assets(self) -> dict[str, bytes]:
        """Return what a checkpoint needs beside weights and spec: the tokenizer, the text tower's configuration."""
        files = {TOKENIZER_FILE: json.dumps(self.tokenizer.to_dict(), ensure_ascii=False).encode("utf-8")}
        if self.text_config is not None:
            files[TEXT_CONFIG_FILE] = json.dumps(dict(self.text_config)).encode("utf-8")
        return files


class ImageTower(nn.Module):
    """The deployable form of the image tower: raw image → `embedding` (N, E), unit vectors."""

    outputs = ("image_embedding",)

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the embeddings of (N, H, W, C) raw images, or (N, D, H, W, C) volumes."""
        values = fit(image.movedim(-1, 1), self.spec.preprocess)
        return (encode_image(self.model, normalise(values, self.spec.preprocess)),)


def is_projection(name: str) -> bool:
    """Whether a parameter of an open_clip model belongs to a tower's last projection into the shared space.

    What weighs the slices of a volume is learnt with it.
    """
    name = name.replace("visual.tower.", "visual.", 1)
    ends = (
        "visual.proj", "visual.head.", "visual.attnpool.c_proj.", "visual.attention.", "text_projection", "text.text_projection",
        "text.proj.",
    )  # fmt: skip
    return any(name == end or (end.endswith(".") and name.startswith(end)) or name.startswith(f"{end}.") for end in ends)


def embeddings_of(
    samples: SampleDataset, outputs: Mapping[str, NDArray[Any]], spec_hash: str = "", split_unit: str = "image"
) -> Embeddings:
    """Return what a model made of a split, from its outputs in table order."""
    texts = np.array([samples.text(index) for index in range(len(samples))], dtype=object)
    return Embeddings(
        sample_id=samples.sample_ids, split=np.full(len(samples), samples.split, dtype=object),
        group=samples.rows["group"].astype(str).to_numpy(dtype=object), image=outputs["image_embedding"].astype(np.float32),
        image_key=np.array([str(key) for key in samples.image_keys], dtype=object), text=texts,
        text_embedding=outputs["text_embedding"].astype(np.float32) if texts.astype(bool).any() else None, spec_hash=spec_hash,
        details={"split_unit": split_unit},
    )  # fmt: skip
