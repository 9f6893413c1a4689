"""`medzoo prepare`: a dataset's images, decoded and resized once, or written as shards."""

from __future__ import annotations

from pathlib import Path

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.packed.images import write_packed
from medzoo.data.samples.preprocess import Preprocess, sides
from medzoo.data.samples.shards.fields import not_written
from medzoo.data.samples.shards.write import write_webdataset
from medzoo.settings.verbs import PrepareConfig
from medzoo.train.display import Display

FORMATS = ("packed", "webdataset")
IMAGES = ("decoded", "original")


def main(config: PrepareConfig) -> Path:
    """Run the command; returns the folder that was filled.

    Raises:
        ConfigError: If a setting is out of range, or the output folder holds something else.
        UnknownNameError: If there is no such format.
    """
    if config.data.get("packed") is not None:
        raise ConfigError("data.packed is what prepare makes; leave it null here")
    if config.workers < 1:
        raise ConfigError(f"workers={config.workers} must be at least 1")
    for setting, word, known in (("format", config.format, FORMATS), ("images", config.images, IMAGES)):
        if word not in known:
            raise UnknownNameError(setting, word, known)
    if config.format == "webdataset":
        return _shards(config)
    if config.images != "decoded" or config.shard_size != PrepareConfig.shard_size:
        raise ConfigError("images and shard_size are of format=webdataset; give it, or leave them out")
    dataset = load_dataset(**config.data)
    size = sides(224 if config.size is None else config.size, "size")
    preprocess = _preprocess(config, dataset, size)
    named = f"{config.data['name']}-{'x'.join(map(str, size))}"
    folder = Path(config.output) if config.output is not None else Path("prepared") / named
    with Display().bar("images", None) as move:
        manifest = write_packed(dataset, preprocess, folder, workers=config.workers, advance=lambda count: move(advance=count))
    print(f"prepared {manifest['images']} images in {folder}; train with data.packed={folder} {_settings(preprocess)}")
    return folder


def _shards(config: PrepareConfig) -> Path:
    """Write a dataset as shards."""
    if config.shard_size < 1:
        raise ConfigError(f"shard_size={config.shard_size} must be at least 1")
    fit = (config.mode, config.interpolation, config.channels)
    if config.size is None and fit != (PrepareConfig.mode, PrepareConfig.interpolation, PrepareConfig.channels):
        raise ConfigError("format=webdataset leaves images as they are: give size, or leave mode, interpolation and channels out")
    dataset = load_dataset(**config.data)
    size = None if config.size is None else sides(config.size, "size")
    preprocess = None if size is None else _preprocess(config, dataset, size)
    named = "shards" if size is None else "x".join(map(str, size))
    folder = Path(config.output) if config.output is not None else Path("prepared") / f"{config.data['name']}-{named}"
    with Display().bar("samples", None) as move:
        written = write_webdataset(
            dataset, folder, shard_size=config.shard_size, preprocess=preprocess, original=config.images == "original",
            workers=config.workers, advance=lambda count: move(advance=count),
        )  # fmt: skip
    print(f"wrote {len(dataset)} samples as {len(written)} shards in {folder}; train with data=shards data.root={folder}")
    print("".join(f"{line}\n" for line in not_written(dataset)), end="")
    return folder


def _preprocess(config: PrepareConfig, dataset: Dataset, size: tuple[int, ...]) -> Preprocess:
    """Return how images are made."""
    channels: int = config.channels if config.channels is not None else dataset.reader.channels or 3
    return Preprocess(
        size=size,
        mode=config.mode,  # type: ignore[arg-type]  # checked by Preprocess
        interpolation=config.interpolation,  # type: ignore[arg-type]
        channels=channels,
        dtype="uint8" if dataset.info.value_type == "uint8" else "float32",
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def _settings(preprocess: Preprocess) -> str:
    """Return the model settings that go with prepared images."""
    size = str(list(preprocess.size)).replace(" ", "")
    words = [f"model.preprocess.size={size}"]
    if preprocess.mode != "stretch":
        words.append(f"model.preprocess.mode={preprocess.mode}")
    if preprocess.interpolation != "bilinear":
        words.append(f"model.preprocess.interpolation={preprocess.interpolation}")
    return " ".join([*words, f"model.preprocess.channels={preprocess.channels}"])
