"""Citations of laws: their dates and numbers are public, whoever reads the report knows them."""

from __future__ import annotations

from anonymize.dates import forms_of
from anonymize.languages import Pack
from anonymize.text import Anchored, View, alternatives

PUBLIC = frozenset(("date", "id", "name", "visit_id", "phone"))
"""Kinds for which rules take parts of a citation."""


class Laws:
    """Finds "loi n° 78-17 du 6 janvier 1978", "D.Lgs. 30 giugno 2003, n. 196", "Ley Orgánica 3/2018, de 5 de diciembre".

    A citation begins with a word of ``protected.laws`` and has a number with a year in it ("2016/679") or a date with
    its month in words. A date in digits alone may be one of the patient's and is left to the detectors.
    """

    def __init__(self, pack: Pack) -> None:
        heads = pack["detectors"]["protected"]["laws"]
        forms = forms_of(pack)
        links = alternatives({*pack["detectors"]["dates"].get("day_articles", []), "du", "of"} | forms.link_words)
        link = rf"(?:(?:{links}[ ]?){{1,2}})?"
        sign = r"(?:(?:n|nr|no|num)\b[ ]?[.°º]{0,2}[ ]?)?"
        union = r"(?:[ ]?[(/]?(?:ue|eu|ce|eg|cee)\)?)?"
        number = (
            rf"(?:{union}[ ]?{sign}(?:(?:19|20)\d\d[\-/]\d{{1,5}}|\d{{1,5}}/(?:19|20)\d\d){union}(?!\w)"
            r"|[ ]?(?:n|nr|no)\b[ ]?[.°º]{0,2}[ ]?\d\d-\d{1,5}(?!\w))"  # France numbers by two digits until 1999
        )
        plain = r"[ ]?(?:n|nr|no|num)\b[ ]?[.°º]{0,2}[ ]?\d{1,5}(?![\w/])"
        day = rf"\d{{1,2}}(?:{forms.ordinals})?[.]?[ ]{link}{forms.month_regex}"
        dated = rf"[ ]?{link}{day}[ ]{link}(?:1[89]|20)\d\d(?!\w)"
        gap = r"[ ]?,?"
        self._pattern = Anchored(
            heads,
            rf"(?<!\w){alternatives(heads)}(?!\w)(?:{dated}(?:{gap}(?:{number}|{plain}))?|(?:{number}|{plain}){gap}{dated}"
            rf"|{number}(?:{gap}[ ]?{link}{day}(?!\w))?)",
        )

    def ranges(self, view: View) -> list[tuple[int, int]]:
        """Where citations stand, in order."""
        return [match.span() for match in self._pattern.finditer(view)]
