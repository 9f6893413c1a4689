"""medzoo's tokenizers against open_clip's own, id by id."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from medzoo.data.errors import ConfigError
from medzoo.data.text.tokenizer import Tokenizer, clean_text
from medzoo.models.clip.tokenizer import describe_tokenizer

SIMPLE = SimpleTokenizer()


@cache
def described(cleaning: str = "lower") -> Tokenizer:
    return describe_tokenizer(SimpleTokenizer(clean=cleaning))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,-'()&;/<>", "lung", "clear"]
WORDS += ["no", "effusion", "pneumo", "##thorax", "##s", "##ed", *(f"##{c}" for c in "aeiourstn0123456789"), "肺", "é"]

TRICKY = (
    "A chest X-ray: no pneumothorax, no effusion.",
    "it's they're we'll I'd I'm 'S 'T 'ſ x'ſ 'RE",
    "<start_of_text> !!<start_of_text> a<END_OF_TEXT>1<end_of_text><end_of_text> <ſtart_of_text> <\ufb06art_of_text>",
    "caf\u00c3\u00a9 \u00e2\u20ac\u0153quoted\u00e2\u20ac\u009d &amp;lt;b&amp;gt; &nbsp;&#xFB06; &eacute; e\u0301",
    "\u0130stanbul \u0131 \u212a \u2126 \u00df \u1e9e \ufb01 \u01c5",
    "\u00bd \u00b2 \u2167 \u0663 \u0f33 1234.5e-6 \u2460",
    "\u0558\u058b\u088f\u0c5c \U00011de0\U00011de1 \U00031350",  # letters and numbers of newer Unicode versions
    "tab\tnew\nline\r\nform\x0cfile\x1cgroup\x1dunit\x1f nel\x85 nbsp\xa0 ideo\u3000 zero\u200bwidth \x00nul",
    "\U0001f9e0\U0001f3fd\u200d\U0001f469 \U0001f1e9\U0001f1ea \ufe0f",
    "a_b__c___ --- ... !?!? @#$%^&*()[]{}|\\~`",
    "lone \ud800 surrogate",
    "[CLS] lungs [SEP] clear [MASK] [PAD] [UNK] ##s",
    "x" * 5000,
    "lung " * 600,
    "aaaaaaaaaaaaaaaaaaaaaaaab" * 9,
)
pieces = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["L", "N", "P", "S", "Z", "M"]), max_size=12),
    st.text("'strevmld <>_!&;#amp0123ſKİ", max_size=30),
    st.sampled_from([*TRICKY[:10], "<start_of_text>", "<end_of_text>", "&amp;", "&#39;s", "Ã©", "\u00a0", "'s", "low", "\u0301"]),
    st.integers(2, 300).map(lambda n: "effusion " * n),
)
texts = st.lists(pieces, max_size=8).map("".join)


def bert_folder(folder: Path, **options: Any) -> Path:
    BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)}, **options).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert_folder(tmp_path_factory.mktemp("bert"))


def same(ours: Tokenizer, theirs: Any, given_texts: list[str]) -> None:
    assert ours(given_texts).tolist() == theirs(given_texts).tolist()


@settings(max_examples=400, deadline=None)
@given(texts)
def test_clips_ids_on_any_text(text: str) -> None:
    assume(clean_text(text, "lower"))
    same(described(), SIMPLE, [text])
    assert described().truncated([text]) == ([0] if len(SIMPLE.encode(text)) > 75 else [])


@pytest.mark.parametrize("text", TRICKY)
@pytest.mark.parametrize("cleaning", ["lower", "whitespace", "canonicalize"])
def test_clips_ids_on_tricky_text_in_every_cleaning(text: str, cleaning: str) -> None:
    theirs = SimpleTokenizer(clean=cleaning)
    same(described(cleaning), theirs, [text])


def test_clips_ids_on_every_character() -> None:
    # Beyond U+32000 lie tags, variation selectors and private use alone.
    every = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x32000), *range(0xE0000, 0xE0200))]
    parts = [every[start : start + 24] for start in range(0, len(every), 24)]
    lines = ["a" + "1".join(part[:12]) + "".join(part[12:]) for part in parts]
    same(described(), SIMPLE, lines)


def test_the_known_ids_of_clip() -> None:
    # The ids that Bumblebee (elixir-nx/bumblebee), which shares no code with open_clip, gives in its tests for this caption.
    assert described()(["a photo of a cat"]).tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407] + [0] * 70]
    assert described().context_length == 77


@pytest.mark.parametrize("length", [3, 8, 64, 256])
def test_clips_ids_at_other_context_lengths(length: int) -> None:
    theirs = SimpleTokenizer(context_length=length)
    ours = describe_tokenizer(theirs)
    given_texts = ["a dog", *TRICKY]
    same(ours, theirs, given_texts)
    assert ours(given_texts).shape == (len(given_texts), length)
    assert ours.truncated(given_texts) == [i for i, text in enumerate(given_texts) if len(theirs.encode(text)) + 2 > length]


def test_more_special_tokens() -> None:
    theirs = SimpleTokenizer(additional_special_tokens=["<mask>", "IMG"])
    ours = describe_tokenizer(theirs)
    same(ours, theirs, ["a <mask> img IMG <MASK> <img> <mask><mask> <\u0130mg> \u0130MG"])
    with pytest.raises(ConfigError, match=r"\[MASK\]"):
        describe_tokenizer(SimpleTokenizer(additional_special_tokens=["[MASK]"]))


def test_a_byte_pair_file_of_ones_own(tmp_path: Path) -> None:
    merges = ["l u", "lu n", "lun g</w>", "e f", "ef f"]
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["#version", *merges]).encode()))
    theirs = SimpleTokenizer(str(path), context_length=20)
    ours = describe_tokenizer(theirs)
    same(ours, theirs, ["lung lungs effusion", *TRICKY])
    assert ours(["lung"])[0, :3].tolist() == [517, 514, 518]  # 512 byte pieces, then the merges, then start and end
    for wrong in (["l u", "lu n", "u n", "l un"], ["l u", ""]):
        path.write_bytes(gzip.compress("\n".join(["#version", *wrong]).encode()))
        with pytest.raises(ConfigError, match="makes one piece twice"):
            describe_tokenizer(SimpleTokenizer(str(path)))


def test_the_description_survives_json() -> None:
    again = Tokenizer.from_dict(json.loads(json.dumps(described().to_dict())))
    assert again.to_dict() == described().to_dict()
    same(again, SIMPLE, list(TRICKY))


@pytest.fixture(scope="module")
def bert_pair(bert: Path) -> tuple[Tokenizer, HFTokenizer]:
    theirs = HFTokenizer(str(bert), context_length=24)
    return describe_tokenizer(theirs), theirs


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_berts_ids_on_any_text(text: str, bert_pair: tuple[Tokenizer, HFTokenizer]) -> None:
    ours, theirs = bert_pair
    length = len(theirs.tokenizer(theirs.clean_fn(text)).input_ids)
    assume(length > 2)
    same(ours, theirs, [text])
    assert ours.truncated([text]) == ([0] if length > 24 else [])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context_length": 77, "strip_sep_token": True},
        {"context_length": 256, "clean": "canonicalize"},
        {"context_length": 5, "clean": "lower"},
        {"context_length": 12, "padding_side": "left"},
        {"context_length": 12, "truncation_side": "left", "strip_sep_token": True},
        {"context_length": 40, "split_special_tokens": True},
    ],
    ids=str,
)
def test_berts_ids_by_every_option(options: dict[str, Any], bert: Path) -> None:
    theirs = HFTokenizer(str(bert), **options)
    ours = Tokenizer.from_dict(json.loads(json.dumps(describe_tokenizer(theirs).to_dict())))
    same(ours, theirs, list(TRICKY))


def test_cased_bert(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path, do_lower_case=False, strip_accents=False)
    theirs = HFTokenizer(str(folder), context_length=30)
    ours = describe_tokenizer(theirs)
    same(ours, theirs, list(TRICKY))
    assert (ours(["LUNG"]) != ours(["lung"])).any()


def test_sentence_pieces_with_an_end_token(tmp_path: Path) -> None:
    """The shape of T5's tokenizer, which open_clip's SigLIP models use: unigrams of SentencePiece and `</s>` at the end."""
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz", "\u2581lung", "\u2581clear", "eff", "usion"]
    backend = Backend(models.Unigram([(piece, -float(number)) for number, piece in enumerate(pieces)], unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(tmp_path)
    theirs = HFTokenizer(str(tmp_path), context_length=16, clean="canonicalize")
    ours = describe_tokenizer(theirs)
    same(ours, theirs, list(TRICKY))
    assert ours(["Lung."]).tolist() == [[30, 1] + [0] * 14]


def test_siglips_tokenizer(bert: Path) -> None:
    """Made without its constructor, which wants a SentencePiece model; what it adds is the cleaning and the padding."""
    theirs = SigLipTokenizer.__new__(SigLipTokenizer)
    theirs.tokenizer = BertTokenizerFast.from_pretrained(bert)
    theirs.tokenizer.pad_token_id = WORDS.index("[UNK]")
    theirs.context_length = 16
    ours = describe_tokenizer(theirs)
    same(ours, theirs, list(TRICKY))
    assert ours(["lung"])[0, -1] == WORDS.index("[UNK]")


class Shifted(HFTokenizer):
    """A tokenizer with code of its own, that no description holds."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs) + 1


