"""Names of persons by rule: titles, labels, signatures, relatives, forms of a header, the export's own name columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.detectors.name_reader import NameReader
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Gazetteer, Span
from anonymize.sections import parser_of
from anonymize.text import Anchored, View, alternatives, fold, folded, words_of

_JOIN = re.compile(
    r"(?: \([^()\n]{2,30}\)(?=[,;/]))? ?(?:/|,|;|&|·|•|\bet\b|\bou\b|\by\b|\bund\b|\band\b) ?|\t| {1,6}[\-–] {1,6}| {2,40}"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_INITIALS = re.compile(r"[A-ZÀ-Ý](?:[. ]{1,2}[A-ZÀ-Ý])?\.?(?![\w'’])")
_DATE = re.compile(r"\d{1,2} ?[/.\-] ?\d{1,2} ?[/.\-] ?\d{2,4}")
_LABEL_END = re.compile(r" ?[:=](?!\w)")
_MASKS = frozenset(("X", "X."))  # "Madame X": somebody has hidden the name already
_WEAK = ("names.relative", "names.cue")
# In folded text: a sex and a date behind a name; initials and a surname alone on a line.
_BORN = re.compile(
    r"[ |,;/(\-]{1,6}(?:[mfh][ |,;/)\-]{1,6})?(?:\d{1,2} ?[/.\-] ?\d{1,2} ?[/.\-] ?\d{2,4}|\d{4}-\d\d-\d\d)"
)
# The name by which somebody goes, between given names and surname: "Cornelis (Kees) de Groot"
_NICK = re.compile(r" \([\"'“„]?(?P<name>[A-ZÀ-Ý][^\W\d_]{1,14})[\"'”“]?\) (?=[^\W\d_'’])")
# One patient of a list: "Ottensmeier, Wilfried, 29.2.1944", "Kort, Wilhelmina – 01-03-1958"
_LISTED = re.compile(
    r"(?:(?<=\n)|(?<=[;|\t:(])|(?<= [\-–])|(?<=\d[.)])|\A)[ \t]{0,8}"
    r"(?P<name>(?:[a-z'’]{1,5} ){0,3}[A-ZÀ-Ý][^\W\d_]*(?:['’\- ][A-ZÀ-Ý][^\W\d_]+){0,2},[ ]"
    r"[A-ZÀ-Ý][^\W\d_]+(?:[ \-][A-ZÀ-Ý][^\W\d_]*\.?){0,2})"
    r"(?:[ ,;|(–\-]{1,4}[^\W\d_*]{0,3}\.?[* ]{0,3})"
    r"(?=(?:\d{1,2}[/.\-] ?\d{1,2}[/.\-] ?(?:\d{4}|\d\d)|\d{4}-\d\d-\d\d)(?!\d))"
)
_MAYBE_LISTED = re.compile(r", [A-ZÀ-Ý][^\W\d_][^\n]{0,60}?(?:\d[/.\-]|\d{4}-)")  # quicker: begins at a comma
_SIGNED = re.compile(r"[ \-*•]*(?P<name>(?:[a-z]\.[ \-]?){1,3}(?P<surname>[^\W\d_]{3,}(?:['\-][^\W\d_]+){0,2})) *$")


class Names(Detector):
    """Spans of whole names without their titles."""

    kinds = ("name", "initials")

    def __init__(self, pack: Pack, gazetteer: Gazetteer) -> None:
        super().__init__(pack)
        words = pack["detectors"]["names"]
        self._reader = NameReader(pack)
        self._protected = protected_of(pack)
        self._sections = parser_of(pack)
        self._gazetteer = gazetteer
        title = alternatives(words["titles"])
        # In German, nouns have capitals: weak cues need more than one
        self._noun_capitals = bool(words.get("noun_capitals", False))
        self._with_title = bool(words.get("title_included", False))
        self._relative_words = folded(words["relatives"]) if self._noun_capitals else ()
        self._shortened = frozenset(fold(str(word)).rstrip(".") for word in words["titles"] if str(word).endswith("."))
        self._title_words = pack.lists.titles
        # "MR angiography": a title that in capitals is an abbreviation
        self._abbreviations = folded(words.get("title_abbreviations", []))
        after = alternatives(words["after_title"])
        titled = rf"(?:(?:{title}|{after})(?!\w)\.? ?){{0,3}}"
        self._title = Anchored(
            words["titles"],
            rf"(?<![\w'.])(?P<title>{title})(?!\w)(?: ?/ ?{title})?\.?"
            rf"(?: ?[:,\n] ?|[ \t]+)(?:{after}(?!\w)[. ]{{1,2}}){{0,3}}",
        )
        # headings of a form are filled up with blanks or points
        behind = rf"\.?(?:\([^)\n]{{1,6}}\))?[ .]{{0,24}}[:=]\s{{0,4}}{titled}"
        self._label = Anchored(words["labels"], rf"(?<!\w){alternatives(words['labels'])}{behind}")
        line_labels = words.get("line_labels", [])
        self._line_label = Anchored(line_labels, rf"{alternatives(line_labels)} ?[:=]\s{{0,4}}{titled}")
        self._cue = Anchored(words["cues"], rf"(?<!\w){alternatives(words['cues'])}(?!\w) {titled}")
        self._relative = Anchored(
            words["relatives"],
            rf"(?<!\w){alternatives(words['relatives'])}(?!\w)[ ,:(]{{1,3}}(?:{title}(?!\w)\.? ?)?",
        )
        self._greeting = Anchored(words["greetings"], rf"{alternatives(words['greetings'])} ")
        self._born = Anchored(words["born"], rf"(?<=[ ,(\-]){alternatives(words['born'])}(?!\w)")
        self._birth_name = Anchored(words["birth_name"], rf"(?<!\w){alternatives(words['birth_name'])} ")
        self._typist = Anchored(
            words["typists"],
            rf"(?<!\w){alternatives(words['typists'])} ?[:=] ?(?P<initials>[a-z]{{1,4}}(?:[/.][a-z]{{1,4}})?)(?!\w)",
        )
        # "A.B. van der Sluis", "Visser-de Jong": particles that open a surname wherever a capital follows
        openings = alternatives(words.get("openings", []))
        some = alternatives(words["particles"])
        capital = r"[^\W\d_a-zß-ÿ][^\W\d_]+(?:-[^\W\d_]+)*"
        initials = r"(?:[A-Z]{1,3}(?:\. ?| )){1,4}"
        opening = (
            rf"(?<![\w.'-])(?:(?:{initials})?(?i:{openings}) {capital}|{initials} ?(?i:{some} ){{1,3}}{capital}"
            rf"|{capital}-(?i:{some} ){{1,3}}{capital})(?!\w)"
        )
        self._opening = re.compile(opening) if words.get("openings") else None
        units = alternatives(pack["detectors"]["ages"]["units"])
        # case reports: "G.F., 59 anni", "A.B. (maschio, 40 anni)"
        self._case = re.compile(
            rf"(?<![\w.])(?:[^\W\d_]\. ?){{1,3}}[^\W\d_](?![^\W\d_])\.?"
            rf"(?=,? ?\(?(?:[^\W\d_]{{1,12}},? ){{0,3}}\d{{1,3}}[ \-]?{units})"
        )
        self._title_only = re.compile(rf"(?:{title}(?!\w)\.?[ ,]*){{1,3}}")

    def find(self, view: View) -> Iterable[Span]:
        """Spans with scores from 0.95 (title) to 0.5 (shape at the edge of the document)."""
        yield from self._after(view, self._title, 0.95, "names.title", loose=True)
        yield from self._after(view, self._label, 0.9, "names.label", loose=True)
        yield from self._after(view, self._line_label, 0.9, "names.label", loose=True, line=True)
        yield from self._after(view, self._cue, 0.85, "names.cue")
        yield from self._after(view, self._relative, 0.85, "names.relative")
        yield from self._after(view, self._greeting, 0.8, "names.greeting", line=True)
        for match in self._typist.finditer(view):
            if match["initials"] not in self._title_words:
                yield Span(*match.span("initials"), "initials", 0.8, "names.typist")
        for match in self._opening.finditer(view.text) if self._opening else ():
            first, *_, last = words_of(match.group())
            if first in self._reader.clinical:
                continue  # "CT uit Leuven"
            if (
                last not in self._reader.stop
                and last not in self._protected.words
                and last not in self._reader.clinical
            ):
                yield Span(*match.span(), "name", 0.7, "names.opening")
        for match in self._case.finditer(view.folded) if view.digits else ():
            written = view.text[match.start() : match.end()]
            if written.isupper() or (written[0].isupper() and written[-1] == "."):
                yield Span(*match.span(), "initials", 0.8, "names.case_report")
        listed = view.digits and view.case == "mixed" and _MAYBE_LISTED.search(view.text)
        for match in _LISTED.finditer(view.text) if listed else ():
            words = self._reader.words(view, *match.span("name"))
            if len(words) > 1 and self._reader.stop.isdisjoint(words) and not self._ordinary(words[1:]):
                yield Span(*match.span("name"), "name", 0.8, "names.listed")
        yield from self._before_birth(view)
        yield from self._edges(view)
        yield from self._from_gazetteer(view)

    def _after(
        self, view: View, pattern: Anchored, score: float, rule: str, *, loose: bool = False, line: bool = False
    ) -> Iterable[Span]:
        """Names behind the matches of ``pattern``; ``line``: only of those that begin a line."""
        chained: set[int] = set()  # "Dr A / Dr B / Dr C" is walked once, not again from B and from C
        covered = nested = 0
        for match in pattern.finditer(view):
            start = match.end()
            nested = nested + 1 if match.start() < covered else 0
            if nested > 1:
                continue  # no name holds that many cues; each would be read to its end again
            if line and not view.opens_line(match.start()):
                continue
            if rule == "names.title" and not self._plausible_title(view, match):
                continue
            end = self._reader.read(view, start, loose=loose)
            if end is None and rule == "names.title" and view.case != "upper":
                lowered = view.case == "mixed" and match["title"].islower() and view.text[match.start()].islower()
                if view.case == "lower":
                    end = self._clinical_surname(view, match)
                elif lowered and match["title"].rstrip(".") in self._shortened and len(match["title"]) > 1:
                    end = self._reader.read_lowered(view, start)
            if end is None and rule in _WEAK and view.case == "lower":
                end = self._reader.read_borne(view, start)
            if rule == "names.title" and end is not None and end - start < 4:
                initials = _INITIALS.match(view.text, start)
                end = max(end, initials.end()) if initials else end  # "Mr R.Y": a letter that is a particle as well
            if end is None and rule == "names.title":
                initials = _INITIALS.match(view.text, start)
                if initials and initials.group() not in _MASKS:
                    begin = match.start() if self._with_title else initials.start()
                    yield Span(begin, initials.end(), "initials", 0.8, "names.initials")
            nick = _NICK.match(view.text, end) if end is not None and not self._noun_capitals else None
            more = self._reader.read(view, nick.end()) if nick and self._plain(nick["name"]) else None
            end = more or end
            if end is not None and rule == "names.relative" and view.case == "mixed" and view.text[start:end].isupper():
                continue  # an abbreviation: "frère HLA compatible"
            weak = rule in _WEAK or (rule == "names.title" and fold(match["title"]) in self._relative_words)
            if end is not None and weak and self._noun_capitals and not self._borne(view, start, end):
                continue  # a particle or a noun: "die Mutter den Eindruck", "Bruder Asthma"
            if end is not None and rule in _WEAK and self._clinical(view, start, end):
                continue  # "under Ultrasound", "accompagnata da Tosse"
            if end is not None and rule == "names.cue" and self._abbreviation(view, start, end):
                continue  # "infirmière ETP"
            if end is not None and self._with_title and rule == "names.title":
                yield Span(match.start(), end, "name", score, rule)
            while end is not None:
                yield Span(start, end, "name", score, rule)
                covered = end
                joined = _JOIN.match(view.folded, end)  # Dr X / Y, MM. X et Y
                if not joined or rule in ("names.relative", "names.greeting"):
                    break
                title = self._title_only.match(view.folded, joined.end())
                start = title.end() if title else joined.end()
                if self._noun_capitals and not title and joined.group().strip() in (",", ";", "-", "–", ""):
                    break  # "Dr. Brandt, Oberarzt"
                if start in chained:
                    break
                chained.add(start)
                end = self._reader.read(view, start, loose=False)
                if (
                    end is not None
                    and not title
                    and (
                        _LABEL_END.match(view.text, end)
                        or self._abbreviation(view, start, end)
                        or ("-" in joined.group() and self._clinical(view, start, end))
                    )
                ):
                    break  # "Coralie DUPUIS - Père : ...", "Dr Ouellet, GMF", "Dr Kaïs - Chirurgie générale"

    def _clinical(self, view: View, start: int, end: int) -> bool:
        return self._reader.clinical.issuperset(self._reader.words(view, start, end))

    def _abbreviation(self, view: View, start: int, end: int) -> bool:
        """Whether one short word in capitals, that nobody bears, stands in a text of mixed case."""
        word = view.text[start:end]
        short = view.case == "mixed" and word.isalpha() and word.isupper() and len(word) <= 4
        return short and not any(self._reader.lexicon.codes(fold(word))[1:3])

    def _plain(self, word: str) -> bool:
        """Whether a word in brackets can be the name that somebody goes by: no role, no clinical word."""
        folded, known = fold(word), self._reader
        return not (folded in known.stop or folded in known.roles or folded in known.clinical)

    def _borne(self, view: View, start: int, end: int) -> bool:
        """Whether people bear the first word of a name behind a weak cue, where every noun has a capital."""
        words = self._reader.words(view, start, end)
        if not words or view.text[start].islower():
            return False
        first = words[0].split("-")[0]
        frequency, given, surname, _ = self._reader.lexicon.codes(first)
        if first in self._reader.clinical:
            return False
        if 0 < given < 4 or 0 < surname < 4:
            return frequency < 6 or given == 1
        return len(first) == 1 or (frequency < 4 and len(first) < 9)  # a longer one is a compound

    def _clinical_surname(self, view: View, match: re.Match[str]) -> int | None:
        """End of a surname that is also a clinical word, in a text without capitals: ``prof. main le 2 novembre``."""
        title = fold(match["title"]).rstrip(".")
        word = _LETTERS.match(view.folded, match.end())
        if len(title) < 2 or title not in self._shortened or not word or len(word.group()) < 3:
            return None
        known = self._reader
        taken = word.group() in known.clinical and word.group() not in known.stop and word.group() not in known.roles
        return word.end() if taken else None

    def _plausible_title(self, view: View, match: re.Match[str]) -> bool:
        """One-letter and capital-less titles need a capital after them; a measure (``3 m``) is no title."""
        start, stop = match.span("title")
        title = view.text[start:stop]
        if "\n" in match.group():
            ended = view.folded[stop : view.folded.index("\n", stop)].strip() == "."
            if match.group().strip()[-1] not in ":,." or (ended and fold(title) not in self._shortened):
                return False  # "oreille interne.", then a sentence
        if title.isupper() and fold(title) in self._abbreviations and view.case == "mixed":
            following = _LETTERS.match(view.text, match.end())
            return bool(
                following and following.group().isupper() and fold(following.group()) not in self._reader.clinical
            )
        if title.rstrip(".").lower() in ("m", "mm", "me"):
            before = view.folded[max(0, start - 2) : start].strip(" ")
            if before and (before[-1].isdigit() or before[-1] in "/x"):
                return False
            if view.case == "mixed" and not title[0].isupper():
                return False
            if not title.endswith("."):
                following = _LETTERS.match(view.text, match.end())
                if following and following.group().isupper() and len(following.group()) > 2:
                    return True
                # "M Legrand Cecile": at the start of a line or of a sentence
                return bool(
                    following and before[-1:] in ("", ".", ":", "\n") and self._reader.whole_name(view, match.end())
                )
        return True

    def _before_birth(self, view: View) -> Iterable[Span]:
        for match in self._born.finditer(view):
            stop = least = match.start()
            while stop > 0 and stop > least - 3 and view.folded[stop - 1] in " ,(-":
                stop -= 1
            start = self._reader.read_back(view, stop)
            if start is not None:
                yield Span(start, stop, "name", 0.85, "names.before_birth")
        for match in self._birth_name.finditer(view):
            before = view.text[max(0, match.start() - 25) : match.start()]
            if before == before.lower():
                continue
            end = self._reader.read(view, match.end())
            if end is not None:
                yield Span(match.end(), end, "name", 0.8, "names.birth_name")

    def _edges(self, view: View) -> Iterable[Span]:
        """Lines of the letterhead and the signature that hold a name and little else."""
        head, tail = self._sections.edges(view)
        for start, end in view.lines:
            if head <= start < tail:
                continue
            yield from self._edge_line(view, start, end, signature=start >= tail)

    def _edge_line(self, view: View, start: int, end: int, signature: bool) -> Iterable[Span]:
        if view.case == "lower":
            yield from self._plain_edge_line(view, start, end, signature)
        last_date = max((match.start() for match in _DATE.finditer(view.folded, start, end)), default=-1)
        if last_date < 0 and not signature:
            return
        position = start + len(view.text[start:end]) - len(view.text[start:end].lstrip(" \t-*•|"))
        title = self._title_only.match(view.folded, position, end)
        position = title.end() if title else position
        stop = self._reader.read(view, position, line_end=end)
        while stop is not None:
            words = self._reader.words(view, position, stop)
            rest = view.folded[stop : min(end, stop + 80)].strip()
            dated = last_date >= stop and not (self._noun_capitals and rest[:1].isalpha() and last_date > stop + 14)
            alone = not rest or rest[0] in "|,-(/" or rest.startswith("interne")
            fits = (1 if signature and not rest else 2) <= len(words) <= 5 and not self._ordinary(words)
            if not fits or not (dated or (signature and (alone or _JOIN.match(view.folded, stop)))):
                return
            yield Span(position, stop, "name", 0.6, "names.signature" if signature else "names.header_line")
            joined = _JOIN.match(view.folded, stop)
            if not joined or joined.end() >= end:
                return
            position = joined.end()
            stop = self._reader.read(view, position, line_end=end)

    def _plain_edge_line(self, view: View, start: int, end: int, signature: bool) -> Iterable[Span]:
        """In a text without capitals: a name before sex and birth date, or initials and a name that sign."""
        if signature:
            signed = _SIGNED.match(view.folded, start, end)
            if signed and not self._ordinary([signed["surname"]]) and signed["surname"] not in self._reader.stop:
                yield Span(*signed.span("name"), "name", 0.6, "names.signature")
            return
        position = start + len(view.folded[start:end]) - len(view.folded[start:end].lstrip(" -*•|"))
        title = self._title_only.match(view.folded, position, end)
        position = title.end() if title else position
        stop = self._reader.read(view, position, line_end=end, loose=True)
        if stop is None or not _BORN.match(view.folded, stop, end):
            return
        words = self._reader.words(view, position, stop)
        if 2 <= len(words) <= 5 and not self._ordinary(words):
            yield Span(position, stop, "name", 0.6, "names.header_line")

    def _ordinary(self, words: list[str]) -> bool:
        """Whether words of a title line or an eponym make this line something else than a name."""
        alone = len(words) == 1 or len(words[0]) == 1  # "N. Roy" signs; "Roy-Camille" alone is an eponym
        clinical, eponyms = self._reader.clinical, frozenset() if alone else self._protected.words
        return any(word in clinical or word in eponyms or not clinical.isdisjoint(word.split("-")) for word in words)

    def _from_gazetteer(self, view: View) -> Iterable[Span]:
        """A given name beside a surname of the export, or a surname of its staff."""
        known = self._gazetteer
        if not (known.given_names or known.staff):
            return
        wanted = {word for word in view.where if word in known.given_names or word in known.staff}
        wanted -= self._reader.clinical
        wanted -= self._reader.stop
        if not wanted:
            return
        protected = self._protected.phrases(view)
        for index in sorted(index for word in wanted if len(word) > 2 for index in view.where[word]):
            token = view.token(index)
            capital = token.shape in ("upper", "title", "mixed") or view.case == "lower"
            if not capital or any(start <= token.start < end for start, end in protected):
                continue
            if token.folded in known.staff and self._telling(view, token.folded):
                yield Span(token.start, token.end, "name", 0.7, "names.staff")
            if token.folded not in known.given_names:
                continue
            for left, other in ((index, index + 1), (index - 1, index - 1)):
                if left < 0 or left + 1 >= len(view.words) or view.words[other] not in known.surnames:
                    continue
                written = view.shape(other)
                if view.gap(left) in (" ", ", ", "-", "  ") and (
                    written in ("upper", "title", "mixed") or (written == "lower" and view.case == "lower")
                ):
                    yield Span(view.starts[left], view.ends[left + 1], "name", 0.75, "names.export")

    def _telling(self, view: View, word: str) -> bool:
        """Whether a staff surname says enough alone: no everyday word, no eponym, in a text with capitals."""
        return word not in self._reader.common and word not in self._protected.words and view.case != "lower"
