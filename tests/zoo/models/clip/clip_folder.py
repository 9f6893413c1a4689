"""An open_clip checkpoint folder with a timm image tower and a Hugging Face text tower, both random and tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertTokenizerFast

WORDS = [
    "a",
    "an",
    "the",
    "of",
    "skin",
    "image",
    "photo",
    "scan",
    "lesion",
    "nevus",
    "melanoma",
    "melanocytic",
    "mole",
    "no",
    "with",
    "and",
    "is",
    "in",
    "this",
    "normal",
    "benign",
    "malignant",
    "psoriasis",
    "eczema",
    "phantom",
    "cyst",
    "tumour",
    "mass",
    "nodule",
    "grade",
    "synthetic",
    "organ",
    "calcified",
]


def write_folder(folder: Path, *, width: int = 32, text_width: int = 48, weights: bool = True) -> Path:
    """Write configuration, weights, text configuration and tokenizer as open_clip's `local-dir:` expects them."""
    from open_clip.model import CustomTextCLIP

    folder.mkdir(parents=True, exist_ok=True)
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,:;()-/", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789")]
    vocabulary = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    BertTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    ).save_pretrained(folder)
    text = BertConfig(
        vocab_size=len(vocabulary), hidden_size=text_width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(text.to_dict()))
    config: dict[str, Any] = {
        "embed_dim": width,
        "vision_cfg": {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
        "text_cfg": {
            "hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler", "context_length": 24,
        },
    }  # fmt: skip
    preprocess = {
        "size": 64,
        "mean": [0.4, 0.4, 0.4],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    built = {**config, "text_cfg": {**config["text_cfg"], "hf_model_pretrained": False}}
    model = CustomTextCLIP(**built)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
    if weights:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder
