"""Images that were prepared for a model of one kind, held against the model at hand."""

from __future__ import annotations

from medzoo.data.errors import ConfigError
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
