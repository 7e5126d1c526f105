"""Sections of a report: titles inline or on their own line, without the letterhead and the signature.

A report without titles (a letter) gives its body as ``results``; a conclusion that only a cue opens ("in summary") is
told apart from the running text. All words come from ``sections.yaml`` of the pack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from anonymize.languages import Pack
from anonymize.report import SECTIONS
from anonymize.text import Anchored, View, alternatives, collapse, fold

_LEAD = 120  # characters of marks before a title or a closing formula that are looked through
_MARKS = frozenset(" \t*#_>-•")
_ENDS = frozenset(".)/")
# A line that may be a title with blanks inside ("C O N C L U S I O N"), a Roman number or a frame around it.
_LOOSE = re.compile(
    r"(?m)^[ \t*#_>=\-•|]*(?:(?:\d{1,2}|[ivx]{1,4}|[a-h])[ ]?[.)/°\-][ .)\-]*)?"
    r"(?P<title>[^\W\d_][^\n:.;,?!]{3,45}?)[ \t*_=\-|]*(?::|$)"
)
_RULE = re.compile(r"[ \t]*[=\-_*~.]{3,}[ \t]*(?:\n|$)")  # the line drawn under a title
_SENTENCE = re.compile(r"[^\W\d_]{2,}(?:[^\w\n]+[\w'’\-]+){3,}[^\n]*[.!?][ \t]*$|(?:[^\W\d_]+[^\w\n]+){7,}")
_NEXT_LINE = re.compile(r"\n[ \t]*(?=[^\W\d_a-zß-öø-ÿ]|[\-–*•])")  # a line that begins with a capital or as a list item
_STOPPED = re.compile(r"[\w)]{2}[.!?]\s*$")  # not an initial
# the end of a sentence, not of an abbreviation: a word of four letters before, a capital or a break behind
_FIRST_STOP = re.compile(r"(?<=[^\W\d_]{4})[.?!](?=\s+[^\W\d_a-zß-öø-ÿ])|(?<=\w{2})[.?!](?=[ \t]*\n|\s*$)|\n\s*\n")
_NUMBERS = re.compile(r"(?:[^\n]*\d){6}[^\n]*")  # dates, phones and identifiers of a header line


@dataclass(frozen=True)
class SectionSpan:
    """``text[start:end]`` belongs to section ``name``; a section may have several."""

    name: str  # one of SECTIONS
    start: int
    end: int


class SectionParser:
    """Splits the text of one report by the titles of the pack. Build it once per pack."""

    def __init__(self, pack: Pack) -> None:
        words = pack["sections"]
        self._section = {fold(str(title)): name for name in SECTIONS for title in words[name]}
        self._plain: dict[str, str] = {}
        for form, name in self._section.items():
            self._plain.setdefault(re.sub(r"[ \-]+", " ", form), name)
        titles = alternatives(self._section)
        bare = alternatives(words["bare"])
        # a title with a colon or dash, a title alone on its line, or one of the plain titles before a sentence
        self._title = Anchored(
            [*self._section, *words["bare"]],
            rf"(?:^|(?<=\n)|(?<=[.?!] )|(?<=\.\t))[ \t*#_>\-•]*(?:\d{{1,2}}[.)/][ ]?)?"
            rf"(?:(?P<colon>{titles})[ \t*_]*(?:[:]|[\-–.]+(?=[ \t]*(?:\n|$))|- )[ \t*_]*"
            rf"|(?P<alone>{titles})[ \t*_=\-]*(?=\n|$)|(?P<bare>{bare}) +(?=[^\W\d_]))",
        )
        self._closing = Anchored(words["closing"], rf"{alternatives(words['closing'])}(?!\w)")
        titles_of_persons = alternatives(pack["detectors"]["names"]["titles"])
        self._signature = re.compile(rf"(?:^|\n)[ \t\-*]*(?:{titles_of_persons})(?!\w)\.? ?[^\n]{{2,60}}(?=\n|$)")
        self._letters = {collapse(str(title)): name for name in SECTIONS for title in words[name]}
        self._closing_line = re.compile(rf"(?:^|\n)[ \t\-*]*(?:{alternatives(words['closing'])})(?!\w)")
        self._closing_inline = re.compile(rf"(?<=[.!;] )(?:{alternatives(words['closing'])})(?!\w)[^\n]{{0,60}}\s*$")
        greeting = rf"(?:{alternatives(words.get('salutation', []))})(?!\w)[^\n,.:;]{{0,60}}"
        self._salutation = re.compile(rf"(?:^|\n)[ \t]*{greeting}(?:,[ \t]*{greeting})?(?:[,:][ \t]*|(?=\n|$))")
        self._opening = re.compile(rf"\s*(?:{alternatives(words.get('opening', []))})(?!\w)")
        self._cue = re.compile(
            rf"(?:^|[\n.!?;][ \t]*)(?P<cue>(?:{alternatives(words.get('conclusion_cues', []))})(?!\w)[ ,:]*)"
        )
        self._after_body = re.compile(rf"[ \t\-*]*(?:{alternatives(words.get('after_body', []))})(?!\w)")
        persons = rf"(?:{titles_of_persons})(?!\w)[^\n]{{2,60}}$"
        self._head_line = re.compile(rf"[ \t\-*|#]*(?:(?:{alternatives(words.get('letterhead', []))})(?!\w)|{persons})")
        self._tail_line = re.compile(rf"[ \t\-*]*(?:(?:{alternatives(words.get('signature', []))})(?!\w)|{persons})")

    def titles(self, view: View) -> list[tuple[int, int, str]]:
        """Start and end of each title, and the section that it opens."""
        found = []
        for match in self._candidates(view):
            group = match.lastgroup or ""
            start, end = match.span(group)
            line_start = view.folded.rfind("\n", 0, match.start() + 1) + 1
            if (
                line_start < start
                and view.folded[line_start:start].strip(" \t*#_>-•0123456789.)/")
                and not view.text[start].isupper()
            ):
                continue
            at_line_start = not view.folded[line_start:start].strip(" \t*#_>-•0123456789.)/")
            if group != "colon" and not at_line_start:
                continue
            if group == "bare" and view.case == "mixed" and not view.text[start:end].isupper():
                continue
            found.append((match.start(), match.end(), self._name(match.group(group))))
        return found

    def _candidates(self, view: View) -> Iterator[re.Match[str]]:
        """Matches of the title pattern, which is tried only where a line or a sentence begins with a title's word."""
        folded, done = view.folded, 0
        for start in self._title.starts(view):
            begin, least = start, max(done, view.line_of(start)[0], start - _LEAD)
            while begin > least and folded[begin - 1] in _MARKS:
                begin -= 1
            match = None
            if folded[begin - 1 : begin] in _ENDS:  # the number of an enumeration
                number_at = begin - 1
                while number_at > least and folded[number_at - 1].isdigit():
                    number_at -= 1
                while number_at > least and folded[number_at - 1] in _MARKS:
                    number_at -= 1
                match = self._at_boundary(folded, number_at)
            match = match or self._at_boundary(folded, begin)
            if match and match.end() > start:
                done = match.end()
                yield match

    def _at_boundary(self, folded: str, begin: int) -> re.Match[str] | None:
        """The title whose leading marks begin at ``begin``, where a line or a sentence begins there."""
        if begin and folded[begin - 1] in ".?!" and folded[begin] == " ":
            begin += 1
        return self._title.regex.match(folded, begin)

    def edges(self, view: View) -> tuple[int, int]:
        """Where the letterhead ends and where the signature begins."""
        titles = self.titles(view)
        tail = self.signature(view, titles[-1][1] if titles else len(view.text) // 2)
        return (titles[0][0] if titles else self._lines_from_top(view, 6)), tail

    def signature(self, view: View, after: int) -> int:
        """Start of the closing formula or the signature behind ``after``; the end of the text where there is none."""
        for match in self._closing.finditer(view):
            start = view.line_of(match.start())[0]
            if start > after and not view.folded[max(start, match.start() - _LEAD) : match.start()].strip(" -*"):
                return start
        lines = [line for line in view.lines[-4:] if line[0] >= after]
        for start, end in lines:
            if self._signature.match(view.folded, max(0, start - 1), end):
                return start
        blank = view.text.rstrip().rfind("\n\n")
        tail = len(view.text.rstrip()) - blank
        return (
            blank + 2
            if blank >= after and tail < 120 and view.text[blank:].strip().count("\n") <= 3
            else len(view.text)
        )

    def parse(self, text: str) -> dict[str, str]:
        """Text of each section of :data:`SECTIONS`; without any title all of the body is ``results``."""
        found: dict[str, str] = dict.fromkeys(SECTIONS, "")
        for span in self.spans(text):
            body = text[span.start : span.end]
            found[span.name] = f"{found[span.name]}\n{body}" if found[span.name] else body
        return found

    def spans(self, text: str) -> list[SectionSpan]:
        """Where each section stands in ``text``, in order, without its title and without blanks at the ends."""
        view = View(text)
        titles, first, end = self._frame(view)
        bounds = [
            (name, start, following) for (_, start, name), (following, _, _) in pairwise([*titles, (end, end, "")])
        ]
        names = {name for name, _, _ in bounds}
        if not titles or names == {"conclusion"}:
            # a letter, or a body that only its conclusion is titled in
            bounds = [*self._letter(view, self.head(view, first), min(first, end)), *bounds]
        elif "results" not in names:
            last = max(index for index, bound in enumerate(bounds) if bound[0] != "conclusion")
            bounds[last : last + 1] = self._untitled_body(view, *bounds[last])
        if "conclusion" not in names:
            bounds = [part for bound in bounds for part in self._by_cue(view, *bound)]
        return [span for bound in bounds if (span := _trimmed(text, *bound)).end > span.start]

    def is_title(self, line: str) -> bool:
        """Whether ``line`` begins with a title of a section."""
        view = View(line)
        return bool(self._with_loose(view, self.titles(view)))

    def body(self, text: str) -> tuple[int, int]:
        """Where the letterhead ends (the first title, or the body of a letter) and where closing and signature begin."""
        view = View(text)
        titles, first, end = self._frame(view)
        names = {name for _, _, name in titles}
        begin = self.head(view, first) if names <= {"conclusion"} else first
        return min(begin, end), end

    def _frame(self, view: View) -> tuple[list[tuple[int, int, str]], int, int]:
        """Titles, the start of the first one (or the end of the text) and the end of the body."""
        titles = self._with_loose(view, self.titles(view))
        length = len(view.text)
        # a letter can begin with the words that close another ("thank you for ..."): look in its second half only
        after = titles[-1][1] if titles else (self.head(view, length) + length) // 2
        return titles, (titles[0][0] if titles else length), self.tail(view, after)

    def head(self, view: View, limit: int) -> int:
        """Where the body of a report without titles begins, before ``limit``: behind salutation or letterhead."""
        salutations = [m for m in self._salutation.finditer(view.folded, 0, limit) if m.start() < 0.6 * len(view.text)]
        if salutations:
            return salutations[-1].end()
        begin = 0
        gap = 0
        for start, end in view.lines[:30]:
            line = view.folded[start:end]
            if start >= limit:
                break
            stopped = line.rstrip()[-1:] in (".", "!", "?")
            known = self._head_line.match(line) or "@" in line or _NUMBERS.match(line)
            if known and not (stopped and _SENTENCE.search(line)):
                begin, gap = end, 0
            elif line.strip():
                gap += 1
                if gap > 2 or stopped:
                    break
        return min(begin, limit)

    def tail(self, view: View, after: int) -> int:
        """Where salutation and signature begin behind ``after``; the end of the text where there are none."""
        end = len(view.text)
        match = self._closing_line.search(view.folded, max(0, after - 1))
        if match:
            end = match.start() + 1 if view.folded[match.start()] == "\n" else match.start()
        elif match := self._closing_inline.search(view.folded, after):
            end = match.start()
        lines = [line for line in view.lines if line[0] >= after and line[1] <= end][-6:]
        for index, (start, _) in enumerate(lines):
            alone = view.folded[max(0, start - 2) : start] == "\n\n"
            # a finding below it: not the end after all
            if self._around(view, lines[index], alone) and not any(
                self._says_something(view, line) for line in lines[index + 1 :]
            ):
                return start
        return end

    def _around(self, view: View, line: tuple[int, int], alone: bool) -> bool:
        """Whether a line behind the body belongs to what follows it: a signature, who came along, copies."""
        text = view.folded[line[0] : line[1]]
        if self._after_body.match(text):
            return True
        sentence = _STOPPED.search(text) and _SENTENCE.search(text)
        return bool(self._tail_line.match(text)) and (alone or not sentence)

    def _says_something(self, view: View, line: tuple[int, int]) -> bool:
        text = view.folded[line[0] : line[1]]
        return bool(_STOPPED.search(text) and _SENTENCE.search(text)) and not self._around(view, line, True)

    def _with_loose(self, view: View, titles: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        """``titles`` and those with blanks inside, a Roman number or a frame."""
        more = []
        for match in _LOOSE.finditer(view.folded):
            name = self._letters.get(collapse(match["title"]))
            if name and not any(start < match.end() and match.start() < end for start, end, _ in titles):
                more.append((match.start(), match.end(), name))
        return sorted([*titles, *more])

    def _letter(self, view: View, start: int, end: int) -> Iterable[tuple[str, int, int]]:
        """The body of a letter; its first sentence is the indication where it says why the patient was sent."""
        opening = self._opening.match(view.folded, start, end) if start < end else None
        if opening:
            stop = _FIRST_STOP.search(view.text, opening.end(), end)
            if stop and view.folded[stop.end() : end].strip():
                yield "indication", start, stop.end()
                start = stop.end()
        yield "results", start, end

    def _untitled_body(self, view: View, name: str, start: int, end: int) -> Iterable[tuple[str, int, int]]:
        """Findings that follow indication or technique without a title: from the next paragraph or full line on."""
        lead = start + len(view.text[start:end]) - len(view.text[start:end].lstrip())
        cut = _NEXT_LINE.search(view.text, lead, end)
        if cut is None or not view.folded[cut.end() : end].strip():
            yield name, start, end
            return
        yield name, start, cut.start()
        yield "results", cut.start(), end

    def _by_cue(self, view: View, name: str, start: int, end: int) -> Iterable[tuple[str, int, int]]:
        cue = list(self._cue.finditer(view.folded, start, end))[-1:] if name == "results" else []
        yield name, start, cue[0].start("cue") if cue else end
        if cue:
            yield "conclusion", cue[0].end("cue"), end

    def _name(self, title: str) -> str:
        return self._plain[re.sub(r"[ \-]+", " ", title)]

    @staticmethod
    def _lines_from_top(view: View, count: int) -> int:
        return view.lines[min(count, len(view.lines)) - 1][1] if view.lines else 0


def _trimmed(text: str, name: str, start: int, end: int) -> SectionSpan:
    """The span without blanks at its ends and without the line drawn under its title."""
    end = max(start, end)
    while start < end and text[start].isspace():
        start += 1
    rule = _RULE.match(text, start, end)
    start = rule.end() if rule else start
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return SectionSpan(name, start, end)


_BUILT: dict[Path, SectionParser] = {}


def parser_of(pack: Pack) -> SectionParser:
    """The section parser of a pack."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = SectionParser(pack)
    return _BUILT[pack.folder]
