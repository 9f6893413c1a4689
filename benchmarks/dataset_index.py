"""Seconds and memory to index a large dataset without touching images: Derm1M-sized CSV files, and ChestX-ray14's own.

Run: python benchmarks/dataset_index.py [--rounds 3] [--rows 413000] [--labels level1 disease] [--chestxray ROOT]

The Derm1M files are generated (the real ones are gated): 413,000 pretrain rows of 403,563 images, captions of 41 words,
390 diseases on four levels and 130 concepts, as its README counts them, and 9,806 validation rows. Every round is a process
of its own: the time is that of `load_dataset` with imports done, the memory the peak of the whole process.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data import load_dataset
from medzoo.data.datasets.derm1m.tables import COLUMNS, SENTINELS

IMAGES, VALIDATION_ROWS, WORDS = 403_563, 9_806, 41
FOLDERS = {
    "youtube": ("youtube", "edu"),
    "pubmed": ("pubmed_english", "knowledge"),
    "public": ("public", "edu"),
    "reddit": ("reddit_english", "forum"),
    "IIYI": ("IIYI_chinese", "forum"),
}
ROOTS = 8


def disease_path(disease: int) -> str:
    """Return the path of a disease: 8 roots, 40 and 130 nodes between, 390 leaves; a fifth of them end a level early."""
    nodes = [f"root {disease % ROOTS}", f"group {disease % 40}", f"family {disease % 130}", f"disease {disease}"]
    return ", ".join(nodes[: 3 if disease % 5 == 0 else 4])


def write_csv(path: Path, rows: int, start: int, images: int, generator: np.random.Generator) -> None:
    """Write rows of images `start` to `start + images`; some images have several."""
    words = np.array([f"word{k}" for k in range(5000)])
    texts = [" ".join(chosen) for chosen in words[generator.integers(0, len(words), (20_000, WORDS))]]
    folders = list(FOLDERS)
    concepts = [", ".join(f"concept {k}" for k in generator.choice(130, 3, replace=False)) for _ in range(20_000)]
    draws = generator.integers(0, 2**31, (rows, 5))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row, (text, disease, concept, age, known) in enumerate(draws.tolist()):
            image = start + row % images
            folder = folders[image % len(folders)]
            name = f"v{image // 40:010d}_frame_{image}_0" if folder == "youtube" else f"{image:08d}"
            caption = f"{texts[text % len(texts)]} {row}"
            diagnosed, shown, told = known % 2, known // 2 % 3 == 0, known // 6 % 4 == 0
            writer.writerow([
                f"{folder}/{name}.jpg", caption, caption[:160], *FOLDERS[folder],
                f"disease {disease % 390}" if diagnosed else SENTINELS["disease_label"],
                disease_path(disease % 390) if diagnosed else SENTINELS["hierarchical_disease_label"],
                concepts[concept % len(concepts)] if shown else SENTINELS["skin_concept"],
                f"site {age % 900}" if told else SENTINELS["body_location"],
                f"itching since {age % 3000} days" if told else SENTINELS["symptoms"],
                f"{age % 90} years" if told else SENTINELS["age"],
                ["male", "female"][age % 2] if told else SENTINELS["gender"],
            ])  # fmt: skip


def write_files(root: Path, rows: int) -> None:
    """Write both CSV files and the ontology; no image of one is in the other, nor any video."""
    generator = np.random.default_rng(0)
    images = max(1, round(rows * IMAGES / 413_000))
    write_csv(root / "Derm1M_v2_pretrain.csv", rows, 0, images, generator)
    write_csv(root / "Derm1M_v2_validation.csv", VALIDATION_ROWS, 10**7, VALIDATION_ROWS, generator)
    tree: dict[str, list[str]] = {}
    for disease in range(390):
        nodes = disease_path(disease).split(", ")
        for parent, child in itertools.pairwise(nodes):
            tree.setdefault(parent, []).append(child)
    (root / "ontology.json").write_text(json.dumps(tree), encoding="utf-8")


def measure(name: str, options: dict[str, Any]) -> None:
    """Load once, in this process, and print what it took as JSON."""
    load_dataset("phantom", patients=4)  # imports pandas and torch's half of the package
    import pyarrow.csv  # noqa: F401

    start = time.perf_counter()
    dataset = load_dataset(name, **options)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, KiB on Linux
    classes = dataset.labels.width if dataset.labels else 0
    concepts = dataset.concepts.width if dataset.concepts else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "peak": peak, "rows": len(dataset), "classes": classes, "concepts": concepts}))


def rounds(name: str, options: dict[str, Any], count: int) -> str:
    """Return one line of the table: a fresh process a round."""
    found = []
    for _ in range(count):
        command = [sys.executable, __file__, "--measure", json.dumps([name, options])]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))
    seconds = [round_["seconds"] for round_ in found]
    title = f"{name} {options.get('labels', '')}"
    peak = max(round_["peak"] for round_ in found) / 1e9
    return (
        f"{title:<18} {found[0]['rows']:>8,} {found[0]['classes']:>8} {found[0]['concepts']:>9} "
        f"{statistics.median(seconds):>9.2f} {peak:>8.2f}  {' '.join(f'{s:.2f}' for s in seconds)}"
    )


def machine() -> str:
    """Return the processor's model and the number of cores."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=413_000, help="pretrain rows of the generated Derm1M")
    parser.add_argument("--labels", nargs="+", default=["level1", "disease"], help="Derm1M labels to index")
    parser.add_argument("--chestxray", type=Path, help="folder of ChestX-ray14's metadata; left out without")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*json.loads(options.measure))
        return
    print(machine())
    print(f"{'':<18} {'rows':>8} {'classes':>8} {'concepts':>9} {'median s':>9} {'peak GB':>8}  every round, s")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), options.rows)
        for labels in options.labels:
            print(rounds("derm1m", {"root": folder, "missing": "ignore", "labels": labels}, options.rounds), flush=True)
        size = (Path(folder) / "Derm1M_v2_pretrain.csv").stat().st_size
    print(f"  the generated pretrain CSV has {size / 1e6:,.0f} MB")
    if options.chestxray:
        print(rounds("chestxray14", {"root": str(options.chestxray), "missing": "ignore"}, options.rounds))


if __name__ == "__main__":
    main()
