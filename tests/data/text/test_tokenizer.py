"""Tokenizing by hand: a vocabulary small enough to work every id out on paper, and every kind of wrong call."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.errors import ConfigError, MissingDependencyError, UnknownNameError
from medzoo.data.text.tokenizer import Tokenizer, clean_text

# A piece's id is its place. "low" is merged (l + o, then lo + w</w>); "lo" is not, its end being "o</w>".
VOCABULARY = ["l", "o", "w", "1", "!", "l</w>", "o</w>", "w</w>", "1</w>", "!</w>", "lo", "low</w>", "<s>", "</s>"]
CLIP: dict[str, Any] = {
    "format": 1,
    "kind": "clip_bpe",
    "tokenizer": {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"<s>|</s>|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"},
            "behavior": "Removed",
            "invert": True,
        },
        "model": {
            "type": "BPE",
            "end_of_word_suffix": "</w>",
            "vocab": {piece: number for number, piece in enumerate(VOCABULARY)},
            "merges": [["l", "o"], ["lo", "w</w>"]],
        },
    },
    "context_length": 6,
    "cleaning": "lower",
    "pad_id": 0,
    "start_id": 12,
    "end_id": 13,
    "whole_tokens": {"<s>": 12, "</s>": 13},
}
WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "lung": 4, "clear": 5, "##s": 6}
BERT: dict[str, Any] = {
    "format": 1,
    "kind": "hugging_face",
    "tokenizer": {
        "version": "1.0",
        "added_tokens": [
            {"id": n, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for t, n in WORDS.items()
            if t.startswith("[")
        ],
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": WORDS,
        },
    },
    "context_length": 5,
    "cleaning": "whitespace",
    "pad_id": 0,
    "padding_side": "right",
    "truncation_side": "right",
    "split_special_tokens": False,
    "zeroed_id": None,
}  # fmt: skip


def changed(described: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(described), **values}


def test_byte_pairs_by_hand() -> None:
    ids = Tokenizer.from_dict(CLIP)(["LOW", "lo 1", "ll", "!! <S>"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [
        [12, 11, 13, 0, 0, 0],
        [12, 0, 6, 8, 13, 0],  # no merge: "o" at the end of a word is "o</w>"
        [12, 0, 5, 13, 0, 0],
        [12, 4, 9, 12, 13, 0],
    ]


def test_a_whole_token_inside_other_characters_is_taken_apart_as_clips_pattern_cuts_it() -> None:
    described = changed(CLIP)
    described["tokenizer"]["model"]["vocab"] |= {c: 14 + n for n, c in enumerate(["<", "s", "<</w>", "s</w>", ">", "></w>"])}
    tokenizer = Tokenizer.from_dict(described)
    assert tokenizer(["<s>"]).tolist() == [[12, 12, 13, 0, 0, 0]]
    assert tokenizer(["!<s>"]).tolist() == [[12, 4, 16, 17, 19, 13]]  # "!<", "s", ">"


def test_a_text_too_long_is_cut_before_the_end_token_and_named() -> None:
    tokenizer = Tokenizer.from_dict(CLIP)
    texts = ["low low low low", "low low low low low", "l", "1 1 1 1 1 1 1"]
    assert tokenizer(texts).tolist() == [
        [12, 11, 11, 11, 11, 13],
        [12, 11, 11, 11, 11, 13],
        [12, 5, 13, 0, 0, 0],
        [12, 8, 8, 8, 8, 13],
    ]
    assert tokenizer.truncated(texts) == [1, 3]
    assert tokenizer.truncated(texts[:1]) == []


def test_word_pieces_by_hand_and_from_either_side() -> None:
    texts = ["lungs  clear", "lung clear lung clear", "heart"]
    tokenizer = Tokenizer.from_dict(BERT)
    assert tokenizer(texts).tolist() == [[2, 4, 6, 5, 3], [2, 4, 5, 4, 3], [2, 1, 3, 0, 0]]
    assert tokenizer.truncated(texts) == [1]
    left = Tokenizer.from_dict(changed(BERT, padding_side="left", truncation_side="left", pad_id=9))
    assert left(texts).tolist() == [[2, 4, 6, 5, 3], [2, 5, 4, 5, 3], [9, 9, 2, 1, 3]]
    assert Tokenizer.from_dict(changed(BERT, zeroed_id=3))(["lung"]).tolist() == [[2, 4, 0, 0, 0]]
    assert Tokenizer.from_dict(BERT)(["[SEP]"]).tolist() == [[2, 3, 3, 0, 0]]
    split = Tokenizer.from_dict(changed(BERT, split_special_tokens=True))
    assert split(["[SEP]"]).tolist() == [[2, 1, 1, 1, 3]]


@pytest.mark.parametrize("described", [CLIP, BERT], ids=["clip_bpe", "hugging_face"])
def test_a_description_survives_json_and_workers(described: dict[str, Any]) -> None:
    first = Tokenizer.from_dict(described)
    written = json.dumps(first.to_dict())
    again = Tokenizer.from_dict(json.loads(written))
    as_text = Tokenizer.from_dict({**described, "tokenizer": json.dumps(described["tokenizer"])})
    assert first.to_dict() == again.to_dict() == as_text.to_dict() == described
    assert first.context_length == described["context_length"]
    texts = ["low lo 1", "l", "low low low low low low"]
    for other in (again, as_text, pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(other(texts), first(texts))
    assert first([]).shape == (0, first.context_length)


@pytest.mark.parametrize(
    ("cleaning", "expected"),
    [("whitespace", "Ça & <b> A_b, c"), ("lower", "ça & <b> a_b, c"), ("canonicalize", "ça b a b c")],
)
def test_cleanings_by_hand(cleaning: str, expected: str) -> None:
    assert clean_text("  Ã‡a &amp;amp;\t<b> \n A_b,  c ", cleaning) == expected  # ftfy leaves entities beside a tag


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["low", ""], r"text 1 .* is empty"),
        (["low", "low", " \t&nbsp;\n"], r"text 2 .* is empty"),
        (["low", float("nan")], r"text 1 .* is float, not text"),
        ([None], r"text 0 .* is NoneType"),
        ("low", r"takes a list of texts"),
    ],
)
@pytest.mark.parametrize("described", [CLIP, BERT], ids=["clip_bpe", "hugging_face"])
def test_what_is_no_prompt_is_refused_by_position(described: dict[str, Any], texts: Any, message: str) -> None:
    tokenizer = Tokenizer.from_dict(described)
    with pytest.raises(ConfigError, match=message):
        tokenizer(texts)
    with pytest.raises(ConfigError, match=message):
        tokenizer.truncated(texts)


def test_a_text_without_a_token_is_refused() -> None:
    described = changed(BERT)
    described["tokenizer"]["normalizer"] = {
        "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"text 0 .* holds no token"):
        Tokenizer.from_dict(described)(["\u200b\u200b"])


@pytest.mark.parametrize(
    ("described", "change", "message"),
    [
        (CLIP, {"format": 2}, "format 2"),
        (CLIP, {"kind": "clip_bpee"}, "did you mean 'clip_bpe'"),
        (CLIP, {"cleaning": "lowr"}, "did you mean 'lower'"),
        (BERT, {"padding_side": "write"}, "padding_side"),
        (CLIP, {"context_length": "77"}, "context_length is '77'"),
        (CLIP, {"context_length": 2}, "no room"),
        (BERT, {"context_length": 2}, "filled by 2 special tokens"),
        (CLIP, {"tokenizer": "{"}, "damaged"),
        (CLIP, {"tokenizer": BERT["tokenizer"]}, "BPE"),
    ],
)
def test_wrong_descriptions(described: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tokenizer.from_dict(changed(described, **change))


@pytest.mark.parametrize("described", [CLIP, BERT], ids=["clip_bpe", "hugging_face"])
def test_a_missing_key_is_named(described: dict[str, Any]) -> None:
    for key in set(described) - {"format", "kind"}:
        with pytest.raises(ConfigError, match=f"no '{key}'"):
            Tokenizer.from_dict({k: v for k, v in described.items() if k != key})


def test_an_unknown_cleaning_is_named() -> None:
    with pytest.raises(UnknownNameError, match="whitespace"):
        clean_text("a", "whitespaces")


@pytest.mark.parametrize("library", ["ftfy", "tokenizers"])
def test_a_missing_library_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=r"medzoo\[text\]"):
        Tokenizer.from_dict(CLIP)


def test_tokenizing_needs_neither_torch_nor_transformers_nor_open_clip(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(CLIP))
    program = f"""
import json, pathlib, sys
import medzoo.data.text.tokenizer as module
print(sorted({{"ftfy", "tokenizers"}} & set(sys.modules)))
print(module.Tokenizer.from_dict(json.loads(pathlib.Path({str(path)!r}).read_text()))(["low"]).tolist())
print(sorted({{"torch", "transformers", "open_clip", "pandas", "regex"}} & set(sys.modules)))
"""
    lines = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()
    assert lines == ["[]", "[[12, 11, 13, 0, 0, 0]]", "[]"]
