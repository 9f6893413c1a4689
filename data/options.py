"""Options of a dataset, as written on the command line or in YAML: one of some words, texts or lists of them, channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, cast, get_args

from medzoo.data.errors import ConfigError, UnknownNameError

Frames = Literal["members", "volume", "channels"]


def choice(option: str, value: object, known: object) -> None:
    """Refuse a value that is none of an option's words.

    Args:
        option: The option's name, for messages.
        value: What the user gave.
        known: A `Literal[...]` of the words, or the words.

    Raises:
        UnknownNameError: If it is none of them; offers the nearest.
    """
    words = get_args(known) or (tuple(known) if isinstance(known, Iterable) else ())
    if value not in words:
        raise UnknownNameError(f"choice of data.{option}", value, words)


def choices(**options: tuple[object, object]) -> None:
    """Refuse a value that is none of its option's words, as `choice` does: option → (value, known)."""
    for option, (value, known) in options.items():
        choice(option, value, known)


def image_channels(channels: object, frames: Frames | None) -> tuple[int, Frames | None]:
    """Return the options `channels` and `frames`: of other than 1 (gray) and 3 (RGB) channels, these are a file's planes.

    Args:
        channels: What the user gave.
        frames: As `frames_option` returns it.

    Raises:
        ConfigError: If it is no number of channels, or frames are to be something else than the channels they must be.
    """
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise ConfigError(f"data.channels={_shown(channels)} is no number of channels: 1 (gray), 3 (RGB) or the planes of a file")
    if frames == "channels" and channels == 1:
        raise ConfigError("data.frames=channels makes channels of a file's planes: say how many, data.channels=<2 or more>")
    if channels in (1, 3):
        return channels, frames
    if frames not in (None, "channels"):
        raise ConfigError(f"data.channels={channels} are the planes of a file: leave data.frames={frames} out")
    return channels, "channels"


def gray_or_colour(channels: object) -> Literal[1, 3]:
    """Return the option `channels`; raises ConfigError if it is neither 1 nor 3."""
    if channels not in (1, 3):
        raise ConfigError(f"data.channels={channels} is neither 1 (gray) nor 3 (RGB)")
    return 1 if channels == 1 else 3


def frames_option(value: object, rule: int) -> Frames | None:
    """Return the option `frames`.

    Args:
        value: What the user gave, or None.
        rule: The split rule.

    Raises:
        ConfigError: If it is none of its words, or given for an earlier medzoo's splits, which would part a file's frames.
    """
    if value is None:
        return None
    choice("frames", value, Frames)
    if rule == 1:
        raise ConfigError("data.frames needs data.split_rule=2: rule 1 reads a folder or table as a medzoo without frames did")
    return cast(Frames, value)


def text_list(value: Any, option: str) -> list[str] | None:
    """Return a list option as texts; a number in it is taken as its text, because YAML cannot tell `-1` from a word.

    Args:
        value: What the user gave, or None.
        option: The option's name, for messages.

    Raises:
        ConfigError: If it is one text or number (Python would take a text apart letter by letter), a mapping, or holds
            something that is neither text nor a number.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        raise ConfigError(f"data.{option} is a mapping; give a list, such as data.{option}=[{', '.join(map(str, value))}]")
    if isinstance(value, str) or not isinstance(value, Iterable):
        what, shown = "text" if isinstance(value, str) else "number" if _is_number(value) else "value", _shown(value)
        raise ConfigError(f"data.{option}={shown} is one {what}; give a list, data.{option}=[{shown}]")
    return [_text(word, option) for word in value]


def chosen(value: Any, option: str, known: Sequence[str]) -> list[str] | None:
    """Return an option that names some of a dataset's own, each once, in the order given; None stays None.

    Raises:
        UnknownNameError: If it names what is not known; offers the nearest.
        ConfigError: If it is no list, names none, or one twice.
    """
    names = text_list(value, option)
    for name in names or []:
        choice(option, name, known)
    if names is not None and (not names or len(set(names)) < len(names)):
        raise ConfigError(f"data.{option}=[{', '.join(names)}] must name some of {', '.join(known)}, each once")
    return names


def several_targets(value: Any, known: Sequence[str]) -> list[str]:
    """Return the option `targets` of a dataset that names its own: two or more, each once; empty where nothing is given.

    Raises:
        UnknownNameError: If it names what is not known; offers the nearest.
        ConfigError: If it is no list, or names one twice, or one alone.
    """
    names = chosen(value, "targets", known) or []
    if len(names) == 1:
        raise ConfigError(f"data.targets=[{names[0]}] names one target; several are two or more of {', '.join(known)}")
    return names


def one_text(value: Any, option: str) -> str | None:
    """Return an option that is one text, such as a column's name; a number is taken as its text.

    Args:
        value: What the user gave, or None.
        option: The option's name, for messages.

    Raises:
        ConfigError: If it is a list, or neither text nor a number.
    """
    if value is None:
        return None
    if not isinstance(value, str) and isinstance(value, Iterable):
        words = [str(word) for word in value]
        remedy = f"data.{option}={words[0]}" if len(words) == 1 else "one of them"
        raise ConfigError(f"data.{option}=[{', '.join(words)}] is a list; give {remedy}")
    return _text(value, option)


def text_mapping(value: Any, option: str) -> dict[str, str]:
    """Return an option that gives words for words, numbers taken as their text; a word for which there is null gives no text.

    Args:
        value: What the user gave, or None.
        option: The option's name, for messages.

    Raises:
        ConfigError: If it is no mapping, or holds something that is neither text nor a number.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"data.{option}={_shown(value)} is no mapping; give words for words, data.{option}={{word: meaning}}")
    return {_text(word, option): "" if meaning is None else _text(meaning, option) for word, meaning in value.items()}


def require_numbers(whole: Mapping[str, object], shares: Mapping[str, object]) -> None:
    """Refuse what is no number for options that are: option → value.

    Args:
        whole: Options that are whole numbers.
        shares: Options that are numbers of any kind.

    Raises:
        ConfigError: If one is something else; names it.
    """
    for option, value in whole.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ConfigError(f"data.{option}={_shown(value)} is no whole number")
    for option, value in shares.items():
        if not _is_number(value):
            raise ConfigError(f"data.{option}={_shown(value)} is no number")


def local_path(value: Any, option: str) -> Path:
    """Return an option that is a place on this machine, `~` as the home; it need not be there.

    Args:
        value: What the user gave.
        option: The option's name, for messages.

    Raises:
        ConfigError: If it is no text, or no place at all (too long, not permitted).
    """
    if not isinstance(value, str | Path):
        raise ConfigError(f"data.{option}={_shown(value)} is no path")
    try:
        path = Path(value).expanduser()
        path.exists()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"data.{option}={str(value)[:80]} cannot be read ({error.args[-1]})") from None
    return path


def _text(word: Any, option: str) -> str:
    if isinstance(word, str):
        return word
    if _is_number(word):
        return str(word)
    raise ConfigError(
        f"data.{option} holds {_shown(word)}, which is neither text nor a number; put a word such as yes, no, true or null in "
        "quotes where it is meant"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """Return a value as YAML writes it."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def low_high(value: Sequence[float] | None, option: str) -> tuple[float, float] | None:
    """Return an option that is a range; None stays None.

    Raises:
        ConfigError: If it is not [low, high] with low < high.
    """
    if value is None:
        return None
    try:
        ends = [] if isinstance(value, str) else [float(end) for end in value]  # a text's letters may be two digits
    except (TypeError, ValueError):
        ends = []
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ConfigError(f"data.{option}={value} is not [low, high] with low < high")
    return ends[0], ends[1]
