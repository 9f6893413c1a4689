"""Tiny tables of published datasets, column by column as their authors write them, each with its traps; images of one colour."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

CONF = Path(__file__).parents[3] / "conf"
CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
    "OriginalImagePixelSpacing[x,y]"
)
PADCHEST_HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,MethodProjection,"
    "Pediatric,MethodLabel,Labels,Localizations"
)
PADCHEST = (
    "['normal']", "['laminar atelectasis', ' pleural effusion']", "['air bronchogram']", "['cardiomegaly', 'unchanged']",
    "['unchanged']", "nan", "['']", "['hydropneumothorax', 'NSG tube']", "['pulmonary mass', 'pseudonodule']",
    "['subcutaneous emphysema']",
)  # fmt: skip
"""Label cells with the release's traps: nan, blanks, empty names, words that say nothing of the rest, two parents."""


def recipe(name: str) -> dict[str, object]:
    """Return a recipe as it is written."""
    found: dict[str, object] = yaml.safe_load((CONF / "data" / "public" / f"{name}.yaml").read_text())
    return found


def labels_of(name: str) -> list[str]:
    """Return the labels that a recipe names."""
    settings = recipe(name)
    return list(map(str, settings.get("names") or settings["target"]))  # type: ignore[call-overload]


def write(path: Path, header: str, rows: Sequence[str], images: Sequence[str], *, root: str = "", deep: bool = False) -> Path:
    """Write a table and its images, each of a gray of its own; return the table's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    for number, name in enumerate(dict.fromkeys(images)):
        place = path.parent / root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if deep:
            Image.fromarray(np.full((24, 24), 1000 * number + 500, dtype=np.uint16)).save(place)
        else:
            gray = 7 * number % 256
            Image.new("RGB", (24, 24), (gray, gray, gray)).save(place)
    return path


def chestxray14(folder: Path) -> Path:
    findings = ("No Finding", "Cardiomegaly|Emphysema", "Hernia", "Effusion")
    rows = [
        f"{n // 3:08d}_{n % 3:03d}.png,{findings[n % 4]},{n % 3},{n // 3},{40 + n},{'MF'[n % 2]},PA,2894,2729,0.143,0.143"
        for n in range(24)
    ]
    return write(folder / "Data_Entry_2017_v2020.csv", NIH_HEADER, rows, [row.split(",")[0] for row in rows])


def chexpert(folder: Path, count: int = 24) -> Path:
    header = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT])
    names = [f"CheXpert-v1.0-small/train/patient{n // 2:05d}/study1/view{n % 2 + 1}_frontal.jpg" for n in range(count)]
    answers = ["1.0", "0.0", "-1.0", *[""] * 11]
    rows = [f"{name},Female,{50 + n},Frontal,{'AP' if n else ''},{','.join(answers[n % 14 :] + answers[: n % 14])}"
            for n, name in enumerate(names)]  # fmt: skip
    return write(folder / "train.csv", header, rows, names)


def padchest(folder: Path, count: int = 40) -> Path:
    rows = [
        f'{n},{n}_study_{n}.png,{n % 3},20140915,S{n},{8398604886942923 + n // 2},1930.0,{"FMO"[n % 3]},,{("PA", "L")[n % 2]},'
        f'Manual review of DICOM fields,No,{("Physician", "RNN_model")[n % 4 > 1]},"{PADCHEST[n % 10]}","[]"'
        for n in range(count)
    ]  # fmt: skip
    names = [row.split(",")[1] for row in rows]
    return write(folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", PADCHEST_HEADER, rows, names, deep=True)


def vindr_cxr(folder: Path) -> Path:
    """Three readers of each of 12 films: of findings k, k + 1 and k + 2 of film k one, two and three say yes."""
    labels = labels_of("vindr_cxr")
    rows = []
    for film in range(12):
        for reader in range(3):
            held = ["1" if 2 - reader <= place - film <= 2 else "0" for place in range(len(labels))]
            rows.append(f"{film:032x},R{reader + 1},{','.join(held)},0")
    file = write(folder / "image_labels_train.csv", f"image_id,rad_id,{','.join(labels)},Other diseases", rows, [])
    for film in range(12):
        (folder / f"{film:032x}.dicom").write_bytes(b"\0" * 128 + b"DICM")
    return file


def mimic_cxr(folder: Path) -> Path:
    """Eight patients of two studies of two films; the last study has no labels, as some have none."""
    films = [(f"1000{n // 4:04d}", f"5000{n // 2:04d}", f"{n:08x}-aaaa") for n in range(32)]
    split, view = [], []
    for n, (patient, study, film) in enumerate(films):
        split.append(f"{film},{study},{patient},{('train', 'train', 'validate', 'test')[n // 8]}")
        view.append(f"{film},{patient},{study},CHEST (PA AND LAT),{('PA', 'LATERAL', 'AP', '')[n % 4]}")
    header = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition"
    write(folder / "mimic-cxr-2.0.0-metadata.csv.gz", header, view[::-1], [])
    known, order, labels = ["1.0", "0.0", "-1.0", *[""] * 11], sorted(CHEXPERT), []
    for n, (patient, study) in enumerate(list(dict.fromkeys(film[:2] for film in films))[:-1]):
        answers = dict(zip(CHEXPERT, [*known[-n % 14 :], *known[: -n % 14]], strict=True))
        labels.append(",".join([patient, study, *(answers[name] for name in order)]))
    write(folder / "mimic-cxr-2.0.0-chexpert.csv", ",".join(["subject_id", "study_id", *order]), labels, [])
    images = [f"files/p{patient[:2]}/p{patient}/s{study}/{film}.jpg" for patient, study, film in films]
    return write(folder / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split", split, images)


def ham10000(folder: Path, count: int = 42) -> Path:
    names = labels_of("ham10000")
    rows = [
        f"HAM_{n // 2:07d},ISIC_{n:07d},{names[n // 2 % 7]},histo,{'' if n == 3 else 40.0 + n},{('male', 'unknown')[n == 5]},back"
        for n in range(count)
    ]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    return write(folder / "HAM10000_metadata.csv", header, rows, [f"ISIC_{n:07d}.jpg" for n in range(count)])


def pad_ufes_20(folder: Path) -> Path:
    names = [f"PAT_{n // 3}_{n}_{n}.png" for n in range(36)]
    kinds = labels_of("pad_ufes_20")
    rows = [f"PAT_{n // 3},{n},{'' if n == 4 else 'FEMALE'},{1.0 + n % 6},{kinds[n // 3 % 6]},{names[n]},True" for n in range(36)]
    return write(folder / "metadata.csv", "patient_id,lesion_id,gender,fitspatrick,diagnostic,img_id,biopsed", rows, names)


def isic_2019(folder: Path) -> Path:
    """Lesions of two images, four images without one, metadata in another order."""
    names = [f"ISIC_{n:07d}{'_downsampled' * (n % 5 == 0)}" for n in range(32)]
    truth = [f"{name},{','.join('1.0' if place == n // 2 % 8 else '0.0' for place in range(9))}" for n, name in enumerate(names)]
    data = [
        f"{name},{'' if n == 1 else 45.0},anterior torso,{'' if n > 27 else f'BCN_{n // 2:07d}'},{('female', '')[n % 2]}"
        for n, name in enumerate(names)
    ]
    write(folder / "ISIC_2019_Training_Metadata.csv", "image,age_approx,anatom_site_general,lesion_id,sex", data[::-1], [])
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    return write(folder / "ISIC_2019_Training_GroundTruth.csv", header, truth, [f"{name}.jpg" for name in names])


def fitzpatrick17k(folder: Path) -> Path:
    kinds = (
        "psoriasis,inflammatory,non-neoplastic", "melanoma,malignant melanoma,malignant", "dermatofibroma,benign dermal,benign",
        "actinic keratosis,malignant epidermal,malignant",
    )  # fmt: skip
    rows = [
        f"{n:032x},{(-1, 1, 6)[n % 3]},{n % 6 + 1},{kinds[n % 4]},{('', '1 Diagnostic')[n % 7 == 0]},https://x/{n}.jpg,x{n}.jpg"
        for n in range(24)
    ]
    header = "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,url_alphanum"
    return write(folder / "fitzpatrick17k.csv", header, rows, [f"{n:032x}.jpg" for n in range(24)])


def ddi(folder: Path) -> Path:
    rows = [f"{n},{n + 1},{n + 1:06d}.png,{(12, 34, 56)[n % 3]},{n % 2 == 1}" for n in range(24)]
    return write(
        folder / "ddi_metadata.csv", ",DDI_ID,DDI_file,skin_tone,malignant", rows, [f"{n + 1:06d}.png" for n in range(24)]
    )


def aptos_2019(folder: Path, count: int = 40) -> Path:
    names = [f"{n:012x}" for n in range(count)]
    rows = [f"{name},{n % 5}" for n, name in enumerate(names)]
    return write(folder / "train.csv", "id_code,diagnosis", rows, [f"{name}.png" for name in names], root="train_images")


def eyepacs(folder: Path) -> Path:
    names = [f"{n // 2 + 10}_{('left', 'right')[n % 2]}" for n in range(40)]
    rows = [f"{name},{n // 2 % 5}" for n, name in enumerate(names)]
    return write(folder / "trainLabels.csv", "image,level", rows, [f"{name}.jpeg" for name in names], root="train")


def messidor2(folder: Path) -> Path:
    names = [f"2005102{n}_43808_0100_PP.png" if n % 2 else f"IM{n:06d}.JPG" for n in range(22)]
    rows = [f"{name},{n % 5 if n < 20 else ''},{0 if n < 20 else ''},{int(n < 20)}" for n, name in enumerate(names)]
    return write(folder / "messidor_data.csv", "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable", rows, names)


def messidor(folder: Path) -> Path:
    rows = [f"2005102{n}_43808_0100_PP.png,Service Ophtalmologie Lariboisiere,{n % 4},{n % 3}" for n in range(24)]
    header = "Image name,Ophthalmologic department,Retinopathy grade,Risk of macular edema "
    return write(folder / "annotations.csv", header, rows, [row.split(",")[0] for row in rows])


PUBLIC: dict[str, Callable[[Path], Path]] = {
    "chestxray14": chestxray14, "chexpert": chexpert, "padchest": padchest, "vindr_cxr": vindr_cxr, "mimic_cxr": mimic_cxr,
    "ham10000": ham10000, "pad_ufes_20": pad_ufes_20, "isic_2019": isic_2019, "fitzpatrick17k": fitzpatrick17k,
    "fitzpatrick17k_nine": fitzpatrick17k, "ddi": ddi, "aptos_2019": aptos_2019, "eyepacs": eyepacs, "messidor2": messidor2,
    "messidor": messidor,
}  # fmt: skip
"""Recipe → what writes its files into an empty folder and returns the table."""
