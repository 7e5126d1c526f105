"""Accents, from the report to the model's log: cleaning, tokenizers and files keep every letter of every language pack."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_model_factory import byte_pairs, pieces
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers import CamembertTokenizer, RobertaTokenizer

from anonymize.cleaning.clean import Cleaner
from anonymize.console import Console
from anonymize.files import append_jsonl, read_json, write_json
from anonymize.languages import available, load_pack
from vlp.encoders.tokenizer import Tokenizer
from vlp.training.texts import TextSampling, key, statements


def strings(value: Any) -> Iterator[str]:
    """Every text in a topic of a pack."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def plain_words(language: str) -> list[str]:
    """Words of a pack's clinical and common lists, its prompts and its phantom: letters only."""
    pack = load_pack(language)
    found = set(pack.words("clinical")) | set(pack.words("common"))
    for topic in ("prompts", "phantom"):
        if topic in pack:
            found |= {word for text in strings(pack[topic]) for word in text.split()}
    return sorted({word for word in found if word.isalpha() and len(word) < 30})


WORDS = {language: plain_words(language) for language in available()}
ACCENTED = {language: [w for w in words if not w.isascii()] for language, words in WORDS.items()}


def alphabet() -> list[str]:
    """The letters of the packs' words, small and large."""
    every = {c for words in WORDS.values() for word in words for c in composed(word + word.upper() + word.lower())}
    return sorted(every)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def trained() -> Tokenizer:
    """As `vlp align` trains it where nothing can be downloaded, on a corpus that lacks most words."""
    return Tokenizer.train([w for words in WORDS.values() for w in words[::40]], vocabulary=600, max_length=4000)


def roberta() -> Tokenizer:
    """Byte-level, as RoBERTa's and ModernBERT's families are."""
    vocabulary, merges = byte_pairs()
    table = {token: i for i, token in enumerate(("<s>", "<pad>", "</s>", "<unk>"))}
    table |= {token: i + 4 for token, i in vocabulary.items()}
    made = RobertaTokenizer(vocab=table, merges=merges)  # pyright: ignore[reportArgumentType]
    return Tokenizer(made.backend_tokenizer.to_str(), 4000)


def camembert() -> Tokenizer:
    """Unigram, as CamemBERT's, XLM-R's and DeBERTa's are, with a piece for each letter of the packs."""
    letters = alphabet()
    known = pieces()
    own = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
    more = [(letter, -12.0) for letter in letters if letter not in dict(known)]
    made = CamembertTokenizer(vocab=[*own, ("<s>", 0.0), ("</s>", 0.0), *known, *more, ("<mask>", 0.0)])
    return Tokenizer(made.backend_tokenizer.to_str(), 4000)


def cased_word_pieces() -> Tokenizer:
    """WordPiece that is cased, as BERT's multilingual cased model is."""
    letters = alphabet()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    rust = RustTokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix="##")
    rust.add_special_tokens(tokens[:5])
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(rust.to_str(), 4000)


TOKENIZERS = {made.__name__: made() for made in (trained, roberta, camembert, cased_word_pieces)}


@st.composite
def sentences(draw: st.DrawFn, most: int = 12) -> str:
    """A few words of one language, every second of them accented where it has accents; composed or decomposed."""
    language = draw(st.sampled_from(available()))
    words = st.sampled_from(WORDS[language])
    if ACCENTED[language]:
        words = st.one_of(words, st.sampled_from(ACCENTED[language]))
    drawn = draw(st.lists(words, min_size=1, max_size=most))
    case = draw(st.sampled_from([str, str.upper, str.capitalize]))
    return unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), " ".join(case(word) for word in drawn))


def test_the_packs_have_accents_to_lose() -> None:
    assert {"fr", "de", "es"} <= {language for language, words in ACCENTED.items() if len(words) > 50}
    assert sum(map(len, WORDS.values())) > 2000


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=sentences())
def test_tokens_decode_to_the_same_letters(name: str, text: str) -> None:
    tokens = TOKENIZERS[name]
    found = tokens.decode(tokens([text])[0][0].tolist())
    assert found == (composed(text).lower() if name == "trained" else composed(text))  # that one lower-cases


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("language", available())
def test_every_accented_word_keeps_its_letters(name: str, language: str) -> None:
    tokens = TOKENIZERS[name]
    ids, mask = tokens(ACCENTED[language] or ["a"])
    for word, row, seen in zip(ACCENTED[language], ids.tolist(), mask.tolist(), strict=False):
        found = tokens.decode([number for number, here in zip(row, seen, strict=True) if here])
        wanted = composed(word).lower() if name == "trained" else composed(word)
        assert found == wanted
        bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
        if bare != unicodedata.normalize("NFD", word):
            assert tokens([bare])[0].tolist() != tokens([word])[0].tolist()


@settings(max_examples=150, deadline=None)
@given(text=sentences(most=30))
def test_cleaning_keeps_the_letters(text: str) -> None:
    """A line of words goes as a whole (a letterhead) or stays as it is."""
    for language in ("fr", "de"):
        cleaned = Cleaner(load_pack(language)).clean(text).edited.text
        assert composed(cleaned).split() in ([], composed(text).split())


@settings(max_examples=100, deadline=None)
@given(text=sentences())
def test_statements_and_their_keys_know_accents_and_no_forms(text: str) -> None:
    assert composed(" ".join(statements(text))) == composed(text)
    assert key(text) == key(unicodedata.normalize("NFD", text)) == key(text.upper().lower())
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    if bare.casefold() != unicodedata.normalize("NFD", text).casefold():
        assert key(bare) != key(text)
    assert TextSampling().sentences > 0


@pytest.mark.parametrize("language", available())
def test_files_and_output_keep_the_letters(language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(WORDS[language][::25][:300] + ACCENTED[language][:100])
    write_json(tmp_path / "a.json", {"text": text})
    append_jsonl(tmp_path / "a.jsonl", {"text": text})
    assert read_json(tmp_path / "a.json")["text"] == text
    assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))["text"] == text
    Console("json").result({"text": text})
    assert json.loads(capsys.readouterr().out)["text"] == text
    Console("pretty").warn(text)
    assert capsys.readouterr().err.split()[1:] == text.split()