def test_what_cannot_be_described_is_refused(bert: Path) -> None:
    with pytest.raises(ConfigError, match="str is not a tokenizer"):
        describe_tokenizer("ViT-B-32")
    with pytest.raises(ConfigError, match="reduction_mask"):
        describe_tokenizer(SimpleTokenizer(reduction_mask="random"))
    with pytest.raises(ConfigError, match="no context length"):
        describe_tokenizer(HFTokenizer(str(bert), context_length=None))
    with pytest.raises(ConfigError, match="tokenizer_mode='clips'"):
        describe_tokenizer(HFTokenizer(str(bert), tokenizer_mode="clips"))
    with pytest.raises(ConfigError, match="differ from the original"):
        describe_tokenizer(Shifted(str(bert)))
    strange = HFTokenizer(str(bert))
    strange.clean_fn = str.swapcase
    with pytest.raises(ConfigError, match="function of its own"):
        describe_tokenizer(strange)


def test_a_tokenizer_that_is_not_fast_or_cannot_pad_is_refused(bert: Path) -> None:
    wrapper = HFTokenizer(str(bert))
    wrapper.tokenizer = object()
    with pytest.raises(ConfigError, match="object is not run by the `tokenizers` library"):
        describe_tokenizer(wrapper)
    backend = Backend(models.WordLevel({"[UNK]": 0, "lung": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapper.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(ConfigError, match="no padding token"):
        describe_tokenizer(wrapper)
    wrapper.tokenizer.pad_token = "[UNK]"
    wrapper.strip_sep_token = True
    with pytest.raises(ConfigError, match="no separator token"):
        describe_tokenizer(wrapper)
