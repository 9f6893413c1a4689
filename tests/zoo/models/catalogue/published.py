"""State dicts of the published names and shapes, made without a value (torch's meta device), by the libraries that wrote them.

Where no installed library has the names, they are written out here from the public file that the card names.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import open_clip
import timm
import torch
import torchvision
from torch import Tensor, nn

from medzoo.models.catalogue.card import WeightsCard
from medzoo.models.clip.model import build_clip

Published = dict[str, Tensor]
META = torch.device("meta")


def tensors(shapes: dict[str, tuple[int, ...]]) -> Published:
    return {name: torch.empty(shape, device=META) for name, shape in shapes.items()}


def prefixed(prefix: str, state: dict[str, Tensor], without: str = "^$") -> Published:
    return {f"{prefix}{name}": tensor for name, tensor in state.items() if not re.search(without, name)}


def clip_config(card: WeightsCard) -> dict[str, object]:
    return {**(open_clip.get_model_config(card.architecture) or {}), **card.open_clip}


def open_clip_names(card: WeightsCard) -> Published:
    with META:
        return build_clip(clip_config(card), card.text_config).state_dict()


def hugging_face_clip(card: WeightsCard) -> Published:
    from transformers import CLIPConfig, CLIPModel

    config = open_clip.get_model_config(card.architecture)
    towers = {}
    for tower, own in (("text_config", config["text_cfg"]), ("vision_config", config["vision_cfg"])):
        towers[tower] = {
            "hidden_size": own["width"], "intermediate_size": 4 * own["width"], "num_hidden_layers": own["layers"],
            "num_attention_heads": own["width"] // 64,
        }  # fmt: skip
    towers["vision_config"] |= {"patch_size": config["vision_cfg"]["patch_size"], "image_size": 224}
    with META:
        made = CLIPModel(CLIPConfig(projection_dim=config["embed_dim"], **towers)).state_dict()
    # Buffers that files of before transformers 4.31 hold.
    ids = {f"{tower}.embeddings.position_ids": torch.empty((1, 77), device=META) for tower in ("text_model", "vision_model")}
    return {**made, **ids}


def hugging_face_siglip(card: WeightsCard) -> Published:
    from transformers import SiglipConfig, SiglipModel

    towers = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    vision = {**towers, "image_size": 448, "patch_size": 14}
    text = {**towers, "vocab_size": 32000, "max_position_embeddings": 64}
    with META:
        return SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).state_dict()


def hugging_face_dinov2(card: WeightsCard) -> Published:
    from transformers import Dinov2Config, Dinov2Model

    large = "large" in card.architecture
    config = Dinov2Config(
        hidden_size=1024 if large else 768, num_hidden_layers=24 if large else 12, num_attention_heads=16 if large else 12,
        image_size=card.preprocess["size"], patch_size=16 if large else 14,
    )  # fmt: skip
    with META:
        return dinov2_files(Dinov2Model(config).state_dict())


def dinov2_files(state: dict[str, Tensor]) -> Published:
    """transformers 5 renamed attention; files keep the names of transformers 4."""
    new = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}
    return {re.sub(r"attention\.([qkvo]_proj)\.", lambda m: f"attention.{new[m[1]]}.", name): t for name, t in state.items()}


def cae(card: WeightsCard) -> Published:
    width, depth = (1024, 24) if "large" in card.architecture else (768, 12)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 197, width), "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,), "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for block in range(depth):
        own = {
            "gamma_1": (width,), "gamma_2": (width,), "norm1.weight": (width,), "norm1.bias": (width,), "attn.q_bias": (width,),
            "attn.v_bias": (width,), "attn.qkv.weight": (3 * width, width), "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,), "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,), "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
        }  # fmt: skip
        shapes.update({f"blocks.{block}.{name}": shape for name, shape in own.items()})
    return {**prefixed("encoder.", tensors(shapes)), **tensors({"decoder.norm.weight": (width,)})}


def torchvision_resnet50(card: WeightsCard) -> Published:
    with META:
        made = torchvision.models.resnet50()
    if card.layout == "sequential_resnet":
        return prefixed("backbone.", nn.Sequential(*list(made.children())[:-2]).state_dict())
    text = tensors({"text_model.model.embeddings.word_embeddings.weight": (28996, 768), "logit_scale": ()})
    projection = tensors({"vision_model.projection_head_vision.projection.weight": (512, 2048)})
    return {**prefixed("vision_model.model.", made.state_dict(), r"^fc\."), **projection, **text}


def unicl_davit(card: WeightsCard) -> Published:
    widths, shapes = (256, 512, 1024, 2048), {}
    for stage, (width, before, depth) in enumerate(zip(widths, (3, *widths), (1, 1, 9, 1), strict=False)):
        side = 7 if stage == 0 else 3
        shapes[f"convs.{stage}.proj.weight"], shapes[f"convs.{stage}.proj.bias"] = (width, before, side, side), (width,)
        for part in ("weight", "bias"):  # before the convolution in all stages but the first
            shapes[f"convs.{stage}.norm.{part}"] = (before if stage else width,)
        for block in range(depth):
            for kind, attention in (("spatial_block", "window_attn"), ("channel_block", "channel_attn")):
                layers = {
                    "conv1.fn.dw": (width, 1, 3, 3), f"{attention}.norm": (width,), f"{attention}.fn.qkv": (3 * width, width),
                    f"{attention}.fn.proj": (width, width), "conv2.fn.dw": (width, 1, 3, 3), "ffn.norm": (width,),
                    "ffn.fn.net.fc1": (4 * width, width), "ffn.fn.net.fc2": (width, 4 * width),
                }  # fmt: skip
                for name, shape in layers.items():
                    shapes[f"blocks.{stage}.{block}.{kind}.{name}.weight"] = shape
                    shapes[f"blocks.{stage}.{block}.{kind}.{name}.bias"] = shape[:1]
    shapes |= {"norms.weight": (2048,), "norms.bias": (2048,)}
    others = {"logit_scale": (), "image_projection": (2048, 1024), "lang_encoder.token_embedding.weight": (49408, 1024)}
    return {**prefixed("image_encoder.", tensors(shapes)), **tensors(others)}


def mae(card: WeightsCard) -> Published:
    with META:
        encoder = timm.create_model("vit_large_patch16_224", num_classes=0).state_dict()
    decoder = {"mask_token": (1, 1, 512), "decoder_pos_embed": (1, 197, 512), "decoder_embed.weight": (512, 1024)}
    return {**encoder, **tensors(decoder)}


def timm_names(card: WeightsCard) -> Published:
    """As the README of UNI builds them, and CONCH's code."""
    vit = timm.models.vision_transformer.VisionTransformer
    with META:
        if card.name == "uni":
            made: nn.Module = vit(embed_dim=1024, depth=24, num_heads=16, init_values=1e-5, num_classes=0, dynamic_img_size=True)
        elif card.name == "uni2_h":
            made = vit(
                img_size=224, patch_size=14, depth=24, num_heads=24, init_values=1e-5, embed_dim=1536, mlp_ratio=2.66667 * 2,
                num_classes=0, no_embed_class=True, mlp_layer=timm.layers.SwiGLUPacked, act_layer=nn.SiLU, reg_tokens=8,
                dynamic_img_size=True,
            )  # fmt: skip
        else:
            trunk = vit(img_size=448, num_classes=0, dynamic_img_size=True).state_dict()
            others = {"visual.ln_contrast.weight": (512,), "text.token_embedding.weight": (32007, 768), "logit_scale": ()}
            return {**prefixed("visual.trunk.", trunk), **tensors(others)}
    return made.state_dict()


