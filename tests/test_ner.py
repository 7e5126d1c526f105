"""The tagger: grammar, noise, network against torch, training, cards, outside models."""

from __future__ import annotations

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.config import ConfigError
from anonymize.console import Console
from anonymize.detectors.tagger import open_tagger
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import Pack, load_pack
from anonymize.ner.grammar import Grammar, Labelled, _name_lists
from anonymize.ner.lexicon import Lexicon
from anonymize.ner.network import Shape, load_network
from anonymize.ner.noise import Vocabulary, disturb
from anonymize.ner.tokens import CONTEXTS, ROWS, Features, tokenize
from anonymize.policy import ReportsConfig
from anonymize.text import fold

FRENCH = load_pack("fr")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(Lexicon(FRENCH))


def _pack(folder: Path, templates: dict) -> Pack:
    """The French pack with another grammar."""
    for path in FRENCH.folder.iterdir():
        if path.is_file() and path.name != "templates.yaml":
            (folder / path.name).symlink_to(path)
    (folder / "templates.yaml").write_text(yaml.safe_dump(templates, allow_unicode=True), encoding="utf-8")
    return Pack("fr", folder)


def test_a_template_labels_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    pack = _pack(
        tmp_path,
        {
            "documents": [[1, "line"]],
            "rules": {
                "line": ["Dr {name=person^} à {town=town!}, {{L4}}, tél {phone=digits:10}{never?0.0}."],
                "person": ["{surname} {given}"],
                "never": ["NEVER"],
            },
        },
    )
    for document in Grammar(pack).documents(20, seed=1):
        pieces = {kind: document.text[start:end] for start, end, kind in document.spans}
        assert list(pieces) == ["name", "town", "phone"]
        assert pieces["name"].isupper()
        assert len(pieces["phone"]) == 10
        assert pieces["phone"].isdigit()
        outside = document.text
        for start, end, _ in reversed(document.spans):
            outside = outside[:start] + "_" + outside[end:]
        assert outside == "Dr _ à _, {L4}, tél _."


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"line": ["{missing}"]}, "there is no rule or atom 'missing'"),
        ({"line": ["{nome=surname}"]}, "'nome' is no kind"),
        ({"line": ["a } b"]}, "a brace is not part of a slot"),
        ({"line": []}, "needs a list of templates"),
        ({"line": ["{line}"]}, "call each other without end"),
    ],
)
def test_a_broken_grammar_is_refused_with_its_rule(tmp_path: Path, rules: dict, message: str) -> None:
    pack = _pack(tmp_path, {"documents": [[1, "line"]], "rules": rules})
    with pytest.raises(ConfigError, match=message):
        next(iter(Grammar(pack).documents(1, seed=0)))


def test_the_splits_share_no_name_and_the_seed_gives_the_text() -> None:
    lists = {split: _name_lists(FRENCH, split) for split in ("train", "tune", "test")}
    for kind in "fmst":
        folded = {split: {fold(form) for form in forms[kind][0]} for split, forms in lists.items()}
        assert not folded["train"] & (folded["tune"] | folded["test"])
        assert not folded["tune"] & folded["test"]
        assert 0.7 < len(folded["train"]) / sum(map(len, folded.values())) < 0.9
    first, again = (list(Grammar(FRENCH).documents(5, seed=3)) for _ in range(2))
    assert first == again
    assert first != list(Grammar(FRENCH).documents(5, seed=4))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_noise_keeps_labels_on_their_letters(seed: int, vocabulary: Vocabulary) -> None:
    text = "Dr Émile Brontë-Zürcher, Saint-Flour : radiographie du genou droit le 12/03/2020. Pas de lésion osseuse visible."
    spans = ((3, 23, "name"), (25, 36, "town"), (70, 80, "date"))
    out = disturb(Labelled(text, spans), random.Random(seed), vocabulary)
    assert [kind for _, _, kind in out.spans] == ["name", "town", "date"]
    ends = 0
    for (start, end, _), (old_start, old_end, _) in zip(out.spans, spans, strict=True):
        assert ends <= start < end <= len(out.text)
        ends = end
        # a labelled letter gives way to one letter at most: only blanks and breaks come and go inside a label
        assert len("".join(out.text[start:end].split())) == len("".join(text[old_start:old_end].split()))
        assert not out.text[start].isspace()
        assert not out.text[end - 1].isspace()


