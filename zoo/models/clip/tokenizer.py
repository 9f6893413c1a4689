"""From open_clip's tokenizers to medzoo's own, which needs neither torch nor open_clip nor transformers.

Written for open_clip 3.3.0 (`open_clip/tokenizer.py`) and transformers 5. What is described is compared with the original on
probe texts before it is handed out, so that a later release of either cannot change ids in silence.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from medzoo.data.errors import ConfigError
from medzoo.data.extras import needed_for
from medzoo.data.text.tokenizer import FORMAT, Tokenizer

TOKENIZER_FILE, TEXT_CONFIG_FILE = "tokenizer.json", "text_config.json"
"""What a checkpoint calls an image–text model's tokenizer, and its Hugging Face text tower's configuration."""
PROBES = (
    "a chest X-ray of a patient with pneumothorax",
    "It's 3.5 mm (2024); we'll <b>see</b> &amp;amp; they're CAF\u00c9, na\u00efve_Bayes, T\u0130P, \u017f'\u017f",
    "\u65e5\u672c\u8a9e \U0001f9e0\U0001f3fd e\u0301 \u0391\u03b8\u03ae\u03bd\u03b1 \u041c\u043e \ufb06 \u0345 \u00bd\u00b2",
    "!!<start_of_text><end_of_text> <END_OF_TEXT> [CLS] [SEP] [MASK] <s> </s> <pad> <eos>",
    "schÃ¶n \u201cquoted\u201d\t line\r\nbreak \u00a0 \u3000 end",
    "bilateral interstitial infiltrates " * 200,
)
"""Contractions, digits, case, entities, wrong encodings, scripts, special tokens written out, a text too long for any model."""

_CLIP_PIECES = r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts text after its special tokens (Radford et al. 2021; the pattern of open_clip 3.3.0's SimpleTokenizer)."""


def describe_tokenizer(tokenizer: Any) -> Tokenizer:
    """Build medzoo's tokenizer from one of open_clip's.

    Args:
        tokenizer: An open_clip `SimpleTokenizer`, `HFTokenizer` or `SigLipTokenizer` (`open_clip.get_tokenizer`).

    Returns:
        A tokenizer that gives the same ids.

    Raises:
        ConfigError: If the tokenizer is of another kind, has no context length, drops words at random (`reduction_mask`), is
            not run by the `tokenizers` library, or uses an option that cannot be described; or if the ids of a probe text
            differ.
        MissingDependencyError: If open_clip is not installed.
    """
    with needed_for("CLIP models"):
        from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer
    name = type(tokenizer).__name__
    if not isinstance(tokenizer, SimpleTokenizer | HFTokenizer | SigLipTokenizer):
        raise ConfigError(f"{name} is not a tokenizer of open_clip's (SimpleTokenizer, HFTokenizer or SigLipTokenizer)")
    if not tokenizer.context_length:
        raise ConfigError(f"{name} has no context length; give it one, as text_cfg.context_length")
    if isinstance(tokenizer, SimpleTokenizer):
        described = _describe_clip_bpe(tokenizer)
    else:
        described = _describe_hugging_face(tokenizer, siglip=isinstance(tokenizer, SigLipTokenizer))
    ours = Tokenizer.from_dict(described)
    _check_probes(ours, tokenizer)
    return ours


def _describe_clip_bpe(tokenizer: Any) -> dict[str, Any]:
    """Describe a SimpleTokenizer; the library's model is built from the vocabulary and merges it holds."""
    from tokenizers import Regex, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    if tokenizer.reduction_fn is not None:
        raise ConfigError("a tokenizer with reduction_mask drops words at random or by grammar; use one without reduction_mask")
    special = [tokenizer.decoder[number] for number in tokenizer.all_special_ids]
    for token in special:
        if set(token) & set(r"\.^$*+?{}[]|()") or not token or token.split() != [token]:
            raise ConfigError(f"special token {token!r} holds white space or a character with a meaning in patterns; rename it")
    if tokenizer.pat.pattern != "|".join(special) + _CLIP_PIECES:
        raise ConfigError("this SimpleTokenizer cuts text by another pattern than open_clip 3.3.0's; it cannot be described")
    merges = list(tokenizer.bpe_ranks)
    made = ["".join(pair) for pair in merges]
    # A piece made by two merges would let the library and open_clip merge in different orders.
    if any(len(pair) != 2 for pair in merges) or len(set(made)) != len(made):
        raise ConfigError("the byte-pair file has lines that are no pairs, or makes one piece twice; use CLIP's own vocabulary")
    try:
        model = models.BPE(vocab=tokenizer.encoder, merges=merges, continuing_subword_prefix="", end_of_word_suffix="</w>")
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"the byte-pair file cannot be used: {error}") from None
    backend = Backend(model)
    cut = pre_tokenizers.Split(Regex(_library_pattern(special)), behavior="removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return {
        "format": FORMAT,
        "kind": "clip_bpe",
        "tokenizer": json.loads(backend.to_str()),
        "context_length": int(tokenizer.context_length),
        "cleaning": _cleaning(tokenizer),
        "pad_id": 0,
        "start_id": tokenizer.sot_token_id,
        "end_id": tokenizer.eot_token_id,
        "whole_tokens": {token: tokenizer.encoder[token] for token in special},
    }


