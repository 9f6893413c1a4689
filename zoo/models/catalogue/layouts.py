"""How published checkpoints call their tensors, turned into the names of the network that medzoo builds for them.

Each is a small function of names and tensors; what it leaves unknown keeps its name, so that strict loading tells of it. The
public file that states the names is in the card's `sources`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def plain(tensors: Tensors) -> dict[str, Tensor]:
    """The network's own names, or a prefix before them."""
    return dict(tensors)


def hugging_face_clip(tensors: Tensors) -> dict[str, Tensor]:
    """Names of transformers' `CLIPModel` → those of open_clip's `CLIP`; projections are stored the other way round."""
    kept = {key: tensor for key, tensor in tensors.items() if not key.endswith(".position_ids")}
    kept = _stacked(kept, r"(?P<layer>.+\.self_attn)\.{}_proj\.(?P<part>weight|bias)", "{layer}.in_proj_{part}", "qkv")
    rules = [
        (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
        (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
        (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
        (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
        (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
        (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
        (r"^visual_projection\.weight$", "visual.proj"),
        (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
        (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
        (r"^text_model\.final_layer_norm\.", "ln_final."),
        (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
        (r"^text_projection\.weight$", "text_projection"),
        *_BLOCKS,
    ]
    renamed = _renamed(kept, rules)
    return {key: t.T if key in ("visual.proj", "text_projection") else t for key, t in renamed.items()}


def hugging_face_siglip(tensors: Tensors) -> dict[str, Tensor]:
    """Names of transformers' `SiglipModel` → those of open_clip's `CustomTextCLIP` over a timm image tower with a map head."""
    kept = {key: tensor for key, tensor in tensors.items() if not key.endswith(".position_ids")}
    attention = r"(?P<layer>{}.+\.self_attn)\.{{}}_proj\.(?P<part>weight|bias)"
    kept = _stacked(kept, attention.format("vision_model"), "{layer}.qkv.{part}", "qkv")
    kept = _stacked(kept, attention.format("text_model"), "{layer}.in_proj_{part}", "qkv")
    trunk = "visual.trunk."
    rules = [
        (r"^vision_model\.embeddings\.patch_embedding\.", f"{trunk}patch_embed.proj."),
        (r"^vision_model\.embeddings\.position_embedding\.weight$", f"{trunk}pos_embed"),
        (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.", rf"{trunk}blocks.\1.attn.proj."),
        (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.", rf"{trunk}blocks.\1.attn."),
        (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm", rf"{trunk}blocks.\1.norm"),
        (r"^vision_model\.encoder\.layers\.", f"{trunk}blocks."),
        (r"^vision_model\.post_layernorm\.", f"{trunk}norm."),
        (r"^vision_model\.head\.probe$", f"{trunk}attn_pool.latent"),
        (r"^vision_model\.head\.attention\.out_proj\.", f"{trunk}attn_pool.proj."),
        (r"^vision_model\.head\.layernorm\.", f"{trunk}attn_pool.norm."),
        (r"^vision_model\.head\.mlp\.", f"{trunk}attn_pool.mlp."),
        (r"^text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
        (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positional_embedding"),
        (r"^text_model\.final_layer_norm\.", "text.ln_final."),
        (r"^text_model\.head\.", "text.text_projection."),
        (r"^text_model\.encoder\.layers\.", "text.transformer.resblocks."),
    ]
    renamed = _renamed(kept, rules)
    renamed |= _renamed({key: renamed.pop(key) for key in list(renamed) if key.startswith("text.transformer.")}, _BLOCKS)
    found: dict[str, Tensor] = {}
    for key, tensor in renamed.items():
        if key == f"{trunk}pos_embed":
            found[key] = tensor[None]
        elif key in ("logit_scale", "logit_bias"):
            found[key] = tensor.reshape(())
        elif key.startswith("vision_model.head.attention.in_proj_"):  # the query is of the probe, key and value of the image
            part, width = key.rpartition("_")[2], len(tensor) // 3
            found[f"{trunk}attn_pool.q.{part}"], found[f"{trunk}attn_pool.kv.{part}"] = tensor[:width], tensor[width:]
        else:
            found[key] = tensor
    return found


def hugging_face_dinov2(tensors: Tensors) -> dict[str, Tensor]:
    """Names of transformers' `Dinov2Model` → timm's `VisionTransformer`; the mask token of its training is left out."""
    kept = {key: tensor for key, tensor in tensors.items() if key != "embeddings.mask_token"}
    kept = _stacked(
        kept, r"(?P<layer>.+)\.attention\.attention\.{}\.(?P<part>weight|bias)", "{layer}.attn.qkv.{part}",
        ("query", "key", "value"),
    )  # fmt: skip
    rules = [
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^encoder\.layer\.", "blocks."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
        (r"^layernorm\.", "norm."),
    ]
    return _renamed(kept, rules)


def cae(tensors: Tensors) -> dict[str, Tensor]:
    """Names of a context autoencoder's image encoder → timm's `VisionTransformer`; a key has no bias there, which is one of 0."""
    inside = "encoder." if any(key.startswith("encoder.blocks.") for key in tensors) else ""
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if not key.startswith(inside):
            found[key] = tensor
            continue
        name = re.sub(r"\.gamma_(\d)$", r".ls\1.gamma", key.removeprefix(inside))
        if name.endswith(".q_bias"):
            value = tensors.get(f"{key.removesuffix('q_bias')}v_bias")
            if value is None:
                found[name] = tensor
            else:
                found[f"{name.removesuffix('q_bias')}qkv.bias"] = torch.cat([tensor, torch.zeros_like(tensor), value])
        elif not name.endswith(".v_bias") or f"{key.removesuffix('v_bias')}q_bias" not in tensors:
            found[name] = tensor
    return found


def sequential_resnet(tensors: Tensors) -> dict[str, Tensor]:
    """A ResNet's children by number, as `nn.Sequential` counts them → their names."""
    places = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    return _renamed(tensors, [(rf"^(?:module\.)?backbone\.{place}\.", f"{name}.") for place, name in places.items()])


def unicl_davit(tensors: Tensors) -> dict[str, Tensor]:
    """The image encoder of a UniCL model over DaViT → timm's `DaVit`; the text half keeps its names."""
    inside = (
        "visual." if any(key.startswith("visual.convs.") for key in tensors) else "image_encoder."
    )  # earlier files, later ones
    own = {key.removeprefix(inside): tensor for key, tensor in tensors.items()}
    rules = [
        (r"^convs\.0\.", "stem."),
        (r"^convs\.(\d+)\.", r"stages.\1.downsample."),
        (r"^blocks\.(\d+)\.", r"stages.\1.blocks."),
        (r"^(stem|stages\.\d+\.downsample)\.proj\.", r"\1.conv."),
        (r"\.(?:window|channel)_attn\.norm\.", ".norm1."),
        (r"\.(?:window|channel)_attn\.fn\.", ".attn."),
        (r"\.ffn\.norm\.", ".norm2."),
        (r"\.ffn\.fn\.net\.", ".mlp."),
        (r"\.conv(\d)\.fn\.dw\.", r".cpe\1.proj."),
        (r"^norms\.", "head.norm."),
    ]
    return _renamed(own, rules)


def swin_unetr(tensors: Tensors) -> dict[str, Tensor]:
    """The self-supervised Swin encoder of MONAI's Swin UNETR → those of `swin_3d`; heads of its training keep their names."""
    rules = [(r"^module\.", ""), (r"^(patch_embed|layers\d)\.", r"swin.\1."), (r"\.mlp\.fc(\d)\.", r".mlp.linear\1.")]
    return _renamed(tensors, rules)


LAYOUTS: Mapping[str, Callable[[Tensors], dict[str, Tensor]]] = {
    "plain": plain,
    "hugging_face_clip": hugging_face_clip,
    "hugging_face_siglip": hugging_face_siglip,
    "hugging_face_dinov2": hugging_face_dinov2,
    "cae": cae,
    "sequential_resnet": sequential_resnet,
    "unicl_davit": unicl_davit,
    "swin_unetr": swin_unetr,
}
"""Layout of a card → what turns a file's tensors into a network's."""

_BLOCKS = [
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
]
"""Within a transformer's block, transformers' names and open_clip's."""


def _renamed(tensors: Tensors, rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


def _stacked(tensors: Tensors, pattern: str, name: str, parts: Any) -> dict[str, Tensor]:
    """Stack what is stored apart, in the order of `parts`; an incomplete set keeps its names."""
    first = re.compile(f"^{pattern.format(parts[0])}$")
    patterns = [re.compile(f"^{pattern.format(part)}$") for part in parts]
    groups: dict[str, list[str]] = {}
    for key in tensors:
        for each in patterns:
            if (match := each.match(key)) is not None:
                groups.setdefault(name.format(**match.groupdict()), []).append(key)
    found = dict(tensors)
    for stacked, keys in groups.items():
        if len(keys) != len(patterns) or not any(first.match(key) for key in keys):
            continue
        ordered = [next(key for key in keys if each.match(key)) for each in patterns]
        found[stacked] = torch.cat([found.pop(key) for key in ordered])
    return found
