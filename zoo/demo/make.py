"""How the shipped files were made, from a run that was trained, evaluated and exported; needs the training half.

```bash
medzoo train experiment=demo run=runs/demo_model
medzoo export run=runs/demo_model
python -m medzoo.demo.make runs/demo_model zoo/demo/files
```
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.demo.shipped import ANSWERS, METRICS, MODEL, Answer, read_shipped
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.predict import run_dataset
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint


def make(run: RunDirectory, folder: Path) -> None:
    """Write the demo's files: the exported model, the run's metrics, the first test image of each class and the answers.

    Args:
        run: Of gray images with one class each, exported and evaluated.
        folder: Where to; what it has of an earlier demo is replaced.

    Raises:
        ConfigError: If the run has no exported file or no metrics, or a class has no test image.
        OnnxFileError: If the exported file and the metrics are not of the same weights.
    """
    for needed, verb in ((run.onnx, "export"), (run.metrics, "evaluate")):
        if not needed.is_file():
            raise ConfigError(f"{needed} is missing: medzoo {verb} run={run.path}")
    spec = load_checkpoint(find_checkpoint(run.path)).spec
    samples = SampleDataset(run_dataset(run, {}, spec), "test", spec.preprocess)
    assert spec.labels is not None
    assert samples.targets is not None
    truth, first = samples.targets.argmax(axis=1), []
    for code, name in enumerate(spec.labels.names):
        if not (truth == code).any():
            raise ConfigError(f"{run.path} has no test image of the class {name!r} to show")
        first.append(int(np.flatnonzero(truth == code)[0]))  # right or wrong: nobody has chosen it
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run.onnx, folder / MODEL)
    shutil.copyfile(run.metrics, folder / METRICS)
    model, answers = OnnxModel(folder / MODEL), []
    for name, index in zip(spec.labels.names, first, strict=True):
        pixels, file = samples.pixels(index), f"{name.replace(' ', '-')}.png"
        Image.fromarray(pixels[..., 0]).save(folder / file, optimize=True)
        row = model.predict([pixels])["probabilities"][0]
        said, probability = spec.labels.names[int(row.argmax())], round(float(row.max()), 6)
        answers.append(Answer(file, str(samples.sample_ids[index]), name, said, probability))
    (folder / ANSWERS).write_text(json.dumps([asdict(answer) for answer in answers], indent=2) + "\n", encoding="utf-8")
    read_shipped(folder)


def main(arguments: Sequence[str]) -> int:
    """Run the command: `python -m medzoo.demo.make RUN FOLDER`."""
    parser = argparse.ArgumentParser(prog="python -m medzoo.demo.make", description="Make the files of medzoo demo from a run.")
    parser.add_argument("run", type=Path, help="a run that was trained, evaluated and exported")
    parser.add_argument("folder", type=Path, help="where the files go")
    given = parser.parse_args(list(arguments))
    try:
        make(RunDirectory.open(given.run), given.folder)
    except MedzooError as error:
        print(f"medzoo: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
