"""`medzoo explain` on runs: maps of one sample, their files, and both measures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.maps.of_run import MappedRun

PHANTOM = ["data=phantom", "data.size=32", "data.patients=60", "trainer.trackers=[]", "evaluation.replicates=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet that finds lesions, with features of 4 x 4 places."""
    path = tmp_path_factory.mktemp("maps") / "run"
    words = [*PHANTOM, "data.labels=multilabel", "data.noise=0.02", "data.missing=0", "model.backbone=test_resnet"]
    words += ["trainer.epochs=8", "trainer.batch_size=16", "trainer.learning_rate=0.003", "trainer.augment=none"]
    assert main(["train", *words, f"run={path}"]) == 0
    return path


def test_a_map_is_written_in_the_images_own_geometry(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = Predictions.read(run / "predictions.parquet")
    sample = str(predictions.sample_id[-1])
    assert main(["explain", f"run={run}", f"sample='{sample}'", "name=mass"]) == 0
    assert "map by cam (exact: the head is linear on the mean over places)" in capsys.readouterr().out
    (written,) = (run / "explanations").glob("*.mass.npy")
    image_map = np.load(written, allow_pickle=False)
    assert (image_map.shape, image_map.dtype) == ((32, 32), np.float32)
    told = json.loads(written.with_suffix(".json").read_text())
    assert told["output"] == pytest.approx(float(predictions.logits[-1, 0]), abs=1e-4)
    assert told["cells"] == [4, 4]
    mapped = MappedRun.open(run)
    samples, index = mapped.sample(sample)
    found = mapped.explainer.map(samples.pixels(index), "mass")
    assert found.cells.mean() + told["bias"] == pytest.approx(told["output"], abs=1e-5)
    np.testing.assert_array_equal(found.image, image_map)
    with Image.open(written.with_suffix(".png")) as picture:
        assert min(picture.size) > 100


def test_maps_fall_on_the_lesions_that_were_found(run: Path) -> None:
    """Chance is the lesion's share of the image, about a twelfth."""
    assert main(["explain", f"run={run}", "measure=localisation", "replicates=100"]) == 0
    told = json.loads((run / "localisation.json").read_text())
    mass = told["classes"]["mass"]
    assert mass["called"] >= 20
    assert mass["chance"] < 0.12
    assert mass["pointing_game"]["called"]["value"] >= 0.8
    assert mass["pointing_game"]["called"]["low"] > 0.5
    assert mass["iou"]["0.1"]["found"]["value"] > mass["iou"]["0.7"]["found"]["value"]
    assert set(told["classes"]) == {"mass", "calcification", "suspicion", "supply"}
    assert told["all"]["images"] == sum(found["images"] for found in told["classes"].values())


def test_deleting_what_the_map_names_hurts_more_than_deleting_at_random(run: Path) -> None:
    assert main(["explain", f"run={run}", "measure=deletion", "name=mass", "images=24", "replicates=50"]) == 0
    told = json.loads((run / "deletion.json").read_text())
    assert told["images"] == 24
    assert told["areas"]["insertion_less_random"]["value"] > 0
    first = (run / "deletion.json").read_bytes()
    assert main(["explain", f"run={run}", "measure=deletion", "name=mass", "images=24", "replicates=50"]) == 0
    assert (run / "deletion.json").read_bytes() == first


def test_a_page_shows_the_maps_when_asked_to(run: Path) -> None:
    pages = []
    for overlays in ("false", "true"):
        assert main(["report", f"run={run}", "cases=1", f"overlays={overlays}"]) == 0
        pages.append((run / "report.html").read_text())
    assert [page.count(", where the model looked") for page in pages] == [0, 3]
    assert "a map by cam (exact: the head is linear on the mean over places)" in pages[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample=nobody"], "unknown sample 'nobody'"),
        ([], "say which sample: sample=<sample_id>, or measure=localisation"),
        (["map=cam"], "say which sample the map is of"),
        (["measure=localization"], "did you mean 'localisation'"),
        (["measure=localisation", "name=mas"], "did you mean 'mass'"),
        (["measure=localisation", "split=tset"], "did you mean 'test'"),
        (["measure=deletion", "images=0"], "images=0 must be at least 1"),
        (["measure=deletion", "of=concepts"], "cnn has no concepts"),
        (["measure=deletion", "of=concept"], "did you mean 'concepts'"),
    ],
)
def test_mistakes_are_one_line(run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", f"run={run}", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("model", "data", "method"),
    [
        (["model=clip", "model.captions=labels"], ["data.size=64"], "gradcam"),
        (["model=slices", "model.backbone=test_resnet"], ["data.dims=3", "data.size=16"], "cam"),
    ],
    ids=["clip", "slices"],
)
def test_other_families_have_maps_too(model: list[str], data: list[str], method: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*PHANTOM[:1], "data.patients=20", *data, *model, "trainer.epochs=1", "evaluation.replicates=0"]
    assert main(["train", *words, f"run={run}"]) == 0
    mapped = MappedRun.open(run)
    assert mapped.explainer.method == method
    samples = mapped.split("test")
    found = mapped.explainer.map(samples.pixels(0), "tumour")
    assert found.image.shape == samples.pixels(0).shape[:-1]
    assert found.image.std() > 0
    predictions = Predictions.read(run / "predictions.parquet").of_split("test")
    place = mapped.labels.index("tumour")
    assert found.output == pytest.approx(float(predictions.logits[0, place]), abs=1e-3)
    shutil.rmtree(run)


