"""What a layout renames gives the same numbers as the library that wrote the file: transformers, MONAI, torchvision."""

from __future__ import annotations

from pathlib import Path

import open_clip.model
import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from medzoo.models.catalogue.layouts import LAYOUTS, cae, hugging_face_clip, hugging_face_dinov2, hugging_face_siglip, swin_unetr
from tests.zoo.models.catalogue.published import dinov2_files

SIZE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TOKENS = torch.tensor([[5, 9, 3, 49, 0, 0, 0, 0], [5, 2, 49, 0, 0, 0, 0, 0]])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def moved(model: nn.Module) -> nn.Module:
    """Away from ones and zeros, which would hide what changes places."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(F.normalize(ours.detach(), dim=-1), F.normalize(theirs.detach(), dim=-1), atol=tolerance, rtol=0)


def test_clip_of_transformers() -> None:
    from transformers import CLIPConfig, CLIPModel

    text = {**SIZE, "intermediate_size": 256, "vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 49}
    vision = {**SIZE, "intermediate_size": 256, "image_size": 32, "patch_size": 8}
    theirs = moved(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)))
    ours = open_clip.model.CLIP(
        16, {"layers": 2, "width": 64, "patch_size": 8, "image_size": 32},
        {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 2}, quick_gelu=True,
    ).eval()  # fmt: skip
    ours.load_state_dict(hugging_face_clip(theirs.state_dict()), strict=True)
    with torch.no_grad():
        expected = theirs(input_ids=TOKENS, pixel_values=IMAGES)
    same(ours.encode_image(IMAGES), expected.image_embeds)
    same(ours.encode_text(TOKENS), expected.text_embeds)


def test_siglip_of_transformers() -> None:
    from transformers import SiglipConfig, SiglipModel

    text = {**SIZE, "vocab_size": 50, "max_position_embeddings": 8, "hidden_act": "gelu"}
    vision = {**SIZE, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"}
    theirs = moved(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))
    found = hugging_face_siglip(theirs.state_dict())
    trunk = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.5, class_token=False, global_pool="map",
        num_classes=0,
    ).eval()  # fmt: skip
    trunk.load_state_dict(
        {k.removeprefix("visual.trunk."): t for k, t in found.items() if k.startswith("visual.trunk.")}, strict=True
    )
    tower = open_clip.transformer.TextTransformer(
        context_length=8, vocab_size=50, width=64, heads=1, layers=2, mlp_ratio=1.5, output_dim=64, no_causal_mask=True,
        proj_bias=True, pool_type="last", norm_layer=lambda width: open_clip.transformer.LayerNorm(width, eps=1e-6),
    ).eval()  # fmt: skip
    tower.load_state_dict({k.removeprefix("text."): t for k, t in found.items() if k.startswith("text.")}, strict=True)
    with torch.no_grad():
        expected = theirs(input_ids=TOKENS, pixel_values=IMAGES)
        same(trunk(IMAGES), expected.image_embeds, 1e-5)
        same(tower(TOKENS), expected.text_embeds, 1e-5)
    assert found["logit_scale"].shape == found["logit_bias"].shape == ()


def test_dinov2_of_transformers(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=32, patch_size=8)
    theirs = moved(Dinov2Model(config))
    theirs.save_pretrained(tmp_path)
    file = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert set(file) == set(dinov2_files(theirs.state_dict()))  # as the tests of the cards take published names to be
    ours = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, init_values=1.0, num_classes=0
    ).eval()  # fmt: skip
    ours.load_state_dict(hugging_face_dinov2(file), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(IMAGES), theirs(pixel_values=IMAGES).last_hidden_state[:, 0], atol=1e-4, rtol=1e-4)


def test_a_context_autoencoder_has_no_bias_of_keys() -> None:
    """Attention as its code writes it: queries and values have a bias, keys none, and a scale after each branch."""
    width, tensors = 8, {}
    shapes = {
        "gamma_1": (width,), "gamma_2": (width,), "norm1.weight": (width,), "norm1.bias": (width,), "attn.q_bias": (width,),
        "attn.v_bias": (width,), "attn.qkv.weight": (3 * width, width), "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,),
        "mlp.fc1.weight": (16, width), "mlp.fc1.bias": (16,), "mlp.fc2.weight": (width, 16), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    tensors = {f"blocks.0.{name}": torch.randn(shape) for name, shape in shapes.items()}
    block = timm.models.vision_transformer.Block(width, 1, mlp_ratio=2, qkv_bias=True, init_values=1.0).eval()
    for prefix in ("", "encoder."):
        found = cae({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
        block.load_state_dict({name.removeprefix("blocks.0."): tensor for name, tensor in found.items()}, strict=True)
        own = {name.removeprefix("blocks.0."): tensor for name, tensor in tensors.items()}
        x = torch.randn(1, 5, width)
        seen = F.layer_norm(x, (width,), own["norm1.weight"], own["norm1.bias"])
        q, k, v = (seen @ weight.T for weight in own["attn.qkv.weight"].chunk(3))
        weights = ((q + own["attn.q_bias"]) @ k.transpose(1, 2) / width**0.5).softmax(-1)
        x1 = x + own["gamma_1"] * F.linear(weights @ (v + own["attn.v_bias"]), own["attn.proj.weight"], own["attn.proj.bias"])
        seen = F.gelu(
            F.linear(
                F.layer_norm(x1, (width,), own["norm2.weight"], own["norm2.bias"]), own["mlp.fc1.weight"], own["mlp.fc1.bias"]
            )
        )
        expected = x1 + own["gamma_2"] * F.linear(seen, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
        torch.testing.assert_close(block(x), expected, atol=1e-3, rtol=1e-3)
    half = {"blocks.0.attn.q_bias": torch.zeros(8)}  # kept, so that strict loading tells of it
    assert set(cae(half)) == set(half)


def test_a_resnet_by_the_numbers_of_its_children() -> None:
    theirs = moved(torchvision.models.resnet18())
    parts = nn.Sequential(*list(theirs.children())[:-2]).eval()
    found = LAYOUTS["sequential_resnet"]({f"backbone.{name}": tensor for name, tensor in parts.state_dict().items()})
    ours = timm.create_model("resnet18", num_classes=0, global_pool="").eval()
    ours.load_state_dict(found, strict=True)
    torch.testing.assert_close(ours(IMAGES), parts(IMAGES))


def test_the_encoder_of_swin_unetr_loads_as_monai_loads_it() -> None:
    from monai.networks.nets import SwinUNETR

    file = {
        name.replace(".mlp.linear", ".mlp.fc"): tensor
        for name, tensor in SwinUNETR(1, 2, feature_size=12).swinViT.state_dict().items()
    }
    theirs = SwinUNETR(1, 2, feature_size=12)
    theirs.load_from({"state_dict": {f"module.{name}": tensor for name, tensor in file.items()}})
    found = swin_unetr({f"module.{name}": tensor for name, tensor in file.items()})
    expected = {f"swin.{name}": tensor for name, tensor in theirs.swinViT.state_dict().items()}
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_what_a_layout_does_not_know_keeps_its_name() -> None:
    strange = {"strange.weight": torch.zeros(1)}
    assert all(layout(strange).keys() == strange.keys() for layout in LAYOUTS.values())
