"""Zero-shot classification against open_clip's own, findings by pairs, classes by their leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from medzoo.api import TrainedModel
from medzoo.cli import main
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.text.prompts import Prompts, prompts_from_names
from medzoo.inference.zeroshot import build_classifier
from medzoo.models.clip.model import find_clip
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.setup.contrast import clip_preprocess, clip_spec, contrast_from_source
from tests.data.images.makers import animation
from tests.zoo.models.clip.clip_folder import write_folder

NAMES = ("nevus", "melanoma", "eczema")
TEMPLATES = ("a photo of {}", "this is an image of {}.", "skin with {}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("zeroshot") / "tiny")


@pytest.fixture(scope="module")
def task(folder: Path) -> Contrast:
    source = find_clip(f"local-dir:{folder}")
    objective = {"loss": "clip", "freeze": [], "captions": None}
    return contrast_from_source(
        clip_spec(source, source.config, clip_preprocess(source), data={}, objective=objective), source
    ).eval()  # fmt: skip


def test_logits_equal_open_clips_classifier(task: Contrast, folder: Path) -> None:
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    weights = open_clip.build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES)
    pixels = torch.randn(6, 3, 64, 64)
    with torch.no_grad():
        theirs = model.logit_scale.exp() * model.encode_image(pixels, normalize=True) @ weights
        embedding = task.model.encode_image(pixels, normalize=True).numpy()
    classifier = build_classifier(task, prompts_from_names(NAMES, TEMPLATES), LabelSpace("multiclass", NAMES))
    np.testing.assert_allclose(classifier.logits(embedding), theirs.numpy(), atol=1e-5)
    assert classifier.texts["nevus"] == ("a photo of nevus", "this is an image of nevus.", "skin with nevus")


def test_from_files_embeddings_agree_with_open_clips_transform(task: Contrast, folder: Path, tmp_path: Path) -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", pretrained_text=False)
    model.eval()
    weights = open_clip.build_zero_shot_classifier(model, open_clip.get_tokenizer(f"local-dir:{folder}"), NAMES, TEMPLATES)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        paths.append(tmp_path / f"{number}.png")
        coarse.resize((90 + number, 70 + 2 * number), Image.Resampling.BICUBIC).save(paths[-1])
    with torch.no_grad():
        theirs = torch.cat([model.encode_image(transform(Image.open(p))[None], normalize=True) for p in paths])
    ours = TrainedModel(task).features(paths)
    assert (theirs.numpy() * ours).sum(axis=1).min() >= 0.999
    same = (theirs @ weights).argmax(1).numpy() == build_classifier(
        task, prompts_from_names(NAMES, TEMPLATES), LabelSpace("multiclass", NAMES)
    ).logits(ours).argmax(1)  # fmt: skip
    assert same.mean() >= 0.99


def test_findings_are_scored_by_pairs(task: Contrast) -> None:
    prompts = Prompts("p", 1, "us", ("{}",), pairs={"mass": (("a mass",), ("no mass",)), "cyst": (("a cyst", "cyst"), ())})
    labels = LabelSpace("multilabel", ("mass", "cyst"))
    classifier = build_classifier(task, prompts, labels)
    images = torch.nn.functional.normalize(torch.randn(4, 32), dim=1).numpy()
    said = {text: task.embed_texts([text]).detach().numpy()[0] for text in ("a mass", "no mass", "a cyst", "cyst")}
    scale = float(task.model.logit_scale.exp())
    cyst = said["a cyst"] + said["cyst"]
    by_hand = np.stack(
        [scale * (images @ said["a mass"] - images @ said["no mass"]), scale * images @ (cyst / np.linalg.norm(cyst))], axis=1
    )
    np.testing.assert_allclose(classifier.logits(images), by_hand, atol=1e-4)
    assert classifier.ranking_only == ("cyst",)


def test_a_parent_gathers_the_probabilities_of_its_leaves(task: Contrast) -> None:
    ontology = {"benign": ["nevus", "mole"], "malignant": ["melanoma"]}
    labels = LabelSpace("multiclass", ("benign", "malignant"))
    prompts = prompts_from_names(labels.names, ("a {}",))
    classifier = build_classifier(task, prompts, labels, ontology)
    images = torch.nn.functional.normalize(torch.randn(5, 32), dim=1).numpy()
    names = ("nevus", "mole", "melanoma")
    leaves = build_classifier(task, prompts_from_names(names, ("a {}",)), LabelSpace("multiclass", names)).logits(images)
    shares = np.exp(leaves) / np.exp(leaves).sum(1, keepdims=True)
    logits = classifier.logits(images)
    ours = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(ours[:, 0], shares[:, :2].sum(1), atol=1e-5)


def test_what_cannot_be_classified_is_one_line(task: Contrast) -> None:
    labels = LabelSpace("multiclass", NAMES)
    with pytest.raises(ConfigError, match="not quantities"):
        build_classifier(task, prompts_from_names(NAMES), LabelSpace("regression", ("x",)))
    with pytest.raises(UnknownNameError, match="'wart'"):
        build_classifier(task, prompts_from_names(("nevus", "melanoma", "wart")), labels)
    with pytest.raises(ConfigError, match="eczema"):
        build_classifier(task, prompts_from_names(("nevus", "melanoma")), labels)
    long = build_classifier(task, prompts_from_names(NAMES, ("{} " + "skin " * 40,)), labels)
    assert len(long.truncated) == 3


def test_frames_of_a_file_are_images_where_the_verb_is_told_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shades = [Image.new("RGB", (20, 20), (40 * n, 90, 200 - 40 * n)) for n in range(3)]
    (tmp_path / "pages.tif").write_bytes(animation(shades, "TIFF"))
    for number, shade in enumerate(shades):
        shade.save(tmp_path / f"{number}.png")
    model = ["zeroshot", f"model.backbone=local-dir:{folder}", "classes=[nevus,melanoma]", "json=true", "device=cpu"]
    assert main([*model, f"images=[{tmp_path / 'pages.tif'}]"]) == 2
    assert "pages.tif: holds 3 pages; " in (said := capsys.readouterr().err)
    assert said.endswith("or medzoo zeroshot frames=members\n")
    assert main([*model, f"images=[{tmp_path}]", "frames=members"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    singles, pages = rows[:3], rows[3:]
    assert [row["image"] for row in pages] == [f"{tmp_path / 'pages.tif'}[{n}]" for n in range(3)]
    for single, page in zip(singles, pages, strict=True):
        assert page["probabilities"] == pytest.approx(single["probabilities"], abs=1e-6)
    assert main([*model, f"images=[{tmp_path}]", "frames=volume"]) == 2
    assert "unknown choice of frames 'volume'" in capsys.readouterr().err
