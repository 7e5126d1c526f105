"""Sections of a report: titles inline or on their own line, without the letterhead and the signature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from anonymize.languages import Pack
from anonymize.report import SECTIONS
from anonymize.text import Anchored, View, alternatives, fold

_LEAD = 120  # characters of marks before a title or a closing formula that are looked through
_MARKS = frozenset(" \t*#_>-•")
_ENDS = frozenset(".)/")


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
            rf"(?:^|(?<=\n)|(?<=\. )|(?<=\.\t))[ \t*#_>\-•]*(?:\d{{1,2}}[.)/][ ]?)?"
            rf"(?:(?P<colon>{titles})[ \t*_]*(?:[:]|[\-–.]+(?=[ \t]*(?:\n|$))|- )[ \t*_]*"
            rf"|(?P<alone>{titles})[ \t*_=\-]*(?=\n|$)|(?P<bare>{bare}) +(?=[^\W\d_]))",
        )
        self._closing = Anchored(words["closing"], rf"{alternatives(words['closing'])}(?!\w)")
        titles_of_persons = alternatives(pack["detectors"]["names"]["titles"])
        self._signature = re.compile(rf"(?:^|\n)[ \t\-*]*(?:{titles_of_persons})(?!\w)\.? ?[^\n]{{2,60}}(?=\n|$)")

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
        if begin and folded[begin - 1] == "." and folded[begin] == " ":
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
        view = View(text)
        found: dict[str, str] = dict.fromkeys(SECTIONS, "")
        titles = self.titles(view)
        if not titles:
            found["results"] = text[: self.signature(view, len(text) // 2)].strip()
            return found
        end_of_body = self.signature(view, titles[-1][1])
        for (_, start, name), following in zip(titles, [*(t[0] for t in titles[1:]), end_of_body], strict=True):
            body = text[start:following].strip()
            if body:
                found[name] = f"{found[name]}\n{body}" if found[name] else body
        return found

    def _name(self, title: str) -> str:
        return self._plain[re.sub(r"[ \-]+", " ", title)]

    @staticmethod
    def _lines_from_top(view: View, count: int) -> int:
        return view.lines[min(count, len(view.lines)) - 1][1] if view.lines else 0


_BUILT: dict[Path, SectionParser] = {}


def parser_of(pack: Pack) -> SectionParser:
    """The section parser of a pack."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = SectionParser(pack)
    return _BUILT[pack.folder]
