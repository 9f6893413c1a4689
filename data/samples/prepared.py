"""Images of one kind, prepared or of so many channels, held against the model at hand."""

from __future__ import annotations

from medzoo.data.errors import ConfigError
from medzoo.data.images.frames import CHANNELS
from medzoo.data.images.reader import Reader
from medzoo.data.samples.preprocess import Preprocess


def require_prepared(prepared: Preprocess | None, wanted: Preprocess) -> None:
    """Refuse prepared images that are not what a model would make of the files: the exported graph starts from files.

    Args:
        prepared: How a packed reader's images were made; None for other readers.
        wanted: The model's.

    Raises:
        ConfigError: Names the first setting that differs.
    """
    for key in ("size", "mode", "interpolation", "channels", "dtype") if prepared is not None else ():
        ours, theirs = (list(v) if isinstance(v, tuple) else v for v in (getattr(wanted, key), getattr(prepared, key)))
        if ours != theirs:
            raise ConfigError(
                f"the packed images were prepared with {key}={theirs}, the model takes {ours}; set model.preprocess.{key}, or "
                "prepare again"
            )


def has_planes(reader: Reader) -> bool:
    """Whether a reader's channels are planes, of which a model must take as many as there are: no gray, no colours, no alpha."""
    if reader.frames == CHANNELS or reader.stack is not None:
        return True
    if reader.shape is not None:  # an array in memory, of which two and four channels may mean an alpha
        return reader.shape[0] > 4
    return reader.channels not in (None, 1, 3)


def require_channels(dataset: str, reader: Reader, channels: int) -> None:
    """Refuse a model of another number of channels than planes have, and images of gray or colours where it takes planes.

    Args:
        dataset: Name for messages.
        reader: What reads the images.
        channels: That the model takes.

    Raises:
        ConfigError: If so.
    """
    given = reader.channels if reader.shape is None else reader.shape[0]
    if given is not None and given != channels and (has_planes(reader) or channels not in (1, 3)):
        raise ConfigError(
            f"{dataset} has images of {given} channels and the model takes {channels}: planes are neither made up nor left out; "
            "set data.channels and model.preprocess.channels to what the files hold"
        )
