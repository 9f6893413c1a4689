"""`medzoo evaluate on=...`: another hospital's table, its columns in another order and by other names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.datasets.chestxray14.load import FINDINGS as NIH
from medzoo.evaluation.predictions import Predictions
from tests.data.datasets.chestxray14_files import many_films, write_images, write_release

FINDINGS = ("mass", "nodule", "effusion")
SHORT = [
    "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=2", "trainer.batch_size=16",
    "evaluation.replicates=10", "device=cpu",
]  # fmt: skip


def write(folder: Path, seed: int, count: int = 60) -> pd.DataFrame:
    """Images whose findings can be seen, of patients of two images each."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        known = rng.integers(0, 2, 3)
        pixels = rng.integers(0, 60, (24, 24, 3), dtype=np.uint8)
        pixels[..., :] += (150 * known).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{number}.png")
        row: dict[str, Any] = dict(zip(FINDINGS, known.astype(float), strict=True))
        rows.append({"image": f"{seed}-{number}.png", "patient": f"{seed}-{number // 2}", **row})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, `run`, of the table in `own`; and the images of another hospital in `other`, without a table."""
    folder = tmp_path_factory.mktemp("home")
    write(folder / "own", 0).to_csv(folder / "own" / "own.csv", index=False)
    write(folder / "other", 1).to_csv(folder / "other" / "plain.csv", index=False)
    data = ["data=table", f"data.file={folder / 'own' / 'own.csv'}", "data.image=image", "data.group=patient"]
    words = ["train", *data, f"data.target=[{','.join(FINDINGS)}]", *SHORT, f"run={folder / 'run'}"]
    assert main(words) == 0
    return folder


def on(home: Path, name: str, findings: tuple[str, ...], *further: str, table: str = "plain.csv") -> int:
    words = ["on=table", f"on.file={home / 'other' / table}", "on.image=image", "on.group=patient"]
    words += [f"on.target=[{','.join(findings)}]", f"name={name}", "evaluation.replicates=10", "device=cpu"]
    return main(["evaluate", f"run={home / 'run'}", *words, *further])


def metrics(home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "run" / "external" / name / "metrics.json").read_text())
    return found


def own_files(home: Path) -> dict[str, str]:
    files = [path for path in (home / "run").rglob("*") if path.is_file() and "external" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_columns_in_another_order_and_by_other_names_give_the_same_figures(home: Path) -> None:
    before = own_files(home)
    assert on(home, "plain", FINDINGS) == 0
    assert on(home, "permuted", ("effusion", "mass", "nodule")) == 0
    table = pd.read_csv(home / "other" / "plain.csv").rename(columns={"mass": "Mass or tumour", "nodule": "Nodule"})
    table.to_csv(home / "other" / "renamed.csv", index=False)
    names = {"Mass or tumour": "mass", "Nodule": "nodule"}
    (home / "names.yaml").write_text(json.dumps(names))
    assert on(home, "renamed", ("Nodule", "effusion", "Mass or tumour"), f"map={home / 'names.yaml'}", table="renamed.csv") == 0
    plain = metrics(home, "plain")["splits"]["test"]
    assert plain["samples"] == 60
    apart = [figure["value"] for figure in plain["metrics"]["auroc"]["classes"].values()]
    assert np.diff(sorted(apart)).min() > 0.02, "figures of exchanged findings could be told apart"
    for name in ("permuted", "renamed"):
        other = metrics(home, name)["splits"]["test"]
        assert list(other["metrics"]["auroc"]["classes"]) == list(FINDINGS)
        for metric, value in plain["metrics"].items():
            assert other["metrics"][metric]["value"] == pytest.approx(value["value"], abs=1e-12), metric
            for finding, figure in value.get("classes", {}).items():
                assert other["metrics"][metric]["classes"][finding]["value"] == pytest.approx(figure["value"], abs=1e-12)
    assert metrics(home, "renamed")["details"]["external"] == {"run": "run", "map": names, "splits": "all"}
    assert own_files(home) == before


def test_the_figures_are_those_of_the_predictions_beside_them(home: Path) -> None:
    from sklearn.metrics import roc_auc_score

    assert on(home, "oracle", FINDINGS) == 0
    predictions = Predictions.read(home / "run" / "external" / "oracle" / "predictions.parquet")
    table = pd.read_csv(home / "other" / "plain.csv").set_index("image")
    np.testing.assert_array_equal(predictions.targets, table.loc[predictions.sample_id, list(FINDINGS)].to_numpy())
    found = metrics(home, "oracle")["splits"]["test"]["metrics"]["auroc"]
    for column, finding in enumerate(FINDINGS):
        expected = roc_auc_score(predictions.targets[:, column], predictions.probabilities[:, column])
        assert found["classes"][finding]["value"] == pytest.approx(expected, abs=1e-12)


def test_a_finding_that_the_table_lacks_is_undefined_and_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert on(home, "fewer", ("effusion", "mass")) == 0
    assert "lacks labels of the model, whose figures are undefined here: nodule" in capsys.readouterr().out
    found = metrics(home, "fewer")["splits"]["test"]["metrics"]["auroc"]
    assert found["classes"]["nodule"]["value"] is None
    assert found["classes"]["mass"]["value"] is not None


def test_a_finding_by_another_name_is_refused_by_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(home / "other" / "plain.csv").rename(columns={"mass": "tumour"})
    table.to_csv(home / "other" / "tumour.csv", index=False)
    assert on(home, "refused", ("tumour", "nodule", "effusion"), table="tumour.csv") != 0
    said = capsys.readouterr().err
    assert "'tumour'" in said
    assert "none of the model's (mass, nodule, effusion)" in said
    assert "map={tumour: mass}" in said
    assert not (home / "run" / "external" / "refused").exists()


def test_patients_that_were_learnt_from_are_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["on=table", f"on.file={home / 'own' / 'own.csv'}", "on.image=image", "on.group=patient"]
    assert main(["evaluate", f"run={home / 'run'}", *words, f"on.target=[{','.join(FINDINGS)}]", "device=cpu"]) != 0
    said = capsys.readouterr().err
    assert "the network has learnt from" in said
    assert "on.allow_shared_groups=true" in said


def test_images_that_were_learnt_from_under_other_names_are_said_first(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before, table = own_files(home), pd.read_csv(home / "other" / "plain.csv")
    learnt = Predictions.read(home / "run" / "predictions.parquet")
    unseen = set(learnt.sample_id[learnt.split == "test"])
    names = [name for name in pd.read_csv(home / "own" / "own.csv")["image"] if name not in set(learnt.sample_id)]
    val, test = str(learnt.sample_id[learnt.split == "val"][0]), sorted(unseen)[0]
    assert len(names) >= 3  # of train
    for name, source in (("copy.png", names[0]), ("of-val.png", val), ("of-test.png", test), ("1-0.png", "../other/1-0.png")):
        with Image.open(home / "own" / source) as image:
            image.save(home / "other" / name, compress_level=0)
    with Image.open(home / "own" / names[1]) as image:  # as another program would save it
        lighter = np.clip(np.asarray(image).astype(int) + 1, 0, 255).astype(np.uint8)
    Image.fromarray(lighter).save(home / "other" / "near.png")
    copies = table.iloc[:4].assign(image=["copy.png", "of-val.png", "of-test.png", "near.png"], patient=["c", "v", "t", "n"])
    pd.concat([table, copies]).to_csv(home / "other" / "copies.csv", index=False)
    assert on(home, "silent", FINDINGS, table="copies.csv") == 0
    silent = metrics(home, "silent")
    assert not [entry for entry in silent["attention"] if entry["kind"] in ("leak", "near copy")]
    assert any("its images were not compared" in note for note in silent["notes"])
    capsys.readouterr()
    assert on(home, "copies", FINDINGS, "evaluation.audit=true", table="copies.csv") == 0
    said = capsys.readouterr().out
    found = metrics(home, "copies")
    told = found["details"]["learnt_images"]
    assert [(one["sample_id"], one["learnt_from"], one["split"]) for one in told["identical_listed"]] == [
        ("copy.png", names[0], "train"), ("of-val.png", val, "val"),
    ]  # fmt: skip
    assert ("near.png", names[1]) in [(one["sample_id"], one["learnt_from"]) for one in told["near_listed"]]
    assert told["compared"]["test"] == 64
    assert [entry["kind"] for entry in found["attention"][:2]] == ["leak", "near copy"]
    such = f"(such as copy.png, {names[0]} in train)"
    assert f"look first: 2 test samples have images the same, to the pixel, as images the network has learnt from {such}" in said
    assert not any("its images were not compared" in note for note in found["notes"])
    assert main(["compare", str(home / "run" / "external" / "copies")]) == 0
    page = capsys.readouterr().out
    assert page.index("run/external/copies: 2 test samples have images the same") < page.index("|")
    assert main(["report", f"run={home / 'run'}", f"output={tmp_path / 'r.html'}"]) == 0
    assert "copies: 2 test samples have images the same" in (tmp_path / "r.html").read_text()
    assert own_files(home) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["map={a: b}"], "of a test on another dataset"),
        (["name=x"], "of a test on another dataset"),
        (["on=phantom", "predict=false"], "predict=false scores the run's own predictions"),
        (["on=phantom", "+data.root=x"], "on.root=..."),
        (["on=phantom", "on_splits=[tset]"], "'tset' in on_splits; did you mean 'test'"),
        (["on=phantom", "map={a: 3.5}"], "'a': 3.5 are not two names"),
        (["on=phantom", "evaluation.splits=[val]"], "on_splits=[test]"),
        (["+on.root=x"], "on names no dataset"),
        (["on=phantom", "map=nowhere.yaml"], "unknown map 'nowhere.yaml', which is no file either"),
        (["on=phantom", "map=chexpert-chestxray"], "did you mean 'chexpert-chestxray14'"),
        (["on=phantom", "name=../x", "on.labels=multilabel"], "none of the model's"),
        (["on=phantm"], "did you mean 'phantom'"),
    ],
)
def test_what_means_nothing_is_one_line(home: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = own_files(home)
    assert main(["evaluate", f"run={home / 'run'}", *words]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert own_files(home) == before


def test_what_is_said_of_the_other_tables_options_names_them_as_given(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    rows = pd.read_csv(home / "other" / "plain.csv").assign(sort="mass")
    rows.to_csv(home / "other" / "sorts.csv", index=False)
    words = ["on=table", f"on.file={home / 'other' / 'sorts.csv'}", "on.image=image", "on.group=patient"]
    assert main(["evaluate", f"run={home / 'run'}", *words, "on.target=sort", "name=sorts"]) == 2
    said = capsys.readouterr().err
    assert "'sort' of sorts.csv holds one class alone, 'mass'" in said
    assert "as on.names=[...]" in said
    assert main(["evaluate", f"run={home / 'run'}", *words, "on.target=sort", "on.kind=multilabel", "name=sorts"]) == 2
    said = capsys.readouterr().err
    assert "need on.separator and on.names" in said
    assert "data." not in said


def test_results_of_other_data_are_not_written_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert on(home, "kept", FINDINGS) == 0
    assert on(home, "kept", FINDINGS) == 0  # the same again is
    assert on(home, "kept", ("effusion", "mass")) != 0
    assert "holds a test on other data, or by another map; give this one a name of its own" in capsys.readouterr().err
    assert on(home, "kept", FINDINGS, "map={mass: nodule, nodule: mass}") != 0
    assert on(home, "kept", FINDINGS, "on_splits=[test]") != 0
    (home / "run" / "external" / "kept" / "metrics.json").write_text("{}")
    assert on(home, "kept", FINDINGS) != 0
    assert "cannot be read" in capsys.readouterr().err
    assert on(home, "../out", FINDINGS) != 0
    assert "no name of a folder" in capsys.readouterr().err


def test_the_nih_test_rows_as_an_alphabetical_table_give_the_wrappers_figures(tmp_path: Path) -> None:
    films = many_films(60)
    test = [film[0] for film in films if film[3] % 3 == 0]
    write_release(tmp_path / "nih", films, test)
    write_images(tmp_path / "nih", [film[0] for film in films])
    run = tmp_path / "run"
    assert main(["train", "data=chestxray14", f"data.root={tmp_path / 'nih'}", *SHORT, f"run={run}"]) == 0
    own = json.loads((run / "metrics.json").read_text())["splits"]["test"]
    kept = [film for film in films if film[0] in test]
    table = pd.DataFrame({"file": [film[0] for film in kept], "patient": [film[3] for film in kept]})
    for finding in sorted(NIH):
        table[finding] = [int(finding in film[1].split("|")) for film in kept]
    folder = next(path for path in (tmp_path / "nih").rglob(kept[0][0])).parent
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "rows.csv", index=False)
    words = ["on=table", f"on.file={tmp_path / 'rows.csv'}", f"on.root={folder}", "on.image=file", "on.group=patient"]
    words += [f"on.target=[{','.join(sorted(NIH))}]", "on.channels=1", "on.modality=xray"]
    assert main(["evaluate", f"run={run}", *words, "name=rows", "evaluation.replicates=10", "device=cpu"]) == 0
    found = json.loads((run / "external" / "rows" / "metrics.json").read_text())["splits"]["test"]
    assert found["samples"] == own["samples"] == len(test)
    for metric, value in own["metrics"].items():
        assert found["metrics"][metric]["value"] == pytest.approx(value["value"], abs=1e-9), metric
        for finding, figure in value.get("classes", {}).items():
            assert found["metrics"][metric]["classes"][finding]["value"] == pytest.approx(figure["value"], abs=1e-9), finding
