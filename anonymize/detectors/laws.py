"""Citations of laws and codes of public classifications: whoever reads the report knows their numbers."""

from __future__ import annotations

from anonymize.dates import forms_of
from anonymize.languages import Pack
from anonymize.text import Anchored, View, alternatives

PUBLIC = frozenset(("date", "id", "name", "visit_id", "phone", "postcode", "town"))
"""Kinds for which rules take parts of a citation."""

# "SNOMED: T-77100 M-81403", "SNOMED CT 254837009", "CIE-O 8500/3", "LOINC 24627-2", "ATC B01AB05". Two of these are also an
# implant and an intervention ("ICD 12/05/2019"): what follows must have the form of a code, and no date has it.
_GAP = r"[ ]?:?[ ,;+(]{1,3}"
_CODES = Anchored(
    ("snomed", "loinc", "atc", "cie", "cim", "icd", "adicap"),
    rf"(?<!\w)(?:snomed(?:[ \-](?:ct|rt))?(?:{_GAP}(?:[a-z]-[\da-f]{{5}}|\d{{6,18}})(?!\w)){{1,6}}"
    rf"|loinc{_GAP}\d{{1,5}}-\d(?!\w)|adicap{_GAP}[a-z\d]{{8,15}}(?!\w)|atc{_GAP}[a-z]\d\d[a-z]{{1,2}}(?:\d\d)?(?!\w)"
    rf"|(?:cie|cim|icd)(?:[ \-](?:o-3|o|9-mc|9-cm|10-gm|10-es|9|10|11))?"
    rf"(?:{_GAP}(?:[a-z]\d\d(?:\.\w{{1,4}})?|\d{{4}}/\d)(?![\w/])){{1,6}})",
)


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
        return sorted(match.span() for pattern in (self._pattern, _CODES) for match in pattern.finditer(view))
