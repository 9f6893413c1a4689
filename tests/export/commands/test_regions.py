"""Regions taken away from concepts, deployed: the same answers as torch's, as `medzoo intervene`'s, and by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.api import TrainedModel
from medzoo.cli import main
from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.regions.masks import box_mask
from medzoo.data.samples.preprocess import Preprocess
from medzoo.export.commands.map_pictures import MapPictures
from medzoo.export.graph.onnx_file import export_graph
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.maps.regions import look_again
from medzoo.models.registry import create_model
from medzoo.tasks.bottleneck import Bottleneck
from tests.zoo.inference.maps.test_regions import bottleneck

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (*size, 1), dtype=np.uint8) for size in ((20, 24), (20, 24), (24, 16), (20, 24))]
BOX = [3, 2, 8, 9]


@pytest.fixture(scope="module")
def task() -> Bottleneck:
    """A convolutional bottleneck with a path beside its concepts, which fits images by borders."""
    network = create_model("test_resnet", outputs=2, channels=1, size=(48, 48), small_stem=True)
    with torch.no_grad():  # statistics as after images
        network.train()(torch.rand(4, 1, 48, 48, generator=torch.Generator().manual_seed(1)))
        network.fc.weight *= 30  # so that what a place says counts
    made = bottleneck(network.eval(), (48, 48), features=network.num_features)
    torch.nn.init.normal_(made.model.residual.weight, std=0.1, generator=torch.Generator().manual_seed(2))  # type: ignore[union-attr]
    object.__setattr__(made.spec, "preprocess", Preprocess((48, 48), "pad", channels=1, mean=(0.5,), std=(0.5,)))
    return made.eval()


@pytest.fixture(scope="module")
def file(task: Bottleneck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regions") / "model.onnx"
    report = export_graph(task.deploy_map(), path, IMAGES[:2])
    assert report["parity"]["relative"] < 1e-3
    return path


@pytest.mark.parametrize("kind", ["remove", "within"])
@pytest.mark.parametrize("only", [None, ["bright"]])
def test_the_file_torch_and_intervene_say_the_same(task: Bottleneck, file: Path, kind: str, only: list[str] | None) -> None:
    region = {kind: BOX, "only": only}
    deployed, trained = (model.predict(IMAGES, regions=region) for model in (OnnxModel(file), TrainedModel(task)))
    plain, unmasked = OnnxModel(file).predict(IMAGES), TrainedModel(task).predict(IMAGES)
    for row, image in enumerate(IMAGES):
        box = box_mask(BOX, image.shape[:2])
        again = look_again(task, image, ~box if kind == "remove" else box, only)
        for name, wanted in (("concepts", again.concepts["after"]), ("logits", again.logits["after"])):
            np.testing.assert_allclose(deployed[name][row], wanted, atol=1e-4)
            np.testing.assert_allclose(trained[name][row], wanted, atol=1e-5)
        np.testing.assert_allclose(plain["concepts"][row], again.concepts["before"], atol=1e-4)
        changed = np.abs(trained["concepts"][row] - unmasked["concepts"][row]) > 1e-5
        assert changed.tolist() == ([True, True] if only is None else [False, True])
    np.testing.assert_array_equal(deployed["map"], plain["map"])  # what each place says stays what it says


def test_a_region_of_each_image_of_pixels_or_places_beside_corrections(task: Bottleneck, file: Path) -> None:
    model, torchs = OnnxModel(file), TrainedModel(task)
    places = np.zeros(model.predict(IMAGES[:1])["map"].shape[2:], bool)
    places[0] = True
    regions = [None, {"remove": box_mask(BOX, (20, 24))}, {"remove": places, "only": ["dark"]}, {"within": BOX}]
    found, ours = (m.predict(IMAGES, regions=regions, batch_size=2, concept_values={"dark": 1}) for m in (model, torchs))
    for name in ("logits", "concepts"):
        np.testing.assert_allclose(found[name], ours[name], atol=1e-4)
    for row, region in enumerate(regions):
        alone = model.predict(IMAGES[row : row + 1], regions=region, concept_values={"dark": 1})
        np.testing.assert_allclose(found["logits"][row], alone["logits"][0], atol=1e-4)
    maps = model.predict(IMAGES)["map"]
    odds = np.log(found["concepts"] / (1 - found["concepts"]))
    bias = np.log(ours["concepts"][0] / (1 - ours["concepts"][0])) - maps[0].mean(axis=(1, 2))
    np.testing.assert_allclose(odds[2], [maps[2, 0, 1:].mean() + bias[0], maps[2, 1].mean() + bias[1]], atol=1e-3)
    streamed = [p.outputs["logits"] for p in model.stream(iter(IMAGES), regions=regions, concept_values={"dark": 1})]
    np.testing.assert_allclose(streamed, found["logits"], atol=1e-4)
    tensor = model.predict(torch.from_numpy(np.stack(IMAGES[:2])), regions=regions[:2], concept_values={"dark": 1})
    np.testing.assert_allclose(tensor["logits"], found["logits"][:2], atol=1e-4)


def test_what_leaves_nothing_and_what_takes_none_is_said(task: Bottleneck, file: Path, tmp_path: Path) -> None:
    everything: dict[str, Any] = {"remove": [0, 0, 24, 20]}
    with pytest.raises(ImageError, match="image 0: nothing is left of the 6x6 places"):
        OnnxModel(file).predict(IMAGES[:1], regions=everything)
    with pytest.raises(ConfigError, match="nothing is left of the 6x6 places"):
        TrainedModel(task).predict(IMAGES[:1], regions=everything)
    with pytest.raises(ImageError, match="2 regions and more images"):
        list(OnnxModel(file).stream(IMAGES, regions=[None, None]))
    export_graph(task.deploy(), tmp_path / "plain.onnx", IMAGES[:2])
    with pytest.raises(ConfigError, match="this file takes no regions: export with map=true"):
        OnnxModel(tmp_path / "plain.onnx").predict(IMAGES[:1], regions=everything)


def test_the_command_line_takes_regions_and_writes_maps(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, image in zip("ab", IMAGES[1:], strict=False):
        Image.fromarray(image[..., 0]).save(f"{name}.png")
    Image.fromarray(box_mask(BOX, (20, 24)).astype(np.uint8) * 255).save("mask.png")
    Path("regions.csv").write_text('image,remove,within,only\na.png,"3,2,8,9",,bright\nb.png,,,\n')
    Path("extra.csv").write_text("image,remov\na.png,1\n")
    model, command = OnnxModel(file), ["predict", str(file), "a.png", "--json"]
    wanted = model.predict(["a.png"], regions={"remove": BOX, "only": ["bright"]})["concepts"][0]
    for given in (["remove=3,2,8,9", "--only", "bright"], ["remove=mask.png", "--only", "bright"], ["regions.csv"]):
        assert main([*command, "--regions", *given]) == 0
        said = json.loads(capsys.readouterr().out)["concepts"]
        np.testing.assert_allclose([said["dark"], said["bright"]], wanted, atol=1e-6)
    assert main(["predict", str(file), "a.png", "b.png", "--regions", "regions.csv", "--maps", "out", "--map", "dark"]) == 0
    assert "wrote 2 maps into out" in capsys.readouterr().err
    with Image.open("out/a.png.dark.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (24, 20))
    assert main([*command, "--maps", "strongest"]) == 0
    concepts = model.predict(["a.png"])["concepts"][0]
    assert [path.name for path in Path("strongest").iterdir()] == [f"a.png.{('dark', 'bright')[concepts.argmax()]}.png"]
    capsys.readouterr()
    for options, message in (
        (["--regions", "3,2,8,9"], "is not remove=X,Y,WIDTH,HEIGHT"),
        (["--regions", "extra.csv"], "'remove'"),
        (["--regions", "remove=0,0,99,1"], "spans 0 to 99 in x, the image 0 to 24"),
        (["--only", "bright"], "--only names the concepts"),
        (["--map", "bright"], "--map names what --maps FOLDER writes"),
        (["--maps", "out", "--map", "brigt"], "'bright'"),
        (["--maps", "a.png"], "cannot write"),
    ):
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_two_labels_that_would_be_one_picture_are_said(tmp_path: Path) -> None:
    shown = SimpleNamespace(
        outputs={"map": 0, "logits": 1}, labels=SimpleNamespace(names=("<5 mm", ">5 mm")), concepts=(),
        spec={"preprocess": {"size": [4, 4], "mode": "stretch"}}, read=lambda source: source,
    )  # fmt: skip
    pictures = MapPictures(Path("model.onnx"), shown, tmp_path, ["<5 mm", ">5 mm"])  # type: ignore[arg-type]
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"would be of '<5 mm' and of '>5 mm'; write one of them at a time"):
        pictures.write("a.png", image, {"map": np.zeros((2, 2, 2), np.float32), "logits": np.zeros(2, np.float32)})
