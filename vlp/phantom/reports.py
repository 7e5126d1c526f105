"""Writes the report of an examination: content from the facts, wording from the language pack, identities marked.

A report's length is drawn before its findings are known to the writer; statements about what is normal fill it up, so
that length tells nothing.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anonymize.languages import load_pack
from vlp.phantom.chance import stream, weighted
from vlp.phantom.config import PhantomConfig
from vlp.phantom.disturb import Disturber
from vlp.phantom.grammar import Grammar, Value
from vlp.phantom.identities import PatientIdentity, Staff, VisitIdentity
from vlp.phantom.marked import Marked, Phi, Span
from vlp.phantom.population import Patient, Visit
from vlp.phantom.statements import Content, Statement, content_of, duration_slots, views_code

SECTIONS = ("indication", "technique", "comparison", "results", "conclusion")


@dataclass(frozen=True)
class WrittenReport:
    """A report's text with the places of its identities (code points of ``text``)."""

    text: str
    spans: list[Span]
    style: str
    held_out: bool
    two_exams: bool
    exam_label: str


class ReportWriter:
    """Writes the reports of one hospital in one language."""

    def __init__(self, config: PhantomConfig) -> None:
        self.config = config
        words: Mapping[str, Any] = load_pack(config.language)["phantom"]
        self.words = words
        self.grammar = Grammar(words["rules"])
        self.morphology = [(re.compile(pattern), replacement) for pattern, replacement in words["morphology"]]
        self.disturber = Disturber(words.get("dictation_errors", []))

    def write(self, patient: Patient, number: int, identity: PatientIdentity, who: VisitIdentity) -> WrittenReport:
        """The report of the patient's visit ``number`` (0-based)."""
        return _Letter(self, patient, number, identity, who).write()

    def cell(self, rule: str, staff: Staff, key: str) -> str:
        """A cell of the table that names a member of staff, in one of the pack's forms."""
        slots = {"staff_surname": staff.person.surname, "staff_first_name": staff.person.first_name}
        return self.grammar.say(rule, slots, stream(self.config.seed, key, rule)).text

    def date(self, date: dt.date, pattern: str) -> str:
        """``date`` in a pattern of dd, d, mm, m, mon, yyyy, yy."""
        values = {
            "yyyy": f"{date.year:04d}",
            "yy": f"{date.year % 100:02d}",
            "mon": self.words["months"][date.month - 1],
            "mm": f"{date.month:02d}",
            "m": str(date.month),
            "dd": f"{date.day:02d}",
            "d": str(date.day),
        }
        return re.sub(r"\b(yyyy|yy|mon|mm|m|dd|d)\b", lambda match: values[match.group()], pattern)


