"""One review: reports by risk, what the page shows of each, and what a person decides about it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anonymize.console import Console
from anonymize.files import fingerprint, read_json, write_text_atomic
from anonymize.report import KINDS, Span
from anonymize.review import gold, risk
from anonymize.review.alignment import Piece
from anonymize.review.data import Choice, Pair, Pairs
from anonymize.review.journal import RULE, Decision, EditError, Journal, with_span, without_span
from anonymize.review.risk import WEIGHTS, Assessor, Doubt, Risk

NEW, EDITED, ACCEPTED = "new", "edited", "accepted"
_RECORD = ("patient_id", "surname", "birth_name", "given_name", "sex", "birth_date", "address", "postcode", "town")
_RECORD_MORE = ("phone", "visit", "accession", "staff", "numbers")


class ConflictError(Exception):
    """The report was changed in another window since the page read it."""


class Session:
    """The state behind the page.

    Args:
        pairs: the chosen reports.
        choice: which of them are the random sample.
        journal: decisions, also of earlier sessions.
        folder: private folder for the cache of risks (no text in it) and the gold.
        console: for progress of the first pass.
    """

    def __init__(self, pairs: Pairs, choice: Choice, journal: Journal, folder: Path, console: Console) -> None:
        self.pairs, self.choice, self.journal = pairs, choice, journal
        self.policy = pairs.engine.config.policy
        self.sample = [name for name in choice.sample if name in pairs]
        self._in_sample = frozenset(self.sample)
        self._assessor = Assessor(pairs.engine)
        self.risks = self._first_pass(folder / "risk.json", console)
        self._leaks: dict[str, tuple[int, tuple[int, int, int]]] = {}
        self.before = frozenset(self.accepted())

    # -- what the page asks ------------------------------------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        """All reports without their text, riskiest first, and what the page's controls offer."""
        names = sorted(self.risks, key=lambda name: (-self.risks[name].score, name))
        return {
            "kinds": list(KINDS),
            "reasons": list(WEIGHTS),
            "sample": self.sample,
            "export_reports": self.choice.total,
            "missing": self.pairs.missing,
            "reports": [self._entry(name) for name in names],
            "totals": self.totals(),
        }

    def report(self, report_id: str) -> dict[str, Any]:
        """Everything the page shows of one report.

        Raises:
            KeyError: no such report.
        """
        if report_id not in self.pairs:
            raise KeyError(report_id)
        pair = self.pairs[report_id]
        decision = self._decision(pair)
        _, doubts = self._assessor.assess(pair)
        identity = asdict(pair.original.identity)
        record = {name: identity.get(name) for name in (*_RECORD, *_RECORD_MORE)}
        return {
            **self._entry(report_id),
            "exam": pair.safe.exam,
            "exact": pair.exact,
            "original": pair.original.text,
            "safe": pair.safe.text,
            "record": {name: ", ".join(v) if isinstance(v, tuple) else v for name, v in record.items() if v},
            "spans": [self._span(pair, span) for span in decision.spans],
            "freed": list(self._freed(pair, decision)),
            "doubts": [self._doubt(pair, doubt) for doubt in doubts],
            "can_undo": bool(self.journal.history(report_id).decisions),
        }

    def totals(self) -> dict[str, Any]:
        """How much is done, and what the reviewed start of the random sample says about leaks."""
        states = Counter(self._state(name) for name in self.risks)
        start = gold.reviewed_start(self.sample, self.accepted())
        results = gold.estimate(self._leak(name) for name in start)
        return {
            "reports": len(self.risks),
            "reviewed": states[ACCEPTED],
            "edited": states[EDITED],
            "left": len(self.risks) - states[ACCEPTED],
            "sample": len(self.sample),
            "sample_reviewed": len(start),
            "leak": {name: asdict(value) for name, value in results.items()},
        }

    # -- what a person decides ---------------------------------------------------------------------------------------

    def act(self, report_id: str, action: str, version: int, **values: Any) -> dict[str, Any]:
        """Do one of add, change, extend, remove, accept, reopen, undo; saved before it returns.

        Args:
            report_id: of the report.
            action: which.
            version: of the report as the page shows it.
            values: ``start``, ``end`` of the span or selection; ``kind``; ``side`` ("original" or "safe") of a selection;
                ``new_start``, ``new_end`` of an extended span.

        Raises:
            KeyError: no such report. EditError: the correction does not fit. ConflictError: ``version`` is not the last.
        """
        if report_id not in self.pairs:
            raise KeyError(report_id)
        if version != self.journal.history(report_id).version:
            raise ConflictError
        pair = self.pairs[report_id]
        text, spans = pair.original.text, self._decision(pair).spans
        start, end = int(values.get("start", 0)), int(values.get("end", 0))
        if action == "undo":
            if not self.journal.history(report_id).decisions:
                raise EditError("nothing to undo")
            self.journal.record(report_id, "undo")
        elif action in ("accept", "reopen"):
            self.journal.record(report_id, action, spans)
        elif action == "add":
            if values.get("side") == "safe":
                if not 0 <= start < end <= len(pair.safe.text):
                    raise EditError("the selection lies outside of the text")
                start, end = pair.alignment.to_original(start, end)
            self.journal.record(report_id, "edit", with_span(text, spans, start, end, values["kind"]))
        elif action == "remove":
            self.journal.record(report_id, "edit", without_span(spans, start, end))
        elif action in ("change", "extend"):
            kind = next((span.kind for span in spans if (span.start, span.end) == (start, end)), "")
            rest = without_span(spans, start, end)
            if action == "extend":
                start, end = int(values["new_start"]), int(values["new_end"])
            new = with_span(text, rest, start, end, values["kind"] if action == "change" else kind)
            self.journal.record(report_id, "edit", new)
        else:
            raise EditError("no such action")
        return {"report": self.report(report_id), "totals": self.totals()}

    def accepted(self) -> list[str]:
        """The reviewed reports, in the order of their first decision."""
        return [name for name in self.journal.histories if name in self.pairs and self._state(name) == ACCEPTED]

    def write_gold(self, path: Path, with_identity: bool) -> int:
        """Write the accepted reports to ``path``; their number."""
        decided = ((self.pairs[name], self.journal.decision(name)) for name in self.accepted())
        return gold.write_gold(path, ((pair, decision) for pair, decision in decided if decision), with_identity)

    # ----------------------------------------------------------------------------------------------------------------

    def _first_pass(self, cache: Path, console: Console) -> dict[str, Risk]:
        """The risk of every report, from the cache where nothing that decides on it has changed."""
        engine = self.pairs.engine
        run = fingerprint(engine.fingerprints(), engine.config, engine.keys.identifier, Path(risk.__file__))
        held = read_json(cache) if cache.is_file() else {}
        known = held.get("reports", {}) if held.get("run") == run else {}
        risks: dict[str, Risk] = {}
        for name in console.track(self.pairs.ids, len(self.pairs.ids), "reading for risk", "reports"):
            mark = self.pairs.mark(name)
            row = known.get(name)
            if row is not None and row["mark"] == mark:
                risks[name] = Risk(**row["risk"])
                continue
            risks[name] = self._assessor.assess(self.pairs[name])[0]
            known[name] = {"mark": mark, "risk": asdict(risks[name])}
        write_text_atomic(cache, json.dumps({"run": run, "reports": known}, separators=(",", ":")), permissions=0o600)
        return risks

    def _decision(self, pair: Pair) -> Decision:
        made = self.journal.decision(pair.report_id)
        return made or Decision(tuple(pair.proposed), False)

    def _state(self, name: str) -> str:
        made = self.journal.decision(name)
        return NEW if made is None else ACCEPTED if made.accepted else EDITED

    def _leak(self, name: str) -> tuple[int, int, int]:
        version = self.journal.history(name).version
        if self._leaks.get(name, (-1,))[0] != version:
            pair = self.pairs[name]
            self._leaks[name] = (version, gold.leaks(pair, self._decision(pair), self.policy))
        return self._leaks[name][1]

    def _entry(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            **asdict(self.risks[name]),
            "state": self._state(name),
            "sample": name in self._in_sample,
            "version": self.journal.history(name).version,
        }

    def _span(self, pair: Pair, span: Span) -> dict[str, Any]:
        status = gold.status(pair, span, self.policy)
        return {
            **asdict(span),
            "status": status,
            "by_person": span.rule == RULE,
            "safe": pair.alignment.to_safe(span.start, span.end),
        }

    @staticmethod
    def _freed(pair: Pair, decision: Decision) -> Iterator[dict[str, Any]]:
        """What the safe export hides and the person says need not be hidden."""
        for piece in pair.alignment.pieces:
            if piece.span and not any(s.start < piece.end and piece.start < s.end for s in decision.spans):
                yield _freed(piece, piece.span)

    @staticmethod
    def _doubt(pair: Pair, doubt: Doubt) -> dict[str, Any]:
        return {**asdict(doubt), "safe": pair.alignment.to_safe(doubt.start, doubt.end)}


def _freed(piece: Piece, span: Span) -> dict[str, Any]:
    return {**asdict(span), "safe": (piece.safe_start, piece.safe_end)}