def torchxrayvision(card: WeightsCard) -> Published:
    with META:
        made = torchvision.models.densenet121(num_classes=18)
        made.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return {**made.state_dict(), "op_threshs": torch.empty(18, device=META)}


def medicalnet(card: WeightsCard) -> Published:
    from monai.networks.nets import resnet18, resnet50

    make = resnet18 if card.architecture == "resnet18_3d" else resnet50
    shortcut, bias = ("A", True) if make is resnet18 else ("B", False)
    with META:
        made = make(spatial_dims=3, n_input_channels=1, feed_forward=False, shortcut_type=shortcut, bias_downsample=bias)
    return prefixed("module.", made.state_dict())


def swin_unetr(card: WeightsCard) -> Published:
    from monai.networks.nets.swin_unetr import SwinTransformer

    made = SwinTransformer(1, 48, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24)).state_dict()
    named = {name.replace(".mlp.linear", ".mlp.fc"): tensor for name, tensor in made.items()}
    return {
        **prefixed("module.", named),
        **tensors({"module.rotation_head.weight": (4, 768), "module.conv.0.weight": (384, 768, 3, 3, 3)}),
    }


BY_NAME: dict[str, Callable[[WeightsCard], Published]] = {
    "biomedclip": open_clip_names, "quiltnet_b16": open_clip_names, "quiltnet_b32": open_clip_names,
    "dermlip_b16": open_clip_names, "chexzero": open_clip_names, "plip": hugging_face_clip, "pubmedclip": hugging_face_clip,
    "monet": hugging_face_clip, "medsiglip_448": hugging_face_siglip, "phikon_v2": hugging_face_dinov2,
    "rad_dino": hugging_face_dinov2, "panderm_base": cae, "panderm_large": cae, "radimagenet_resnet50": torchvision_resnet50,
    "flair": torchvision_resnet50, "medimageinsight": unicl_davit, "retfound_cfp": mae, "retfound_oct": mae, "uni": timm_names,
    "uni2_h": timm_names, "conch": timm_names, "medicalnet_resnet18": medicalnet, "medicalnet_resnet50": medicalnet,
    "swin_unetr_ssl": swin_unetr,
    **{f"torchxrayvision_{name}": torchxrayvision for name in ("all", "nih", "pc", "chex", "mimic_ch", "rsna")},
}  # fmt: skip
"""Card → what makes its published state dict."""
