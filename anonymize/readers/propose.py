"""Which column of an export is what: by its heading, else by what its values look like."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module

from anonymize.dates import parse_iso
from anonymize.languages import Pack, available, load_pack
from anonymize.policy import Columns
from anonymize.readers.record import PREFIX
from anonymize.text import collapse, fold, words_of

SAMPLE = 6000  # rows from the start: a patient's rows often stand together, which a random sample would part
_DATE = re.compile(r"(\d{1,2})[/.\- ](\d{1,2})[/.\- ](\d{4}|\d{2})(?:[T ]\d{1,2}[:h].*)?")
_ISO = re.compile(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?:[T ]?[\d:.+Z]*)?")
_NUMBERED = re.compile(r"[A-Za-z]{0,5}[-_/.]?\d[\w\-/.]*")
_PHONE = re.compile(r"[+(\d][\d .\-/()]{8,19}")
_POSTCODE = re.compile(r"\d{4,5}|\d{4} ?[A-Z]{2}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d")
_HOUSE = re.compile(r"\d{1,4} ?[a-zA-Z]{0,3},? [^\d@]{4,60}|[^\d@]{4,60} \d{1,4} ?[a-zA-Z]?")
_NAME = re.compile(r"[^\W\d_][^\d_@/:;()=]{0,60}")
_NATIONAL = ("fr.nir", "be.nn", "ch.ssn", "es.dni", "de.idnr", "nl.bsn", "it.codicefiscale", "gb.nhs")  # of stdnum


@dataclass(frozen=True)
class Guess:
    """What a column is and why. ``field`` is a field of :class:`~anonymize.policy.Columns`, or empty."""

    field: str
    why: str


@dataclass
class Column:
    """The values of one column in the sample, row by row."""

    heading: str
    cells: list[str]
    texts: list[str] = field(default_factory=list, repr=False)  # the report of each row, once its column is known

    @cached_property
    def filled(self) -> list[str]:
        """Values that are not blank."""
        return [cell.strip() for cell in self.cells if cell.strip()]

    @cached_property
    def variety(self) -> float:
        """Different values per filled cell."""
        return len(set(self.filled)) / max(1, len(self.filled))

    def share(self, test: Callable[[str], object]) -> float:
        """Share of the filled cells that pass ``test``."""
        values = Counter(self.filled)
        return sum(count for value, count in values.items() if test(value)) / max(1, len(self.filled))

    def in_text(self) -> float:
        """Share of filled cells of which a word of four or more letters stands in the same row's report."""
        pairs = [(cell, text) for cell, text in zip(self.cells, self.texts, strict=False) if cell.strip() and text]
        pairs = pairs[:1000]
        hits = sum(any(len(w) > 3 and w in fold(text) for w in words_of(cell)) for cell, text in pairs)
        return hits / max(1, len(pairs))


def shape(column: Column) -> str:
    """The commonest form of a value, with letters and digits replaced: ``99/99/9999``; long text by its length."""
    if not column.filled:
        return ""
    usual = statistics.median(map(len, column.filled))
    if usual > 60:
        return f"text of about {round(usual, -1):.0f} characters"
    forms = Counter(_form(value) for value in column.filled)
    return forms.most_common(1)[0][0]


def _form(value: str) -> str:
    value = re.sub(r"[^\W\d_]+", lambda m: "AA" if m[0].isupper() else "Aa" if m[0][0].isupper() else "aa", value)
    return re.sub(r"\d", "9", value)[:40]


def by_heading(headings: Sequence[str], languages: Sequence[str]) -> dict[int, Guess]:
    """Columns whose heading is a field's own or an alias of a pack; the first language counts first."""
    found: dict[int, Guess] = {}
    taken: set[str] = set()
    for number, heading in enumerate(headings):
        name = heading.removeprefix(PREFIX)
        if heading.startswith(PREFIX) and name in Columns.model_fields:
            found[number] = Guess(name, "given by the format")
            taken.add(name)
    for language in languages:
        for name, aliases in load_pack(language)["pack"]["columns"].items():
            for alias in aliases if name not in taken else ():
                number = next((n for n, h in enumerate(headings) if collapse(h) == collapse(str(alias))), None)
                if number is not None and number not in found:
                    found[number] = Guess(name, f"heading ({language})")
                    taken.add(name)
                    break
    return found