class _Letter:
    """One report on its way."""

    def __init__(
        self, writer: ReportWriter, patient: Patient, number: int, identity: PatientIdentity, who: VisitIdentity
    ) -> None:
        self.writer, self.words = writer, writer.words
        self.patient, self.identity, self.who = patient, identity, who
        self.visit: Visit = patient.visits[number]
        self.earlier = patient.visits[number - 1].date if number else None
        self.child = self.visit.exam.age_months < 15 * 12  # addressed by the first name
        self.minor = self.visit.exam.age_months < 18 * 12
        self.style: Mapping[str, Any] = self.words["styles"][who.style]
        config = writer.config
        # length and nuisance come from their own stream: they cannot follow the findings
        self.form = stream(config.seed, patient.index, "form", number)
        self.rng = stream(config.seed, patient.index, "wording", number)
        self.date_format = weighted(self.form, self.words["date_formats"])
        self.target = self.form.uniform(*self.style["length"])
        self.two_exams = self.form.random() < config.two_exams_share
        self.content: Content = content_of(self.visit.exam, self.rng, self.words["decimal"])
        self.slots: dict[str, Value] = self._slots()

    def write(self) -> WrittenReport:
        bodies = self._bodies()
        slots = dict(self.slots)
        titles = self.form.random()
        section_style = self.form.randrange(10**6)
        for name in SECTIONS:
            slots[f"{name}_section"] = self._section(name, bodies.get(name), titles, section_style)
        slots["note_section"] = self._note()
        for name in ("letterhead", "header", "signature"):
            slots[name] = self._say(name).sentence_case()
        title = self._morphed(self._say("exam_title"))
        slots["exam_title"] = title if self.who.style == "letter" else title.sentence_case()
        if self.form.random() < 0.4 and self.who.style != "letter":
            slots["exam_title"] = title.edit_all(str.upper)
        text = self._morphed(self.writer.grammar.say("layout", slots, self.rng, self.who.style, self.patient.held_out))
        text = self._tidy(text)
        if self.form.random() < self.style["caps"]:
            text = self.writer.disturber.capitals(text, self.form)
        label = self._morphed(self._say("exam_label")).text.upper().strip()
        held = self.patient.held_out
        return WrittenReport(text.text, text.spans, self.who.style, held, self.two_exams, label)

    def _bodies(self) -> dict[str, Marked]:
        topic, form = self.content.topic, self.form
        bodies: dict[str, Marked] = {}
        if form.random() < 0.92:
            bodies["indication"] = self._sentences([self._say(f"indication.{topic}")])
            if form.random() < 0.3:
                bodies["indication"] += " " + self._finish(self._say("history_child" if self.minor else "history"))
        if form.random() < 0.5:
            bodies["technique"] = self._sentences([self._say("technique")])
        if self.earlier and form.random() < 0.75:
            bodies["comparison"] = self._sentences([self._say("comparison")])
        elif not self.earlier and form.random() < 0.15:
            bodies["comparison"] = self._sentences([self._say("comparison_none")])
        conclusion = [self._state(item) for item in self.content.conclusion]
        if self.earlier and self._unchanged() and form.random() < 0.4:
            conclusion.append(self._finish(self._say("c.stable")))
        if form.random() < 0.55:
            conclusion.append(self._finish(self._say("c.close")))
        results = self._results(sum(len(item.text) for item in conclusion))
        bodies["results"] = self._join(results)
        if self.two_exams:
            bodies["results"] = bodies["results"] + "\n\n" + self._say("second_child" if self.minor else "second")
        if form.random() < 0.9 or not results:
            bodies["conclusion"] = self._join(conclusion) if len(conclusion) > 2 else self._sentences(conclusion)
        else:  # no conclusion: what it would have said stands at the end of the results
            bodies["results"] = bodies["results"] + self._gap() + self._sentences(conclusion)
        return {name: self._disturbed(body) for name, body in bodies.items()}

    def _results(self, said: int) -> list[Marked]:
        items = [(self._state(item), item.finding) for item in self.content.results]
        # findings tend to come first
        keyed = sorted(((self.rng.random() - 0.6 * finding, i) for i, (_, finding) in enumerate(items)))
        results = [items[i][0] for _, i in keyed]
        length = said + sum(len(item.text) + 1 for item in results)
        fillers = self._fillers()
        # a report without findings must be able to reach its length, or length tells
        target = min(self.target, 50 + sum(len(filler.text) + 1 for filler in fillers))
        for filler in fillers:
            if length >= target:
                break
            results.insert(self.form.randint(0, len(results)), self._finish(filler))
            length += len(filler.text) + 1
        return results

    def _fillers(self) -> list[Marked]:
        """What may be said about the normal: the pack's fillers for the topic and for the anatomy, each once."""
        exam, style, held = self.visit.exam, self.who.style, self.patient.held_out
        names = dict.fromkeys((f"filler.{self.content.topic}", f"filler.{exam.anatomy}"))
        said: list[Marked] = []
        for name in names:
            fits = [w for w in self.writer.grammar.wordings(name) if w.held_out == held]
            if fits:
                said += self.writer.grammar.say_each(name, self.slots, self.form, style, held)
        self.form.shuffle(said)
        return said

    def _state(self, item: Statement) -> Marked:
        slots = {**self.slots, **item.slots}
        text = self.writer.grammar.say(item.rule, slots, self.rng, self.who.style, self.patient.held_out)
        if item.lead:
            lead = self.writer.grammar.say(item.lead, slots, self.rng, self.who.style, self.patient.held_out)
            text = lead + " " + text
        return self._finish(text)

    def _finish(self, text: Marked) -> Marked:
        return self._morphed(text).sentence_case()

    def _sentences(self, items: list[Marked]) -> Marked:
        joined = Marked()
        for i, item in enumerate(items):
            joined = joined + (" " if i else "") + self._finish(item)
        return joined

    def _join(self, items: list[Marked]) -> Marked:
        """Sentences in a paragraph, on lines, or as a list, as the style has it."""
        bullet = self.form.choice(["- ", "• ", "", ""]) if self.style.get("line_breaks") else ""
        joined = Marked(["\n"] if bullet and items else [])  # a list begins on its own line
        for i, item in enumerate(items):
            joined = joined + (self._gap() if i else "") + bullet + item
        return joined

    def _gap(self) -> str:
        return "\n" if self.style.get("line_breaks") or self.form.random() < 0.15 else " "

    def _section(self, name: str, body: Marked | None, titles: float, seed: int) -> Marked:
        if body is None:
            return Marked()
        if titles < 0.06 and name in ("technique", "results"):  # a title is missing
            return body + "\n\n"
        title = self._say(f"section_title.{name}").text
        slots: dict[str, Value] = {"title": title, "body": body}
        # the same generator for each section: one look for all titles of a report
        look = random.Random(seed)
        return self.writer.grammar.say("section", slots, look, self.who.style, self.patient.held_out)

    def _note(self) -> Marked:
        if self.form.random() > 0.35:
            return Marked()
        return self._finish(self._say("note_child" if self.child else "note")) + "\n\n"

    def _disturbed(self, body: Marked) -> Marked:
        disturber = self.writer.disturber
        if self.style.get("dictated"):
            body = disturber.misheard(body, self.form)
        body = disturber.typing_errors(body, self.form, self.style["typos"])
        return disturber.name_errors(body, self.form, self.writer.config.name_typo_share)

    def _unchanged(self) -> bool:
        from vlp.phantom.truth import labels_of

        exams = [visit.exam for visit in self.patient.visits if visit.date in (self.earlier, self.visit.date)]
        labels = [labels_of(exam) for exam in exams]
        return len(labels) == 2 and "bone_age_months" not in labels[0] and labels[0] == labels[1]

    def _say(self, rule: str) -> Marked:
        return self.writer.grammar.say(rule, self.slots, self.rng, self.who.style, self.patient.held_out)

    def _morphed(self, text: Marked) -> Marked:
        for pattern, replacement in self.writer.morphology:
            text = text.sub(pattern, replacement)
        return text

    @staticmethod
    def _tidy(text: Marked) -> Marked:
        text = text.sub(re.compile(r"[ \t]+(?=\n)"), "").sub(re.compile(r"\n{3,}"), "\n\n")
        return text.sub(re.compile(r"\A\s+|\s+\Z"), "")

    # --- slots -----------------------------------------------------------------------------------------------------

    def _slots(self) -> dict[str, Value]:
        exam, identity, who, visit = self.visit.exam, self.identity, self.who, self.visit
        months = exam.age_months
        slots: dict[str, Value] = {
            "anatomy": exam.anatomy,
            "side": exam.side or "N",
            "sex": exam.sex,
            "title": "title_child" if self.child else "title",
            "radiologist_sex": who.radiologist.person.sex,
            "prescriber_sex": who.prescriber.person.sex,
            "relative_sex": identity.relative.sex,
            "views_code": views_code(exam),
            "ward": who.ward,
            "exam_time": f"{who.time:%H:%M}",
            "past_year": str(visit.date.year - self.rng.randint(1, 9)),
            # children's ages are given in months too, adults' in years
            "age": self._duration(months if months < 18 * 12 else months // 12 * 12),
            "birth_date": self._dated(identity.birth_date, "DATE_NAISSANCE"),
            "exam_date": self._dated(visit.date, "DATE"),
            "injury_date": self._dated(
                visit.date - dt.timedelta(days=self.form.choice([0, 0, 1, 1, 2, 3, 6, 12])), "DATE"
            ),
            "next_date": self._dated(visit.date + dt.timedelta(days=self.form.choice([15, 21, 45, 90, 180])), "DATE"),
        }
        if exam.bone_age_read is not None:
            slots["bone_age"] = self._duration(exam.bone_age_read)
            slots["gap"] = self._duration(max(1.0, abs(round(exam.bone_age_read) - months)))
        if self.earlier:
            slots["earlier_date"] = self._dated(self.earlier, "DATE")
        hospital = who.hospital
        named = {
            "surname": ("NOM", identity.person.surname),
            "first_name": ("PRENOM", identity.person.first_name),
            "second_name": ("PRENOM", identity.second_name),
            "birth_surname": (
                "NOM",
                identity.birth_surname if identity.birth_surname != identity.person.surname else "",
            ),
            "street": ("ADRESSE", identity.place.street),
            "postcode": ("ZIP", identity.place.postcode),
            "town": ("VILLE", identity.place.town),
            "phone": ("TEL", identity.phone),
            "mobile": ("TEL", identity.mobile),
            "mail": ("MAIL", identity.mail),
            "number": ("SECU", identity.number),
            "ipp": ("IPP", identity.ipp),
            "nda": ("NDA", who.nda),
            "accession": ("ID", who.accession),
            "relative_surname": ("NOM", identity.relative.surname),
            "relative_first_name": ("PRENOM", identity.relative.first_name),
            "hospital": ("HOPITAL", hospital.name),
            "hospital_street": ("ADRESSE", hospital.place.street),
            "hospital_postcode": ("ZIP", hospital.place.postcode),
            "hospital_town": ("VILLE", hospital.place.town),
            "hospital_phone": ("TEL", hospital.phone),
            "hospital_fax": ("TEL", hospital.fax),
            "hospital_mail": ("MAIL", hospital.mail),
        }
        staff = {role: getattr(who, role) for role in ("radiologist", "prescriber", "technician", "colleague")}
        for role, person in {**staff, "doctor": identity.doctor}.items():
            named[f"{role}_surname"] = ("NOM", person.person.surname)
            named[f"{role}_first_name"] = ("PRENOM", person.person.first_name)
            named[f"{role}_number"] = ("RPPS", person.number)
            named[f"{role}_phone"] = ("TEL", person.phone)
            named[f"{role}_mail"] = ("MAIL", person.mail)
        return slots | {name: Phi(value, label, value) for name, (label, value) in named.items() if value}

    def _duration(self, months: float) -> Callable[[], Marked]:
        parts = duration_slots(months)
        return lambda: self.writer.grammar.say(f"duration.{parts['shape']}", parts, self.rng)

    def _dated(self, date: dt.date, label: str) -> Callable[[], Phi]:
        def written() -> Phi:
            usual = self.form.random() < 0.7
            pattern = self.date_format if usual else weighted(self.form, self.words["date_formats"])
            return Phi(self.writer.date(date, pattern), label, date.isoformat())

        return written
