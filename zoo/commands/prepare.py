"""`medzoo prepare`: a dataset's images, decoded and resized once."""

from __future__ import annotations

from pathlib import Path

from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.packed import write_packed
from medzoo.data.samples.preprocess import Preprocess, sides
from medzoo.settings.verbs import PrepareConfig
from medzoo.train.display import Display


def main(config: PrepareConfig) -> Path:
    """Run the command; returns the folder that was filled.

    Raises:
        ConfigError: If a setting is out of range, or the output folder holds something else.
    """
    if config.data.get("packed") is not None:
        raise ConfigError("data.packed is what prepare makes; leave it null here")
    if config.workers < 1:
        raise ConfigError(f"workers={config.workers} must be at least 1")
    dataset = load_dataset(**config.data)
    size = sides(config.size, "size")
    channels: int = config.channels if config.channels is not None else dataset.reader.channels or 3
    preprocess = Preprocess(
        size=size,
        mode=config.mode,  # type: ignore[arg-type]  # checked by Preprocess
        interpolation=config.interpolation,  # type: ignore[arg-type]
        channels=channels,
        dtype="uint8" if dataset.info.value_type == "uint8" else "float32",
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )
    named = f"{config.data['name']}-{'x'.join(map(str, size))}"
    folder = Path(config.output) if config.output is not None else Path("prepared") / named
    with Display().bar("images", None) as move:
        manifest = write_packed(dataset, preprocess, folder, workers=config.workers, advance=lambda count: move(advance=count))
    print(f"prepared {manifest['images']} images in {folder}; train with data.packed={folder} {_settings(preprocess)}")
    return folder


def _settings(preprocess: Preprocess) -> str:
    """Return the model settings that go with prepared images."""
    size = str(list(preprocess.size)).replace(" ", "")
    words = [f"model.preprocess.size={size}"]
    if preprocess.mode != "stretch":
        words.append(f"model.preprocess.mode={preprocess.mode}")
    if preprocess.interpolation != "bilinear":
        words.append(f"model.preprocess.interpolation={preprocess.interpolation}")
    return " ".join([*words, f"model.preprocess.channels={preprocess.channels}"])
