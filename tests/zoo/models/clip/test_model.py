"""Image–text models: the same networks and weights open_clip makes, rebuilt from a spec alone, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from medzoo.data.errors import CheckpointError, ConfigError, MedzooError, UnknownNameError
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.models.clip.model import (
    CLIP_TINY,
    TINY_CONFIG,
    ClipSource,
    build_clip,
    encode_image,
    encode_text,
    find_clip,
    find_tokenizer,
    load_clip_weights,
)
from medzoo.settings.schema import ModelConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.setup.contrast import clip_preprocess, clip_source, clip_spec, contrast_from_source
from tests.zoo.models.clip.clip_folder import write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint") / "tiny-derm")


def test_a_local_folder_gives_open_clips_own_model(folder: Path) -> None:
    source = find_clip(f"local-dir:{folder}")
    assert source.name == "local-dir:tiny-derm"  # no path of this machine
    model = build_clip(source.config, source.text_config).eval()
    load_clip_weights(model, source)
    theirs = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    texts = ["a photo of a nevus", "melanoma, 3 mm"]
    tokens = torch.from_numpy(find_tokenizer(source)(texts))
    assert torch.equal(tokens, open_clip.get_tokenizer(f"local-dir:{folder}")(texts))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encode_text(model, tokens), theirs.encode_text(tokens, normalize=True))
        torch.testing.assert_close(encode_image(model, images), theirs.encode_image(images, normalize=True))


def test_a_spec_and_its_assets_rebuild_a_model_without_its_folder(folder: Path, tmp_path: Path) -> None:
    source = find_clip(f"local-dir:{folder}")
    objective = {"loss": "clip", "freeze": [], "captions": None}
    task = contrast_from_source(clip_spec(source, source.config, clip_preprocess(source), data={}, objective=objective), source)
    spec = ModelSpec.from_dict(json.loads(task.spec.to_json()))
    moved = folder.rename(tmp_path / "gone")
    try:
        again = Contrast.from_spec(spec, task.assets())
        again.model.load_state_dict(task.model.state_dict())
        batch = {"image": torch.randint(0, 256, (2, 3, 50, 40), dtype=torch.uint8), "text": ["a mole", "no lesion"]}
        ours, theirs = task.eval().predict(batch), again.eval().predict(batch)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    finally:
        moved.rename(folder)


@pytest.mark.parametrize("name", ["ViT-S-32", "RN50", "ViT-B-16-SigLIP"])
def test_names_build_what_open_clip_builds(name: str) -> None:
    config = open_clip.get_model_config(name)
    for tower in ("vision_cfg", "text_cfg"):  # the shape of it, in seconds
        config[tower] = {**config[tower], **({"layers": 1} if isinstance(config[tower].get("layers"), int) else {})}
    if isinstance(config["vision_cfg"].get("layers"), list):
        config["vision_cfg"].update(layers=[1, 1, 1, 1], width=16)
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_name"] = "test_vit"
    custom = config.get("custom_text", False)
    model = build_clip(config)
    assert type(model).__name__ == ("CustomTextCLIP" if custom else "CLIP")
    assert torch.equal(next(iter(build_clip(config, seed=3).parameters())), next(iter(build_clip(config, seed=3).parameters())))


def test_clip_tiny_is_tiny() -> None:
    model = build_clip(TINY_CONFIG)
    assert sum(p.numel() for p in model.parameters()) < 5_000_000
    with torch.no_grad():
        assert encode_image(model.eval(), torch.zeros(2, 3, 64, 64)).shape == (2, 128)
        assert encode_text(model, torch.zeros(2, 64, dtype=torch.int64)).norm(dim=1) == pytest.approx([1, 1], abs=1e-5)


def test_preprocessing_is_the_models_own(folder: Path) -> None:
    own = clip_preprocess(find_clip(f"local-dir:{folder}"))
    assert (own.size, own.mode, own.interpolation, own.mean) == ((64, 64), "crop", "bicubic", (0.4, 0.4, 0.4))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"backbone": "ViT-B-33"}, UnknownNameError, "'ViT-B-32'"),
        ({"backbone": "ViT-B-32", "pretrained": "laion2b"}, UnknownNameError, "pretrained tag"),
        ({"backbone": "ViT-B-32", "pretrained": True}, ConfigError, "takes a tag"),
        ({"backbone": CLIP_TINY, "pretrained": "openai"}, ConfigError, "no published weights"),
        ({"backbone": "local-dir:/nowhere"}, CheckpointError, "no open_clip_config.json in /nowhere"),
        ({"backbone": CLIP_TINY, "checkpoint_path": "/nowhere.bin"}, ConfigError, "no weights file at /nowhere.bin"),
        ({"backbone": CLIP_TINY, "neighbours": 3}, ConfigError, "not for model=clip"),
    ],
)
def test_what_cannot_be_had_is_one_line(options: dict, kind: type[MedzooError], message: str) -> None:
    with pytest.raises(kind) as caught:
        clip_source(ModelConfig(family="clip", **options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_their_configuration_are_refused(folder: Path, tmp_path: Path) -> None:
    wrong = write_folder(tmp_path / "wrong", width=16, weights=False)
    (wrong / "open_clip_model.safetensors").write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    source = find_clip(f"local-dir:{wrong}")
    with pytest.raises(CheckpointError, match="does not fit the model's configuration") as caught:
        load_clip_weights(build_clip(source.config, source.text_config), source)
    assert "\n" not in str(caught.value)
    (wrong / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights in"):
        find_clip(f"local-dir:{wrong}")
    (wrong / "open_clip_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        find_clip(f"local-dir:{wrong}")


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (64, 64)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_borders_have_the_grey_that_open_clip_gives_them(shape: tuple[int, int], level: int) -> None:
    own = {"size": 64, "mean": 0.4, "std": 0.3, "resize_mode": "longest", "interpolation": "bicubic", "fill_color": level}
    ours = clip_preprocess(ClipSource("x", {"vision_cfg": {}}, preprocess=own))
    assert (ours.mode, ours.fill, ours.mean) == ("pad", level, (0.4,) * 3)
    assert ("fill" in ours.to_dict()) == bool(level)  # specs of black borders keep their hash
    pixels = np.random.default_rng(0).integers(60, 200, (*shape, 3), dtype=np.uint8)
    described = open_clip.transform.PreprocessCfg(**{**own, "mean": (0.4,) * 3, "std": (0.3,) * 3})
    transform = open_clip.transform.image_transform_v2(described, is_train=False)
    theirs = transform(Image.fromarray(pixels))
    images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))[None]
    mine = normalise(fit(images, ours), ours)[0]
    assert float((mine - theirs).abs().mean()) < 0.06  # one resizes before it pads, the other after
    if shape[0] != shape[1]:
        corner = (slice(None), slice(0, 12), slice(0, 64)) if shape[0] < shape[1] else (slice(None), slice(0, 64), slice(0, 12))
        torch.testing.assert_close(mine[corner], theirs[corner])


@pytest.mark.parametrize(
    "own", [{"resize_mode": "longst"}, {"interpolation": "lanczos"}, {"fill_color": 300}, {"fill_color": "red"}]
)
def test_preprocessing_that_is_not_known_is_refused(own: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        clip_preprocess(ClipSource("x", {"vision_cfg": {}}, preprocess=own))
