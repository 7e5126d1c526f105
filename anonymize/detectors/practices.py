"""Practices that bear the word for their work: ``Imagerie du Canal``, ``GIE IRM de la Baie``; letter-spaced heads.

The same words name examinations and wards. What makes them a name: a name behind them that is no word of medicine, and
a place where names stand (a line of its own, a legal form before, an address below, a preposition before a capital).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives, fold, folded, words_of

_STEP = re.compile(r"(?:[ \u00a0][\"“«]?|['’])(?P<word>[^\W\d_]+(?:-[^\W\d_]+)*)")
_OPENING = re.compile(r"[\W_]*$")
_CLOSED = re.compile(r"[ \t\u00a0\"”»]*(?:$|[\n|,:;·•(/—–.]|- |\t|  )")
_BELOW = re.compile(
    r"[^\n]{0,60}\n(?:[^\n]{0,80}\n){0,2}?[^\n]{0,60}?(?<![\w/.\-])\d{4,5} [A-ZÀ-Ý]{2}|[^\n]{0,60}\n\d{4,5} [A-Z]"
)
_SPACED = re.compile(r" *(?:[A-ZÀ-Ý'’\-–](?: {1,6}|(?=\n|$))){7,60}")
_HEADER = 600  # a letterhead stands in the first characters
_WORDS = 7


class Practices:
    """Finds them for :class:`anonymize.detectors.institutions.Institutions`.

    Args:
        pack: the language.
        words: ``institutions`` of its detectors.
    """

    def __init__(self, pack: Pack, words: Mapping[str, Any]) -> None:
        own = words.get("practices") or {}
        fields = [str(word) for word in own.get("fields", [])]
        rooms = [str(word) for word in own.get("rooms", [])]
        legal = [str(word) for word in own.get("legal", [])]
        self._heads = folded(words["heads"])
        self._rooms = folded(rooms)
        self._connectors = folded(words["connectors"])
        self._titles = pack.lists.titles
        self._kinds = folded([*fields, *rooms])
        months = [str(form) for forms in pack["pack"]["months"] for form in forms]
        self._ending = pack.lists.clinical | folded((*words["stop"], *words["heads"])) | self._titles | self._kinds
        self._blocked = self._ending | frozenset(
            fold(str(word))
            for word in (*own.get("no_names", []), *words.get("specialties", []), *months, *pack["pack"]["weekdays"])
        )
        # "IMAGERIE DU CANAL": a link behind the head; without one only where an address or a legal form helps
        kinds, links = alternatives([*fields, *rooms]), alternatives(own.get("links", []))
        self._head = Anchored([*fields, *rooms], rf"(?<![\w\-])(?P<head>{kinds})(?P<link> {links}(?!\w)|(?= ))")
        self._legal = Anchored(legal, rf"(?<![\w\-.]){alternatives(legal)}(?= [^\W\d_])")
        self._firsts = folded(own.get("firsts", []))
        ahead, into = alternatives(own.get("before", [])), alternatives(own.get("before_rooms", []))
        self._before = re.compile(rf"(?<!\w){ahead} ?$")
        self._before_room = re.compile(rf"(?<!\w){into} ?$")
        self._not_after = re.compile(rf"(?<!\w){alternatives(own.get('not_after', []))}(?!\w)[^.;\n]{{0,20}}$")
        self._long = tuple(head.replace(" ", "") for head in self._heads | self._kinds if len(head) > 6)
        self._active = bool(fields or rooms or legal)

    def find(self, view: View) -> Iterator[Span]:
        """Spans from the head or the legal form to the end of the name."""
        if not self._active:
            return
        done = 0
        for match in self._legal.finditer(view):
            if match.start() >= done and view.text[slice(*match.span())].isupper() and self._opens(view, match.start()):
                end = self._name(view, match.end(), heads=True)
                if end:
                    done = end
                    yield Span(match.start(), end, "institution", 0.8, "institutions.legal_form")
        for match in self._head.finditer(view):
            if match.start() >= done and view.text[match.start()].isupper():
                end = self._practice(view, match)
                if end:
                    done = end
                    yield Span(match.start(), end, "institution", 0.75, "institutions.practice")
        yield from self._letter_spaced(view)

    def _opens(self, view: View, start: int) -> bool:
        """Whether a legal form may stand here: in a text of capitals at the start of a line of the letterhead."""
        return view.case == "mixed" or (start < _HEADER and view.opens_line(start))

    def _practice(self, view: View, match: re.Match[str]) -> int | None:
        start, line = match.start(), view.line_of(match.start())[0]
        before = view.folded[max(line, start - 40) : start]
        room = match["head"] in self._rooms
        end = self._name(view, match.end(), heads=False)
        if not end:
            return None
        if start - line < 8 and _OPENING.match(before):
            first = re.split(r"[ \-]", view.folded[match.end() : end].strip(), maxsplit=1)[0]
            linked = not room and (match["link"] or first in self._firsts)
            if linked and _CLOSED.match(view.text, end):
                return end
            return end if _BELOW.match(view.text, end) and start < _HEADER and _CLOSED.match(view.text, end) else None
        if view.case != "mixed" or self._not_after.search(before):
            return None
        return (
            end
            if (self._before_room if room else self._before).search(before) and (match["link"] or not room)
            else None
        )

    def _name(self, view: View, position: int, heads: bool) -> int | None:
        """End of the words with capitals that stand here, links between them; ``heads``: behind words of the field."""
        limit = view.line_of(position)[1]
        end = None
        for _ in range(_WORDS):
            step = _STEP.match(view.text, position, limit)
            if not step:
                break
            word = view.folded[step.start("word") : step.end()]
            if word in self._connectors:
                pass
            elif not step["word"][0].isupper() or word in self._titles:
                break
            elif word in self._ending if end else word in self._blocked or word.split("-")[0] in self._blocked:
                if not heads or end:
                    break
            elif len(word) > 1:
                end = step.end()
            position = step.end()
        return end

    def _letter_spaced(self, view: View) -> Iterator[Span]:
        """``C L I N I Q U E   S A I N T - R O C H``: letters of a letterhead with blanks between them."""
        for start, _ in takewhile(lambda line: line[0] < _HEADER, view.lines):
            if view.text[start + 1 : start + 2] != " " and view.text[start] != " ":
                continue
            match = _SPACED.match(view.text, start)
            if not match:
                continue
            parts = [fold(part).replace(" ", "") for part in re.split(r" {2,}", match.group().strip())]
            whole = "".join(parts)
            rest = [word for part in parts[1:] for word in words_of(part) if word not in self._connectors]
            named = any(word not in self._blocked for word in rest)
            if named and parts[0] in self._heads | self._kinds:
                yield Span(match.start(), match.start() + len(match.group().rstrip()), "institution", 0.8, _RULE)
            elif len(parts) == 1 and whole.startswith(self._long):
                head = max((head for head in self._long if whole.startswith(head)), key=len)
                if len(whole) > len(head) + 3 and whole[len(head) :].strip("-") not in self._blocked:
                    yield Span(match.start(), match.start() + len(match.group().rstrip()), "institution", 0.7, _RULE)


_RULE = "institutions.letter_spaced"
