"""The recipes of conf/data/public on generated files of the form that their authors document, and the maps of conf/maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.datasets.chestxray14.load import FINDINGS
from medzoo.data.registry import load_dataset
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.schema import TrainConfig

CONF = Path(__file__).parents[3] / "conf"
NAN = np.nan


def write(path: Path, header: str, rows: list[str], images: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    for number, name in enumerate(images):
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path.parent / name)
    return path


def opened(recipe: str, file: Path) -> Dataset:
    config = typed(TrainConfig, compose_config("train", [f"data=public/{recipe}", f"data.file={file}"]))
    return load_dataset(**config.data)


def test_ham10000_keeps_the_images_of_a_lesion_together(tmp_path: Path) -> None:
    diagnoses = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"] * 3
    rows = [
        f"HAM_{n // 2:07d},ISIC_{n:07d},{dx},histo,{'' if n == 3 else 40.0 + n},{'unknown' if n == 5 else 'male'},back"
        for n, dx in enumerate(diagnoses)
    ]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    file = write(tmp_path / "HAM10000_metadata.csv", header, rows, [f"ISIC_{n:07d}.jpg" for n in range(21)])
    dataset = opened("ham10000", file)
    assert dataset.labels is not None
    assert dataset.labels.names == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert dataset.info.modality == "skin"
    assert dataset.info.licence == "CC-BY-NC-4.0"
    assert dataset.table.groupby("group")["split"].nunique().eq(1).all()
    assert dataset.table["group"].nunique() == 11
    assert dataset.table["sex"].isna().sum() == 1


def test_pad_ufes_20_keeps_a_patient_together(tmp_path: Path) -> None:
    header = "patient_id,lesion_id,gender,fitspatrick,diagnostic,img_id,biopsed"
    names = [f"PAT_{n // 3}_{n}_{n}.png" for n in range(18)]
    kinds = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"] * 3
    rows = [f"PAT_{n // 3},{n},{'' if n == 4 else 'FEMALE'},{1.0 + n % 6},{kinds[n]},{names[n]},True" for n in range(18)]
    dataset = opened("pad_ufes_20", write(tmp_path / "metadata.csv", header, rows, names))
    assert dataset.labels is not None
    assert dataset.labels.names == ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
    assert dataset.table["group"].nunique() == 6
    assert set(dataset.subgroups) == {"fitspatrick", "gender", "biopsed"}


def test_chexperts_uncertain_and_unmentioned_observations_are_missing(tmp_path: Path) -> None:
    settings = yaml.safe_load((CONF / "data" / "public" / "chexpert.yaml").read_text())
    observations = settings["target"]
    assert len(observations) == 14
    header = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *observations])
    names = [f"CheXpert-v1.0-small/train/patient{n // 2:05d}/study1/view{n % 2 + 1}_frontal.jpg" for n in range(24)]
    answers = ["1.0", "0.0", "-1.0", *[""] * 11]
    rows = [f"{name},Female,{50 + n},Frontal,{'AP' if n else ''},{','.join(answers[n % 14 :] + answers[: n % 14])}"
            for n, name in enumerate(names)]  # fmt: skip
    dataset = opened("chexpert", write(tmp_path / "train.csv", header, rows, names))
    assert dataset.labels is not None
    assert dataset.labels.names == tuple(observations)
    expected = np.array([[{"1.0": 1, "0.0": 0}.get(answer, NAN) for answer in answers]])
    np.testing.assert_array_equal(target_matrix(dataset.table, dataset.labels)[:1], expected)
    assert dataset.table["group"].nunique() == 12
    assert dataset.table.groupby("group")["split"].nunique().eq(1).all()


@pytest.mark.parametrize(("name", "theirs"), [("chexpert-chestxray14", "chexpert"), ("pad_ufes_20-ham10000", "pad_ufes_20")])
def test_maps_name_what_there_is(name: str, theirs: str) -> None:
    renamed = yaml.safe_load((CONF / "maps" / f"{name}.yaml").read_text())
    settings = yaml.safe_load((CONF / "data" / "public" / f"{theirs}.yaml").read_text())
    known = settings.get("names") or settings["target"]
    if name.endswith("ham10000"):
        ours = yaml.safe_load((CONF / "data" / "public" / "ham10000.yaml").read_text())["names"]
    else:
        ours = list(FINDINGS)
    assert set(renamed) <= set(known)
    assert {to for to in renamed.values() if to is not None} <= set(ours)
    assert {name for name in known if name not in renamed} <= set(ours), "the rest bear the same names"


def test_every_map_is_looked_at() -> None:
    assert {path.stem for path in (CONF / "maps").glob("*")} == {"chexpert-chestxray14", "pad_ufes_20-ham10000"}
    assert {path.stem for path in (CONF / "data" / "public").glob("*")} == {"ham10000", "pad_ufes_20", "chexpert"}