def _library_pattern(special: list[str]) -> str:
    """Write CLIP's pattern so that the `tokenizers` library cuts as open_clip's `regex` does.

    The two know different versions of Unicode (regex 2026.11 has 17,144 letters more than tokenizers 0.23) and fold case
    differently (`ſ` is an `s`, the ligature `ﬆ` is not `st`), so letters, numbers and case are spelt out as code points.
    """
    import regex  # type: ignore[import-untyped]

    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)

    def characters(pattern: str) -> str:
        """Return ranges of all the characters that match, to stand between brackets."""
        codes = sorted({ord(found) for found in regex.findall(pattern, every, regex.IGNORECASE)})
        starts = [code for place, code in enumerate(codes) if place == 0 or codes[place - 1] != code - 1]
        ends = [code for place, code in enumerate(codes) if place == len(codes) - 1 or codes[place + 1] != code + 1]
        return "".join(rf"\x{{{a:X}}}" if a == b else rf"\x{{{a:X}}}-\x{{{b:X}}}" for a, b in zip(starts, ends, strict=True))

    literals = [*special, "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
    caseless = {character: f"[{characters(regex.escape(character))}]" for character in set("".join(literals))}
    words = ["".join(caseless[character] for character in literal) for literal in literals]
    # Each set as open_clip writes it, negation and brackets included: in brackets, ignoring case, the combining mark U+0345 is a
    # letter, because it folds to iota.
    letters, numbers, others = (f"[{characters(part)}]" for part in (r"[\p{L}]", r"[\p{N}]", r"[^\s\p{L}\p{N}]"))
    return "|".join([*words, f"{letters}+", numbers, f"{others}+"])


def _describe_hugging_face(wrapper: Any, *, siglip: bool) -> dict[str, Any]:
    """Describe an HFTokenizer or SigLipTokenizer by the fast tokenizer inside it."""
    inner = wrapper.tokenizer
    if not getattr(inner, "is_fast", False):
        raise ConfigError(
            f"{type(inner).__name__} is not run by the `tokenizers` library (no tokenizer.json); "
            "convert it once with transformers' AutoTokenizer and save it, then name that folder"
        )
    if not siglip and wrapper.tokenizer_mode:
        raise ConfigError(f"tokenizer_mode={wrapper.tokenizer_mode!r} is not supported; medzoo reads the standard mode alone")
    if inner.pad_token_id is None:
        raise ConfigError(f"{type(inner).__name__} has no padding token, so texts of different length cannot be stacked")
    strip = not siglip and wrapper.strip_sep_token
    if strip and inner.sep_token_id is None:
        raise ConfigError(f"strip_sep_token is set, but {type(inner).__name__} has no separator token; leave it out")
    backend = json.loads(inner.backend_tokenizer.to_str())
    return {
        "format": FORMAT,
        "kind": "hugging_face",
        # Length is ours to set; a tokenizer that has been called keeps the last call's.
        "tokenizer": {**backend, "truncation": None, "padding": None},
        "context_length": int(wrapper.context_length),
        "cleaning": "canonicalize" if siglip else _cleaning(wrapper),
        "pad_id": int(inner.pad_token_id),
        "padding_side": inner.padding_side,
        "truncation_side": inner.truncation_side,
        "split_special_tokens": bool(inner.split_special_tokens),
        "zeroed_id": int(inner.sep_token_id) if strip else None,
    }


def _cleaning(tokenizer: Any) -> str:
    """Return the name of the cleaning an open_clip tokenizer was made with; it holds the function alone."""
    from open_clip.tokenizer import get_clean_fn

    for name in ("lower", "whitespace", "canonicalize"):
        if tokenizer.clean_fn is get_clean_fn(name):
            return name
    raise ConfigError("this tokenizer cleans text by a function of its own; use clean='lower', 'whitespace' or 'canonicalize'")


def _check_probes(ours: Tokenizer, original: Any) -> None:
    """Compare with the original on the probe texts; nothing that differs is handed out."""
    for probe in PROBES:
        expected = original([probe]).tolist()
        if ours([probe]).tolist() != expected:
            raise ConfigError(
                f"{type(original).__name__} cannot be described: the ids of {probe[:40]!r} differ from the original's; "
                "check that open_clip_torch is 3.3 and that the tokenizer has no code of its own"
            )
