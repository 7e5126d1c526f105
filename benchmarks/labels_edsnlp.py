"""EDS-NLP's qualifiers against the scope rules of the label miner, one qualifier exchanged at a time, on checked labels.

    python benchmarks/labels_edsnlp.py tests/data/labels_fr.jsonl

French only. ``negation`` and ``hypothesis`` decide between present, absent and uncertain; ``family`` and ``history`` take
a mention out. Mentions by a wording that is normal by itself ("lungs clear") stay as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import edsnlp
from spacy.util import filter_spans

from anonymize.labels.measure import measure_labels, read_gold_labels
from anonymize.labels.miner import Miner
from anonymize.labels.row import Mention, Value
from anonymize.languages import load_pack
from anonymize.text import fold

EXCHANGED = {
    "rules": (),
    "eds.negation": ("negation",),
    "eds.hypothesis": ("hypothesis",),
    "eds.family": ("family",),
    "eds.history": ("history",),
    "all four": ("negation", "hypothesis", "family", "history"),
}
_FIELD = {"negation": "negated", "hypothesis": "hypothetical", "family": "family", "history": "history"}


class ExchangedMiner(Miner):
    """The miner with some qualifiers by EDS-NLP."""

    def __init__(self, exchanged: tuple[str, ...]) -> None:
        super().__init__(load_pack("fr"))
        self.exchanged = exchanged
        self._nlp = edsnlp.blank("eds")
        for name in ("normalizer", "sentences", "negation", "hypothesis", "family", "history"):
            self._nlp.add_pipe(f"eds.{name}")

    def mentions(self, text: str, sections: Any = None) -> list[Mention]:
        """The mentions of :class:`Miner`, with the qualifiers exchanged and the values that follow from them."""
        found = super().mentions(text, sections)
        return found if not self.exchanged or not found else self._exchange(text, found)

    def _exchange(self, text: str, found: list[Mention]) -> list[Mention]:
        doc = self._nlp.make_doc(text)
        spans = [doc.char_span(m.start, m.end, label=m.label, alignment_mode="expand") for m in found]
        doc.spans["ents"] = spans
        doc.ents = filter_spans(spans)
        for _, pipe in self._nlp.pipeline:
            doc = pipe(doc)
        folded = fold(text)
        rules = {finding.name: finding for finding in self.findings}
        out = []
        for mention, span in zip(found, spans, strict=True):
            rule = rules.get(mention.label)
            if rule is None or rule.normal.fullmatch(folded[mention.start : mention.end]):
                out.append(mention)
                continue
            flags = {_FIELD[name]: bool(getattr(span._, name)) for name in self.exchanged}
            now = replace(mention.qualifiers, **flags)
            if now == mention.qualifiers:
                out.append(mention)
                continue
            value = Value.UNCERTAIN if now.hypothetical else Value.ABSENT if now.negated else Value.PRESENT
            if now.history and not now.negated and not rule.persists:
                value = Value.ABSENT if rule.has_old else Value.NOT_MENTIONED
            if now.family or now.question or mention.section not in ("results", "conclusion"):
                value = Value.NOT_MENTIONED
            out.append(replace(mention, value=value, qualifiers=now))
        return out


def main() -> None:
    """Print one JSON object: F1 of each exchange on each part of the gold, and reports per second of CPU time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gold", type=Path)
    gold = read_gold_labels(parser.parse_args().gold)
    out: dict[str, Any] = {}
    for name, exchanged in EXCHANGED.items():
        rules = ExchangedMiner(exchanged)
        rules.read("Pas de fracture.")
        began = time.process_time()
        out[name] = {}
        for half in sorted({item.half for item in gold}):
            result = measure_labels(rules, [item for item in gold if item.half == half])["all"]
            out[name][half] = [result["f1"], result["f1_low"], result["f1_high"]]
        out[name]["reports_per_cpu_second"] = round(len(gold) / (time.process_time() - began), 1)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
