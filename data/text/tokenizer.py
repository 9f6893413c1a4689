"""Text to token ids: the one place, used in training and by the torch-free runtime, so that both see identical ids.

Two kinds, both exactly what open_clip 3.3.0 (`open_clip/tokenizer.py`) feeds its models, id by id:

- `clip_bpe`: CLIP's byte-level byte-pair encoding (Radford et al. 2021, arXiv:2103.00020; Sennrich et al. 2016,
  arXiv:1508.07909): start and end tokens, padding at the end, a text too long cut with the end token kept last.
- `hugging_face`: any tokenizer the `tokenizers` library runs (BERT's word pieces, SigLIP's T5), with its own special tokens.

A tokenizer is data: `from_dict` reads a JSON-ready description that `medzoo.models.clip.tokenizer` writes from open_clip's.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    import tokenizers

FORMAT = 1
"""Version of the description; raised when an older medzoo would read a newer description wrongly."""

_KINDS = {
    "clip_bpe": ("start_id", "end_id", "whole_tokens"),
    "hugging_face": ("padding_side", "truncation_side", "split_special_tokens", "zeroed_id"),
}
"""Kind → the keys that its description has besides those of every kind."""
_SIDES = ("left", "right")


class Tokenizer:
    """Turns texts into rows of token ids. Made by `from_dict`; holds no state that a call changes.

    The description has the keys `format` (1), `kind` (`clip_bpe` or `hugging_face`), `tokenizer` (the JSON of the
    `tokenizers` library, as an object or as text), `context_length`, `cleaning` (see `clean_text`) and `pad_id`, and

    - for `clip_bpe`: `start_id`, `end_id`, and `whole_tokens` (text → id) of pieces that are not taken apart;
    - for `hugging_face`: `padding_side` and `truncation_side` (`left` or `right`), `split_special_tokens` (whether a special
      token written in a text is split like any other word) and `zeroed_id` (the id that becomes 0 in the rows, open_clip's
      `strip_sep_token`; null: none).
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        tokenizers = _text_libraries()
        described = _checked(described)
        self._settings = {key: value for key, value in described.items() if key != "tokenizer"}
        held = described["tokenizer"]
        self._json: str = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
        try:
            backend = tokenizers.Tokenizer.from_str(self._json)
        except Exception as error:  # the library raises plain Exception
            raise ConfigError(f"the tokenizer's description is damaged: {error}") from None
        self._encoder: _Encoder = (_ClipBpe if described["kind"] == "clip_bpe" else _HuggingFace)(backend, self._settings)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Tokenizer:
        """Build a tokenizer from its description.

        Raises:
            ConfigError: If the description lacks a key, holds an unknown kind, side or cleaning, is of a newer format, or cannot
                be read by the `tokenizers` library; or if no token of a text would fit the context length.
            MissingDependencyError: If `tokenizers` or `ftfy` is not installed.
        """
        return cls(described)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready description; `from_dict` reads it back."""
        settings: dict[str, Any] = json.loads(json.dumps(self._settings))
        return {**settings, "tokenizer": json.loads(self._json)}

    @property
    def context_length(self) -> int:
        """Number of token ids in a row."""
        return int(self._settings["context_length"])

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokenize texts.

        Args:
            texts: N texts. One that does not fit is cut, as the model was trained; `truncated` says which.

        Returns:
            (N, context_length) token ids, padded.

        Raises:
            ConfigError: If `texts` is not a sequence of text, or one is empty or holds no token; names its position.
        """
        length = self.context_length
        rows = np.full((len(texts), length), self._settings["pad_id"], dtype=np.int64)
        for row, (ids, _) in zip(rows, self._encode(texts), strict=True):
            start = length - len(ids) if self._settings.get("padding_side") == "left" else 0
            row[start : start + len(ids)] = ids
        if self._settings.get("zeroed_id") is not None:
            rows[rows == self._settings["zeroed_id"]] = 0
        return rows

    def truncated(self, texts: Sequence[str]) -> list[int]:
        """Return the positions of the texts that do not fit the context length, in order; raises as a call does."""
        return [position for position, (_, fits) in enumerate(self._encode(texts)) if not fits]

    def _encode(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        if isinstance(texts, str):
            raise ConfigError(f"the tokenizer takes a list of texts; give [{texts[:40]!r}]")
        encoded = []
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise ConfigError(f"text {position} (counted from 0) is {type(text).__name__}, not text")
            cleaned = clean_text(text, self._settings["cleaning"])
            ids, fits = self._encoder.encode(cleaned) if cleaned else ([], True)
            if not ids:
                raise ConfigError(f"text {position} (counted from 0) is empty or holds no token: {text[:40]!r}; write a prompt")
            encoded.append((ids, fits))
        return encoded


def clean_text(text: str, cleaning: str) -> str:
    """Repair and simplify a text before it is tokenized.

    Mended encodings (ftfy) and two rounds of HTML entities come first, then one of

    - `whitespace`: runs of white space become one space, the ends are stripped;
    - `lower`: the same, in lower case;
    - `canonicalize`: `_` becomes a space and ASCII punctuation goes, then lower case and white space (SigLIP; Zhai et al. 2023,
      arXiv:2303.15343, big_vision).

    The three are those of open_clip 3.3.0 (`get_clean_fn`).

    Raises:
        UnknownNameError: On another cleaning.
        MissingDependencyError: If ftfy is not installed.
    """
    try:
        import ftfy
    except ImportError as error:
        raise _missing(error.name) from None
    if cleaning not in _CLEANINGS:
        raise UnknownNameError("text cleaning", cleaning, _CLEANINGS)
    return _CLEANINGS[cleaning](html.unescape(html.unescape(ftfy.fix_text(text))).strip())


def _one_space(text: str) -> str:
    return " ".join(text.split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLEANINGS: dict[str, Callable[[str], str]] = {
    "lower": lambda text: _one_space(text).lower(),
    "whitespace": _one_space,
    "canonicalize": lambda text: _one_space(text.replace("_", " ").translate(_NO_PUNCTUATION).lower()),
}


class _Encoder(Protocol):
    def encode(self, text: str) -> tuple[list[int], bool]:
        """Return a cleaned text's ids with special tokens, cut to length, and whether it fitted; [] if it holds no token."""
        ...


class _ClipBpe:
    """CLIP's encoding. The description's pre-tokenizer cuts a text into byte-level pieces, its model merges each.

    Pieces are looked up in `whole_tokens` here: as an added token of the library, `<start_of_text>` would also be found inside a
    run of punctuation (`!!<start_of_text>`), where CLIP's own cut does not find it.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> None:
        self._pieces, self._model = backend.pre_tokenizer, backend.model
        self._whole: dict[str, int] = dict(settings["whole_tokens"])
        self._start, self._end, self._length = settings["start_id"], settings["end_id"], settings["context_length"]
        if self._pieces is None or type(self._model).__name__ != "BPE":
            raise ConfigError("a clip_bpe tokenizer needs a pre-tokenizer and a BPE model; write its description again")
        if self._length < 3:
            raise ConfigError(f"context_length {self._length} leaves no room between the start and end tokens; use 3 or more")

    def encode(self, text: str) -> tuple[list[int], bool]:
        ids: list[int] = [self._start]
        for piece, _ in self._pieces.pre_tokenize_str(text):
            if piece in self._whole:
                ids.append(self._whole[piece])
            else:
                ids.extend(token.id for token in self._model.tokenize(piece))
        if len(ids) == 1:
            return [], True
        fits = len(ids) < self._length
        return [*ids[: self._length - 1], self._end], fits


class _HuggingFace:
    """A tokenizer of the `tokenizers` library with its own special tokens and truncation."""

    def __init__(self, backend: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> None:
        self._backend, length = backend, settings["context_length"]
        self._added = backend.num_special_tokens_to_add(is_pair=False)
        if length <= self._added:
            raise ConfigError(f"context_length {length} is filled by {self._added} special tokens; use {self._added + 1} or more")
        backend.no_padding()
        backend.enable_truncation(length, stride=0, strategy="longest_first", direction=settings["truncation_side"])
        backend.encode_special_tokens = settings["split_special_tokens"]

    def encode(self, text: str) -> tuple[list[int], bool]:
        encoding = self._backend.encode(text)
        ids: list[int] = encoding.ids
        return ids if len(ids) > self._added else [], not encoding.overflowing


def _checked(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description whose keys are there and plausible."""
    if described.get("format") != FORMAT:
        raise ConfigError(
            f"tokenizer format {described.get('format')!r} is not {FORMAT}; use the medzoo that wrote it, or a newer"
        )
    if described.get("kind") not in list(_KINDS):
        raise UnknownNameError("tokenizer kind", described.get("kind"), _KINDS)
    for key in ("tokenizer", "context_length", "cleaning", "pad_id", *_KINDS[described["kind"]]):
        if key not in described:
            raise ConfigError(f"the tokenizer's description has no {key!r}; write it again")
    for key in ("context_length", "pad_id", "start_id", "end_id"):
        if key in described and (type(described[key]) is not int or described[key] < 0):
            raise ConfigError(f"the tokenizer's {key} is {described[key]!r}, not a whole number of 0 or more")
    for key in ("padding_side", "truncation_side"):
        if key in described and described[key] not in _SIDES:
            raise UnknownNameError(key, described[key], _SIDES)
    if described["cleaning"] not in _CLEANINGS:
        raise UnknownNameError("text cleaning", described["cleaning"], _CLEANINGS)
    return dict(described)


def _text_libraries() -> Any:
    """Import what tokenizing needs at once, so that a missing library shows before any work; return `tokenizers`."""
    try:
        import ftfy  # noqa: F401
        import tokenizers
    except ImportError as error:
        raise _missing(error.name) from None
    return tokenizers


def _missing(name: str | None) -> MissingDependencyError:
    return MissingDependencyError(f"tokenizing text needs {name}: pip install 'medzoo[text]'")
