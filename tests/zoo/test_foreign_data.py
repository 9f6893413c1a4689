"""A model trained on one table is never scored on another by position: every verb, a permuted table, and not one file changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions
from medzoo.export.settings import BenchConfig, ExportConfig
from medzoo.inference.predict import require_same_names
from medzoo.settings.schema import TrainConfig
from medzoo.settings.verbs import (
    EvaluateConfig,
    ExplainConfig,
    InterveneConfig,
    PrepareConfig,
    ReportConfig,
    RobustnessConfig,
    VerifyConfig,
    ZeroshotConfig,
)  # fmt: skip
from medzoo.store.spec import ModelSpec
from tests.zoo.models.clip.clip_folder import write_folder

SHORT = [
    "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=1", "trainer.batch_size=8", "trainer.trackers=[]",
    "evaluation.replicates=10", "device=cpu",
]  # fmt: skip


def table(folder: Path) -> pd.DataFrame:
    """36 images of 18 patients with two findings and a concept, whose names no row number gives away."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(36):
        folder.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 24), dtype=np.uint8)).save(folder / f"{number}.png")
        split = ("train", "val", "test")[number // 2 % 3]
        finding = {"mass": number % 2, "nodule": number // 4 % 2, "round": number % 3 == 0}
        rows.append({"image": f"{number}.png", "patient": number // 2, "split": split, **finding})
    return pd.DataFrame(rows).astype({"round": int})


@pytest.fixture
def trained(once: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of a run, and of the table it was trained on, which its configuration names as its own."""
    for name in ("own", "run"):
        shutil.copytree(once / name, tmp_path / name)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(once), str(tmp_path)))
    return tmp_path / "run", tmp_path / "own" / "labels.csv"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    own = folder / "own"
    file = own / "labels.csv"
    frame = table(own)
    frame.to_csv(file, index=False)
    options = ["data=table", f"data.file={file}", "data.target=[mass,nodule]", "data.group=patient", "data.split=split"]
    assert main(["train", *options, *SHORT, f"run={folder / 'run'}"]) == 0
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def refused(command: list[str], capsys: pytest.CaptureFixture[str], *words: str) -> None:
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert [word for word in words if word not in said] == [], said


PERMUTED = {
    "targets in another order": ("+data.target=[nodule,mass]", "data.target=['nodule', 'mass']"),
    "another finding": ("+data.target=[mass,round]", "data.target="),
    "one finding less": ("+data.target=mass", "data.target=mass"),
    "another kind": ("+data.kind=regression", "data.kind=regression"),
    "another split": ("+data.split=null", "data.split=None"),
    "another group": ("+data.group=null", "data.group=None"),
    "fewer samples": ("+data.shots=2", "data.shots=2"),
    "another window": ("+data.window=[0,100]", "data.window="),
    "a set by name": ("data=medmnist", "the run's own dataset"),
}


@pytest.mark.parametrize("kind", PERMUTED)
@pytest.mark.parametrize("verb", ["evaluate", "export"])
def test_an_option_that_makes_other_data_is_refused(
    kind: str, verb: str, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = trained
    option, word = PERMUTED[kind]
    before = content(run)
    refused([verb, f"run={run}", option], capsys, word)
    assert content(run) == before


@pytest.mark.parametrize("verb", ["evaluate", "export", "resume"])
def test_another_table_in_the_place_of_the_first_is_refused(
    verb: str, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = trained
    frame = pd.read_csv(file)
    swapped = frame.rename(columns={"mass": "nodule", "nodule": "mass"})
    shorter = frame[frame.patient != 5]
    moved = frame.assign(split=frame.split.map({"train": "test", "test": "train", "val": "val"}))
    before = content(run)
    for other in (swapped, shorter, moved):
        place = tmp_path / "own" / "other.csv"
        other.to_csv(place, index=False)
        if verb == "resume":
            for word in (f"data.file={place}", f"+data.file={place}"):
                refused(["train", f"resume={run}", word], capsys, "is not the data that")
            other.to_csv(file, index=False)
            refused(["train", f"resume={run}"], capsys, "is not the data that")
        else:
            refused([verb, f"run={run}", f"+data.file={place}"], capsys, "is not the data that", "train on this one")
        assert content(run) == before


def test_the_same_table_elsewhere_in_another_order_is_the_same(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = trained
    metrics = json.loads((run / "metrics.json").read_text())
    data = metrics["details"]["data"]
    assert data["name"] == "table/labels"
    assert {split: part["samples"] for split, part in data["splits"].items()} == {"val": 12, "test": 12}
    assert data["options"]["target"] == ["mass", "nodule"]
    there = tmp_path / "there"
    shutil.copytree(file.parent, there)
    frame = pd.read_csv(file).sample(frac=1, random_state=1)[["split", "nodule", "image", "mass", "patient", "round"]]
    frame.to_csv(there / "labels.csv", index=False)
    shutil.rmtree(file.parent)
    again = ["evaluate", f"run={run}", f"+data.file={there / 'labels.csv'}", "evaluation.replicates=10", "device=cpu"]
    assert main(again) == 0
    now = json.loads((run / "metrics.json").read_text())
    assert {split: part["table"] for split, part in now["details"]["data"]["splits"].items()} == {
        split: part["table"] for split, part in data["splits"].items()
    }
    assert now["splits"]["test"]["metrics"]["auroc"]["value"] == metrics["splits"]["test"]["metrics"]["auroc"]["value"]


@pytest.mark.parametrize("plus", ["", "+"])
def test_a_training_goes_on_where_its_table_lies_now(
    plus: str, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = trained
    shutil.move(file.parent, tmp_path / "there")
    refused(["train", f"resume={run}"], capsys, f"no table at {file}; ", "say where that is now with +data.file=...")
    where = f"data.file={tmp_path / 'there' / 'labels.csv'}"
    refused(["train", f"resume={run}", where, f"+{where}"], capsys, "data.file is given twice")
    assert main(["train", f"resume={run}", plus + where]) == 0


@pytest.mark.parametrize("verb", [["evaluate", "run=RUN", "evaluation.replicates=2", "device=cpu"], ["train", "resume=RUN"]])
def test_a_table_by_a_relative_path_is_found_from_elsewhere_as_the_refusal_says(
    verb: list[str],
    trained: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, file = trained
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(file), "own/labels.csv"))
    words = [word.replace("RUN", str(run)) for word in verb]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused(words, capsys, "no table at own/labels.csv; ", "start medzoo in the folder that it was trained from, or say where")
    assert main([*words, "+data.file=../own/labels.csv"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0


def test_names_are_compared_whatever_was_recorded() -> None:
    """Runs of an earlier medzoo keep no checksum: their labels and concepts are still compared by name."""
    dataset = load_dataset("phantom", patients=6, size=16)
    labels, concepts = dataset.labels, dataset.concepts
    assert labels is not None
    assert concepts is not None

    def spec(labels: LabelSpace | None = None, concepts: ConceptSpace | None = None, **objective: object) -> ModelSpec:
        return ModelSpec("cnn", "classify", "x", None, labels, concepts, objective=objective)  # type: ignore[arg-type]

    require_same_names(spec(labels, concepts), dataset)
    require_same_names(spec(), dataset)
    for own, words in (
        (LabelSpace(labels.kind, labels.names[::-1]), "another order"),
        (LabelSpace(labels.kind, (*labels.names[:-1], "eczema")), "eczema of the model's is not among them"),
        (LabelSpace("multilabel", labels.names), "their kind"),
    ):
        with pytest.raises(ConfigError, match=words):
            require_same_names(spec(own), dataset)
    with pytest.raises(ConfigError, match=r"concepts of .* another order"):
        require_same_names(spec(labels, ConceptSpace(concepts.names[::-1])), dataset)
    require_same_names(spec(labels, ConceptSpace(("a text", "another")), columns=[None, None]), dataset)


def test_inputs_that_no_model_looks_at_are_refused(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = trained
    own = ["data=table", f"data.file={file}", "data.target=mass", "data.group=patient", "data.inputs=[patient,round]"]
    refused(["train", *own, *SHORT, f"run={tmp_path / 'new'}"], capsys, "data.inputs=['patient', 'round']", "would ignore them")
    refused(["train", *own, *SHORT[2:], "model=clip", "model.captions=labels", f"run={tmp_path / 'new'}"], capsys, "data.inputs")
    assert not (tmp_path / "new").exists()
    assert main(["verify", *own]) == 0


def test_zero_shot_classes_are_matched_by_name(tmp_path: Path) -> None:
    """The order of the classes in an option changes no class's figures."""
    folder = write_folder(tmp_path / "clip")
    frame = table(tmp_path / "own")
    frame.assign(kind=np.where(frame.mass == 1, "mass", "clear")).to_csv(tmp_path / "own" / "kinds.csv", index=False)
    own = ["data=table", f"data.file={tmp_path / 'own' / 'kinds.csv'}", "data.target=kind", "data.split=split"]
    own += ["data.group=patient", "evaluation.replicates=10", "evaluation.splits=[test]", "device=cpu"]
    found = []
    for number, order in enumerate(("[mass,clear]", "[clear,mass]")):
        run = tmp_path / f"zeroshot-{number}"
        assert main(["zeroshot", *own, f"data.names={order}", f"model.backbone=local-dir:{folder}", f"run={run}"]) == 0
        metrics = json.loads((run / "metrics.json").read_text())["splits"]["test"]["metrics"]
        found.append({name: metrics["auroc"]["classes"][name]["value"] for name in ("mass", "clear")})
        refusal = content(run)
        assert main(["zeroshot", *own, f"model.backbone=local-dir:{folder}", f"run={run}"]) == 2  # another evaluation's files
        assert content(run) == refusal
    assert found[0] == pytest.approx(found[1])


def test_the_verbs_that_take_data_are_those_walked_here() -> None:
    schemas = {"evaluate": EvaluateConfig, "export": ExportConfig, "zeroshot": ZeroshotConfig, "train": TrainConfig}
    others = {"verify": VerifyConfig, "prepare": PrepareConfig, "bench": BenchConfig}
    own = {"intervene": InterveneConfig, "explain": ExplainConfig, "report": ReportConfig, "robustness": RobustnessConfig}
    taking = {verb for verb, schema in {**schemas, **others, **own}.items() if "data" in schema.__annotations__}
    assert taking == {*schemas, *own, "verify", "prepare"}  # the last two have no model


@pytest.mark.parametrize("verb", ["explain", "report", "robustness"])
def test_a_verb_on_a_run_takes_no_other_data_than_the_runs(
    trained_run: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Predictions.read(trained_run / "predictions.parquet").sample_id[0]
    more = {"explain": [f"sample='{sample}'"], "report": [f"output={trained_run}/never.html"], "robustness": []}[verb]
    assert main([verb, f"run={trained_run}", "+data.patients=41", *more]) == 2
    assert "its own data are what it is judged on" in capsys.readouterr().err