def test_a_bottlenecks_concepts_look_again_without_a_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["data=phantom", "data.size=32", "data.patients=20", "model=cbm", "model.backbone=test_resnet", "trainer.epochs=1"]
    assert main(["train", *words, "evaluation.replicates=0", f"run={run}"]) == 0
    predictions = Predictions.read(run / "predictions.parquet")
    sample = str(predictions.sample_id[-1])
    given = ["intervene", f"run={run}", f"sample='{sample}'"]
    assert main([*given, "remove=[0,0,8,8]", "only=[lesion]"]) == 0
    told = json.loads((run / "interventions_region.json").read_text())
    before, after = told["values"]["before"], told["values"]["after"]
    odds = 1 / (1 + np.exp(-predictions.concept_logits[-1].astype(float)))  # type: ignore[index]
    np.testing.assert_allclose(list(before.values()), odds, atol=1e-5)
    assert {name for name in before if abs(before[name] - after[name]) > 1e-6} == {"lesion"}
    np.testing.assert_allclose(list(told["logits"]["before"].values()), predictions.logits[-1], atol=1e-5)
    assert main(["explain", *given[1:], "map=auto", "of=concepts", "name=lesion"]) == 0
    assert (run / "explanations").joinpath(f"{sample.replace('/', '_')}.lesion.npy").is_file()
    capsys.readouterr()
    for wrong, said in (
        (["within=[0,0,8,8]", "paint=true"], "paint=true paints over what remove="),
        (["remove=[0,0,40,8]"], "spans 0 to 40 in x, the image 0 to 32"),
        (["remove=[0,0,8]"], "[x, y, width, height], not 3 numbers"),
        (["remove=[0,0,8,8]", "within=[0,0,8,8]"], "one of remove=[x,y,width,height] and within="),
        ([], "one of remove=[x,y,width,height] and within="),
    ):
        assert main([*given, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_images_that_exif_turns_are_counted_beside_the_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[274] = 3
    rows = ["image,label,patient,split"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", **({"exif": exif} if number % 3 == 0 else {}))
        rows.append(f"{number}.jpg,{'ab'[number % 2]},{number},{('train', 'test')[number // 6]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "b.csv").write_text("sample_id,label,x,y,width,height\n" + "".join(f"{n}.jpg,b,2,2,8,8\n" for n in range(12)))
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", f"data.boxes={tmp_path / 'b.csv'}", "data.target=label"]
    data += ["data.group=patient", "data.split=split"]
    words = ["model.backbone=test_resnet", "trainer.epochs=1", "trainer.trackers=[]", "evaluation.replicates=0"]
    assert main(["train", *data, *words, f"run={tmp_path / 'run'}"]) == 0
    assert main(["explain", f"run={tmp_path / 'run'}", "measure=localisation", "replicates=20"]) == 0
    (note,) = json.loads((tmp_path / "run" / "localisation.json").read_text())["notes"]
    assert note.startswith("2 images are turned by EXIF and have regions (such as 6.jpg): ")
    assert f"note: {note}" in capsys.readouterr().out