def guess_language(texts: Iterable[str], least: int = 10) -> tuple[str, float]:
    """The pack whose own words (in no other pack) are commonest, and their share among such words.

    ("", 0) where there are fewer than ``least`` of them.
    """
    hits: Counter[str] = Counter()
    own = _own_words()
    for text in texts:
        for word in words_of(text[:3000]):
            if word in own:
                hits[own[word]] += 1
    if hits.total() < least:
        return "", 0.0
    language, count = hits.most_common(1)[0]
    return language, count / hits.total()


def guess_order(columns: Iterable[Column]) -> str:
    """dmy, mdy, mixed or "" by the numbers above 12 in dates with a separator."""
    seen = Counter(
        "dmy" if int(m[1]) > 12 else "mdy"
        for column in columns
        for value in column.filled
        if (m := _DATE.fullmatch(value)) and (int(m[1]) > 12) != (int(m[2]) > 12)
    )
    if not seen:
        return ""
    order, count = seen.most_common(1)[0]
    return order if count > 0.98 * seen.total() else "mixed"


def follows(key: Column, value: Column) -> float | None:
    """How far ``value`` follows from ``key``: share of rows with their key's commonest value, over keys that repeat."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for a, b in zip(key.cells, value.cells, strict=True):
        if a.strip() and b.strip():
            groups[a.strip()][fold(b.strip())] += 1
    repeated = [counts for counts in groups.values() if counts.total() > 1]
    rows = sum(counts.total() for counts in repeated)
    return sum(max(counts.values()) for counts in repeated) / rows if rows else None


class Recogniser:
    """Names the columns that no heading named, by their values and by how columns follow from each other."""

    def __init__(self, columns: list[Column], known: dict[int, Guess], pack: Pack) -> None:
        self.columns = columns
        self.found = dict(known)
        self._pack = pack
        self._words = _Vocabulary(pack)

    def run(self) -> dict[int, Guess]:
        """Guesses by column number."""
        steps = (self._text, self._sex, self._contacts, self._dates, self._national, self._exam, self._staff)
        for step in (*steps, self._address, self._identifiers, self._given_name, self._postcode, self._names):
            step()
        return self.found

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _free(self) -> list[int]:
        return [n for n, column in enumerate(self.columns) if n not in self.found and column.filled]

    def _at(self, name: str) -> Column | None:
        return next((self.columns[n] for n, guess in self.found.items() if guess.field == name), None)

    def _missing(self, *names: str) -> bool:
        return any(self._at(name) is None for name in names)

    def _take(self, number: int, name: str, why: str) -> None:
        taken = self._at(name) is not None
        self.found[number] = Guess("" if taken else name, f"values {why}")

    # -- one kind of column each ---------------------------------------------------------------------------------------

    def _text(self) -> None:
        if self._missing("text"):
            prose = {n: statistics.mean(map(len, self.columns[n].filled)) for n in self._free()}
            prose = {n: size for n, size in prose.items() if size > 60 and self._spaced(n)}
            if prose:
                best = max(prose, key=lambda n: prose[n] * len(self.columns[n].filled))
                self._take(best, "text", "are the longest running text")
        text = self._at("text")
        for column in self.columns if text is not None else ():
            column.texts = text.cells if text is not None else []

    def _spaced(self, number: int) -> bool:
        return statistics.mean(value.count(" ") for value in self.columns[number].filled) > 6

    def _sex(self) -> None:
        for n in self._free() if self._missing("sex") else ():
            values = {collapse(value) for value in self.columns[n].filled}
            digits = all(value.isdigit() for value in values)
            if values <= self._words.sexes and (not digits or values == {"1", "2"}) and len(values) <= 6:
                self._take(n, "sex", "are sex codes")
                return

    def _dates(self) -> None:
        years: dict[int, list[int]] = {}
        for n in self._free():
            found = [year for value in self.columns[n].filled if (year := self._year(value))]
            if len(found) >= 0.85 * len(self.columns[n].filled):
                years[n] = sorted(found)
        if not years:
            return
        middle = {n: statistics.median(found) for n, found in years.items()}
        spread = {
            n: found[int(0.95 * (len(found) - 1))] - found[int(0.05 * (len(found) - 1))] for n, found in years.items()
        }
        latest = max([*middle.values(), *self._exam_years()])
        old = [n for n in years if spread[n] >= 15 or middle[n] < latest - 8]
        if old and self._missing("birth_date"):
            first = min(old, key=lambda n: middle[n])
            self._take(first, "birth_date", "look like birth dates")
        for n in years:
            if n not in self.found and n not in old:
                self._take(n, "exam_date", "look like examination dates")
        for n in years:
            if n not in self.found:
                self._take(n, "", "look like dates")

    def _exam_years(self) -> list[int]:
        column = self._at("exam_date")
        return [year for value in column.filled[:200] if (year := self._year(value))] if column else []

    def _year(self, value: str) -> int:
        if match := _ISO.fullmatch(value):
            month, day, year = int(match[2]), int(match[3]), int(match[1])
            if 0 < month < 13 and 0 < day < 32 and 1890 <= year <= 2100:
                return year
        if match := _DATE.fullmatch(value):
            first, second = int(match[1]), int(match[2])
            if 0 < min(first, second) <= 12 and max(first, second) <= 31:
                year = int(match[3])
                return year if year > 99 else year + (2000 if year <= 35 else 1900)
            return 0
        whole = parse_iso(self._pack, value) if not value.isdigit() or len(value) == 8 else ""
        return int(whole[:4]) if whole else 0

    def _contacts(self) -> None:
        for n in self._free():
            column = self.columns[n]
            if column.share(lambda v: "@" in v and "." in v) > 0.8:
                self._take(n, "", "look like mail addresses")
            elif column.share(_is_phone) > 0.8:
                self._take(n, "phone", "look like phone numbers")

    def _national(self) -> None:
        for n in self._free():
            column = self.columns[n]
            for name in _NATIONAL:
                valid = import_module(f"stdnum.{name}").is_valid
                if column.share(lambda v: len(collapse(v)) > 8 and valid(v)) > 0.6:  # noqa: B023
                    self._take(n, "numbers", f"have the check digits of {name}")
                    break

    def _exam(self) -> None:
        for n in self._free():
            column = self.columns[n]
            known = column.share(lambda v: _part(self._words.clinical, words_of(v)) >= 0.5)
            if known > 0.6 and column.share(self._titled) < 0.1:
                self._take(n, "exam", "are words of examinations")

    def _titled(self, value: str) -> bool:
        first = value.split(" ")[0]
        return len(value.split()) > 1 and collapse(first) in self._words.titles

    def _staff(self) -> None:
        for n in self._free():
            column = self.columns[n]
            if column.share(self._titled) > 0.3 and column.share(_NAME.fullmatch) > 0.8:
                late = self._signs(column)
                first, second = ("radiologist", "prescriber") if late else ("prescriber", "radiologist")
                name = next((name for name in (first, second, "staff") if self._at(name) is None), "staff")
                self._take(n, name, "are names with titles" + (", at the end of reports" if late else ""))

    def _signs(self, column: Column) -> bool:
        """Whether the column's names stand in the last quarter of the reports, as signatures do."""
        hits = late = 0
        for cell, text in list(zip(column.cells, column.texts, strict=False))[:500]:
            words = [w for w in words_of(cell) if len(w) > 3 and w not in self._words.titles]
            place = max((fold(text).rfind(word) for word in words), default=-1)
            hits += place >= 0
            late += place > 0.75 * len(text)
        return late > 0.5 * max(1, hits) and hits > 0

    def _address(self) -> None:
        for n in self._free():
            column = self.columns[n]
            if column.share(self._has_street) > 0.4:
                self._take(n, "address", "have street words and numbers")
            elif column.share(_HOUSE.fullmatch) > 0.8:
                self._take(n, "address", "are words beside a house number")

    def _has_street(self, value: str) -> bool:
        known = any(collapse(word) in self._words.streets for word in value.split())
        return known and any(map(str.isdigit, value))

    def _postcode(self) -> None:
        for n in self._free() if self._missing("postcode") else ():
            column = self.columns[n]
            if column.share(_POSTCODE.fullmatch) < 0.9 or len(set(column.filled)) < 2:
                continue
            towns = {m: self._town_score(column, m) for m in self._free() if m != n and self._is_name(m)}
            towns = {m: score for m, score in towns.items() if score > 0}
            if not towns and self._missing("town") and self._missing("address"):
                continue
            self._take(n, "postcode", "look like postcodes")
            if towns and self._missing("town"):
                self._take(max(towns, key=lambda m: towns[m]), "town", "follow from the postcodes")
            return

    def _town_score(self, postcode: Column, number: int) -> float:
        """How far a column follows from the postcode among different patients, less how often reports name it."""
        town, patient = self.columns[number], self._at("patient")
        if patient is not None:
            first = {key: row for row, key in reversed(list(enumerate(patient.cells)))}
            rows = sorted(first.values())
            postcode, alone = (Column(c.heading, [c.cells[row] for row in rows]) for c in (postcode, town))
        else:
            alone = town
        share = follows(postcode, alone)
        return 0.0 if share is not None and share < 0.7 else (share or 0.5) - town.in_text() + 0.5

    def _is_name(self, number: int) -> bool:
        return (
            self.columns[number].share(_NAME.fullmatch) > 0.85
            and self.columns[number].share(lambda v: len(v) < 50) > 0.95
        )

    def _identifiers(self) -> None:
        numbered = [n for n in self._free() if self._is_identifier(n)]
        codes = [n for n in numbered if self.columns[n].share(_POSTCODE.fullmatch) > 0.9]
        numbered = [n for n in numbered if n not in codes] or numbered
        person = [c for c in map(self._at, ("birth_date", "surname", "sex", "given_name")) if c is not None]
        if not person:
            person = [self.columns[n] for n in self._free() if self._is_name(n)][:2]
        if self._missing("patient") and numbered:
            steady = [n for n in numbered if all((follows(self.columns[n], c) or 1.0) > 0.97 for c in person)]
            repeats = [n for n in steady if self.columns[n].variety < 0.995]
            best = min(repeats or steady or numbered, key=lambda n: (round(self.columns[n].variety, 2), n))
            why = "are numbers from which the person follows" if best in repeats else "are the first numbers"
            self._take(best, "patient", why)
        rest = [n for n in numbered if n not in self.found]
        unique = [n for n in rest if self.columns[n].variety > 0.98]
        patient = self._at("patient")
        if self._missing("accession") and unique:
            lettered = [n for n in unique if self.columns[n].share(lambda v: re.search("[A-Za-z]", v)) > 0.5]
            self._take((lettered or unique[-1:])[0], "accession", "are numbers that never repeat")
        for n in rest:
            if n in self.found:
                continue
            one = patient is not None and (follows(self.columns[n], patient) or 1.0) > 0.97
            self._take(n, "visit" if one else "", "are numbers within one patient" if one else "are numbers")

    def _is_identifier(self, number: int) -> bool:
        column = self.columns[number]
        if column.share(_NUMBERED.fullmatch) < 0.9 or len(set(column.filled)) < min(3, len(column.filled)):
            return False
        sizes = sorted(map(len, column.filled))
        counting = (
            column.filled == [str(int(column.filled[0]) + i) for i in range(len(column.filled))]
            if column.filled[0].isdigit()
            else False
        )
        return not counting and 3 <= sizes[len(sizes) // 2] <= 24 and len(column.filled) > 0.5 * len(column.cells)

    def _personal(self) -> list[int]:
        """Name-like columns that are the same in all rows of a patient."""
        key = self._at("patient")
        names = [n for n in self._free() if self._is_name(n) and not self._words.is_common(self.columns[n])]
        return [n for n in names if key is None or (follows(key, self.columns[n]) or 1.0) > 0.8]

    def _given_name(self) -> None:
        """The column with the most given names of the packs."""
        known = {
            n: self.columns[n].share(lambda v: _part(self._words.given, words_of(v)) >= 0.5) for n in self._personal()
        }
        best = max(known, key=lambda n: known[n], default=None)
        if self._missing("given_name") and best is not None and known[best] > 0.25:
            self._take(best, "given_name", "are given names")

    def _names(self) -> None:
        """Surnames first, which the reports name most; a second name that varies less is taken as the given one."""
        rest = self._personal()
        rest.sort(key=lambda n: (-round(self.columns[n].in_text(), 1), -len(self.columns[n].filled), n))
        if self._missing("given_name") and len(rest) > 1:
            self._take(self._fewest(rest[:2]), "given_name", "look like names and vary less than the others")
        for n in rest:
            overlap = self.columns[n].in_text()
            if n in self.found:
                continue
            name = next((f for f in ("surname", "birth_name") if self._at(f) is None), "staff")
            self._take(n, name, "look like names" + (f", in the report of {overlap:.0%} of rows" if overlap else ""))
        for n in self._free():
            if self._is_name(n) and self.columns[n].in_text() > 0.2:
                name = next((f for f in ("radiologist", "prescriber", "staff") if self._at(f) is None), "")
                self._take(n, name, "look like names of staff: they stand in the reports of several patients")

    def _fewest(self, numbers: list[int]) -> int:
        return min(numbers, key=lambda n: (self.columns[n].variety, n))


class _Vocabulary:
    """Words of all packs that tell kinds of values apart."""

    def __init__(self, pack: Pack) -> None:
        packs = [load_pack(language) for language in available()]
        names = [p["detectors"]["names"] for p in packs]
        self.sexes = {collapse(str(key)) for p in packs for key in p["pack"]["sex_values"]}
        self.titles = {collapse(str(word)) for part in names for word in part["titles"]}
        self.streets = {collapse(str(word)) for p in packs for word in p["detectors"]["places"]["streets"]} - {""}
        self.clinical = pack.lists.clinical | _examinations(pack)
        self.common = pack.lists.common | packs[0].lists.stop
        self.given = {
            fold(str(word))
            for p in packs
            if "identities" in p
            for origin in p["identities"].get("origins", {}).values()
            for key in ("female", "male")
            for word in origin.get(key, ())
        }

    def is_common(self, column: Column) -> bool:
        """Whether most values are ordinary or clinical words."""
        return column.share(lambda v: _part(self.common | self.clinical, words_of(v)) >= 0.5) > 0.5


def _examinations(pack: Pack) -> set[str]:
    """Words of the pack's vocabulary of DICOM descriptions."""
    found: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                collect(str(key))
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)
        elif isinstance(value, str):
            found.update(words_of(value))

    if "dicom" in pack:
        collect(pack["dicom"])
    return found


@lru_cache(maxsize=1)
def _own_words() -> dict[str, str]:
    """Words that stand in the lists of one pack only, with its language."""
    owners: dict[str, set[str]] = defaultdict(set)
    for language in available():
        pack = load_pack(language)
        for word in pack.lists.stop | pack.lists.clinical | pack.lists.particles:
            owners[word].add(language)
    return {word: next(iter(owner)) for word, owner in owners.items() if len(owner) == 1 and len(word) > 1}


def _is_phone(value: str) -> bool:
    """A prefix or a zero before 9 to 13 digits, or ten digits in three or more groups."""
    digits = re.sub(r"\D", "", value)
    if not 9 <= len(digits) <= 13 or not _PHONE.fullmatch(value):
        return False
    return value[0] in "+0" or (len(digits) == 10 and len(re.findall(r"\d+", value)) >= 3)


def _part(known: Collection[str], words: list[str]) -> float:
    """Share of ``words`` of three or more letters that are ``known``."""
    long = [word for word in words if len(word) > 2]
    return sum(word in known for word in long) / len(long) if long else 0.0
