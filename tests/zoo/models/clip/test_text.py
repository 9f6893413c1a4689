"""Text encoders against the models they are of: an image–text model's own text tower, a Hugging Face encoder of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.models.clip.model import build_clip, find_clip, load_clip_weights
from medzoo.models.clip.text import build_text, find_text
from tests.zoo.models.clip.clip_folder import write_folder

TEXTS = ["a photo of the skin", "no lesion, 3 cm; melanocytic nevus with a benign mole"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face encoder's folder: the text tower's own, under the names that a masked language model saves it by."""
    path = tmp_path_factory.mktemp("hf") / "bert"
    path.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json" and file.name != "open_clip_config.json":
            (path / file.name).write_bytes(file.read_bytes())
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "_name_or_path": str(path)}))
    own = {k: v for k, v in load_file(folder / "open_clip_model.safetensors").items() if k.startswith("text.transformer.")}
    bert = {f"bert.{name.removeprefix('text.transformer.')}": tensor for name, tensor in own.items()}
    save_file({**bert, "cls.predictions.bias": torch.zeros(3)}, path / "model.safetensors")
    return path


def test_the_tower_of_an_image_text_model_says_what_that_says(folder: Path) -> None:
    name = f"local-dir:{folder}"
    source = find_text(name, None, None, None)
    assert source.name == "local-dir:tiny"
    assert str(folder) not in json.dumps([source.config, source.text_config])
    assert source.loaded is not None
    found = find_clip(name)
    whole = build_clip(found.config, found.text_config)
    load_clip_weights(whole, found)
    network = build_text(source.config, source.text_config, 8, 0).eval()
    assert source.weights is not None
    network.tower.load_state_dict(dict(source.weights))
    tokens = torch.from_numpy(source.tokenizer(TEXTS))
    expected = whole.eval().encode_text(tokens)  # type: ignore[operator]
    torch.testing.assert_close(network.tower(tokens), expected, rtol=1e-5, atol=1e-6)
    assert network(tokens).shape == (2, 8)


def test_a_hugging_face_encoder_is_the_mean_over_its_tokens(encoder: Path) -> None:
    source = find_text(f"local-dir:{encoder}", None, None, 16)
    assert source.tokenizer.context_length == 16
    assert source.loaded is not None
    assert source.loaded.prefix == "bert."
    assert source.loaded.unused == 1
    assert str(encoder) not in json.dumps([source.config, source.text_config])
    network = build_text(source.config, source.text_config, 8, 0).eval()
    assert source.weights is not None
    network.tower.load_state_dict(dict(source.weights))
    tokens = torch.from_numpy(source.tokenizer(TEXTS))
    bert = AutoModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    mask = (tokens != 0)[..., None]
    hidden = bert(input_ids=tokens, attention_mask=mask[..., 0].long()).last_hidden_state
    torch.testing.assert_close(network.tower(tokens), (hidden * mask).sum(1) / mask.sum(1), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_is_one_line(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="context_length=200 is not from 4 to 62, the most that local-dir:bert takes"):
        find_text(f"local-dir:{encoder}", None, None, 200)
    with pytest.raises(ConfigError, match="context_length is for Hugging Face encoders, and clip_tiny has a length of its own"):
        find_text("clip_tiny", None, None, 16)
    other = tmp_path / "other"
    other.mkdir()
    for file in encoder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    save_file({"bert.embeddings.word_embeddings.weight": torch.zeros(2, 2)}, other / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit local-dir:other: \d+ of its \d+ tensors are not in it"):
        find_text(f"local-dir:{other}", None, None, None)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="local-dir:other is a gpt2, and text encoders are roberta, "):
        find_text(f"local-dir:{other}", None, None, None)