def test_the_network_computes_what_torch_computes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from anonymize.ner.network import Network
    from anonymize.ner.train import LABELS, _Model

    torch.manual_seed(0)
    model = _Model(Shape(LABELS))
    features = Features(Lexicon(FRENCH))
    tokens = tokenize("Dr Jean DUPONT\nné le 3 mai 1961,  vu à Brest (29) pour une gonarthrose.")
    rows = torch.tensor([[features.row(surface) for surface in tokens.surfaces]])
    weights = model.arrays()
    for name, value in weights.items():
        model._p[name].data.copy_(torch.from_numpy(value.astype(np.float32)))
    torch.set_grad_enabled(False)
    try:
        dropout = torch.nn.functional.dropout
        torch.nn.functional.dropout = lambda x, *_: x
        scores = model(rows, torch.ones(rows.shape), torch.from_numpy(tokens.contexts)[None])
    finally:
        torch.nn.functional.dropout = dropout
        torch.set_grad_enabled(True)
    expected = scores.softmax(-1)[0].numpy()
    found = Network(weights, Shape(LABELS), features).probabilities(tokens.surfaces, tokens.contexts)
    assert found.shape == (len(tokens.surfaces), len(LABELS))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_features_stay_in_the_table_whatever_the_text() -> None:
    features = Features(Lexicon(FRENCH))

    @given(text=st.text(max_size=60))
    @settings(max_examples=200, deadline=None)
    def check(text: str) -> None:
        tokens = tokenize(text)
        assert all(
            text[s:e] == surface for s, e, surface in zip(tokens.starts, tokens.ends, tokens.surfaces, strict=True)
        )
        assert all(0 <= number < ROWS for surface in tokens.surfaces for number in features.row(surface))
        assert all(0 <= context < CONTEXTS for context in tokens.contexts)

    check()


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger trained for some seconds."""
    pytest.importorskip("torch")
    from anonymize.ner.card import write_card
    from anonymize.ner.train import NerConfig, train

    folder = tmp_path_factory.mktemp("ner")
    config = NerConfig(language="fr", documents=1_500, tuning=60, batch=6, window=160, learning_rate=6e-3)
    report = train(config, folder, Console("quiet"))
    assert report["test"]["recall"] > 0.85  # names of the test split were never seen
    assert report["bytes"] <= 12e6
    write_card(folder, report, [])
    return folder


def test_training_finds_names_it_never_saw_and_writes_its_card(small_model: Path) -> None:
    card = (small_model / "README.md").read_text(encoding="utf-8")
    assert "seed\n0." in card
    network = load_network(small_model, Features(Lexicon(FRENCH)))
    text = "Docteur Klodwig HRABANOWSKI, Hôpital Saint-Vrain\nRadiographie du genou : pas de fracture."
    found = network.tag(text)
    assert any(text[span.start : span.end].endswith("HRABANOWSKI") for span in found)
    assert not any("fracture" in text[span.start : span.end] for span in found)


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from anonymize.ner.train import NerConfig, train

    config = NerConfig(language="fr", documents=60, tuning=10, epochs=1)
    for name in ("a", "b"):
        train(config, tmp_path / name, Console("quiet"))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_the_engine_uses_the_tagger_that_is_named(small_model: Path) -> None:
    text = "Vu ce jour avec Hélène Bourdieu en salle."
    shipped = Anonymizer(ReportsConfig(language="fr"), Keys(b"k" * 32))
    own = Anonymizer(ReportsConfig(language="fr", ner=str(small_model)), Keys(b"k" * 32))
    without = Anonymizer(ReportsConfig(language="fr", ner="none"), Keys(b"k" * 32))
    assert any(span.rule == "ner.trained" for span in shipped.by_rule(text))
    assert not any(span.rule.startswith("ner") for span in without.find(text))
    assert {text[span.start : span.end] for span in shipped.by_rule(text)} == {"Hélène Bourdieu"}
    prints = {engine.fingerprints()["model_fingerprint"] for engine in (shipped, own, without)}
    assert len(prints) == 3
    assert "none" in prints


def test_a_hugging_face_classifier_is_a_detector(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "Durand": 4, "vu": 5}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        tmp_path
    )
    config = transformers.BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, num_labels=2
    )
    config.id2label, config.label2id = {0: "O", 1: "B-NOM"}, {"O": 0, "B-NOM": 1}
    model = transformers.BertForTokenClassification(config)
    model.save_pretrained(tmp_path)
    tagger, folder = open_tagger(FRENCH, str(tmp_path))
    assert folder is None
    assert tagger is not None
    text = "Durand vu " * 200
    tagger._find = lambda piece: [(piece.index("Durand"), piece.index("Durand") + 6, "B-NOM", 0.9)]  # type: ignore[attr-defined]
    result = tagger.analyze(text)
    assert [(r.entity_type, r.start, r.end) for r in result] == [("name", 0, 6)]


def test_long_texts_reach_a_classifier_in_pieces_that_cover_them() -> None:
    from anonymize.detectors.outside_model import _pieces

    text = " ".join(f"mot{number}" for number in range(2000))
    pieces = list(_pieces(text))
    assert all(text[offset : offset + len(piece)] == piece for offset, piece in pieces)
    assert pieces[0][0] == 0
    assert pieces[-1][0] + len(pieces[-1][1]) == len(text)
    for (start, piece), (following, _) in pairwise(pieces):
        assert start < following <= start + len(piece)


def test_an_unknown_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_tagger(FRENCH, str(tmp_path / "nowhere"))


class _Server(BaseHTTPRequestHandler):
    answer = json.dumps({"found": [{"text": "Durand", "kind": "name"}, {"text": "invented", "kind": "town"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["messages"][1]["content"]
        payload = json.dumps({"choices": [{"message": {"content": "Here: " + self.answer}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_a_local_language_model_is_a_detector_and_cannot_invent() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        tagger, _ = open_tagger(FRENCH, f"llm:http://127.0.0.1:{server.server_port}/v1#tiny")
        assert tagger is not None
        found = tagger.analyze("Vu M. Durand. Durandale n'est pas Durand.")
        assert [(r.entity_type, r.start, r.end) for r in found] == [("name", 6, 12), ("name", 34, 40)]
    finally:
        server.shutdown()


def test_reports_never_go_to_a_public_address() -> None:
    with pytest.raises(ConfigError, match="local servers only"):
        open_tagger(FRENCH, "llm:http://8.8.8.8:80/v1#x")
