"""Citations of laws stay; dates and numbers of people beside them go."""

from __future__ import annotations

import pytest

from anonymize.detectors.laws import Laws
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.text import View

CITED = [
    ("fr", "Conformément à la loi n° 78-17 du 6 janvier 1978 modifiée", "loi n° 78-17 du 6 janvier 1978"),
    ("fr", "la loi Informatique et Libertés du 6 janvier 1978", "loi Informatique et Libertés du 6 janvier 1978"),
    ("fr", "Règlement (UE) 2016/679 du 27 avril 2016.", "Règlement (UE) 2016/679 du 27 avril 2016"),
    ("es", "Ley Orgánica 3/2018, de 5 de diciembre, de Protección", "Ley Orgánica 3/2018, de 5 de diciembre"),
    ("es", "R.D. 1093/2010", "R.D. 1093/2010"),
    ("it", "D.Lgs. 30 giugno 2003, n. 196", "D.Lgs. 30 giugno 2003, n. 196"),
    ("it", "legge 24 dicembre 2012 n. 228", "legge 24 dicembre 2012 n. 228"),
    ("de", "Verordnung (EU) 2016/679", "Verordnung (EU) 2016/679"),
    ("nl", "wet van 22 augustus 2002 betreffende", "wet van 22 augustus 2002"),
    ("en", "Regulation (EU) 2016/679", "Regulation (EU) 2016/679"),
    ("fr", "Codes SNOMED : T-77100 M-81403.", "SNOMED : T-77100 M-81403"),
    ("es", "CIE-O 8500/3, carcinoma", "CIE-O 8500/3"),
    ("en", "LOINC 24627-2 chest CT", "LOINC 24627-2"),
]
# Words of laws that are words of the ward as well: a prescription, a reading, a payment, a refusal of treatment.
NOT_CITED = [
    ("fr", "ordonnance du 3 mai 2021"),
    ("fr", "traitement arrêté le 3 mai 2020"),
    ("fr", "règlement du 12 avril 2022"),
    ("it", "si legge il referto del 12/03/2021"),
    ("de", "Verordnung vom 3. Mai 2021"),
    ("nl", "besluit van 3 mei 2021"),
    ("en", "directive of 3 May 2021"),
    ("en", "ICD 12/05/2019, battery changed"),
    ("fr", "ATC 12/03/2021 sur l'IVA"),
    ("fr", "ATC : 2021-03-12"),
]


@pytest.mark.parametrize(("language", "text", "cited"), CITED)
def test_a_citation_is_found_whole(language: str, text: str, cited: str) -> None:
    assert [text[start:end] for start, end in Laws(load_pack(language)).ranges(View(text))] == [cited]


@pytest.mark.parametrize(("language", "text"), NOT_CITED)
def test_what_only_looks_like_a_law_is_none(language: str, text: str) -> None:
    assert Laws(load_pack(language)).ranges(View(text)) == []


def test_only_the_law_stays() -> None:
    text = "Dossier ouvert le 12 mars 2021. Selon la loi n° 78-17 du 6 janvier 1978, vous disposez d'un droit d'accès."
    spans = Anonymizer(ReportsConfig(), Keys(bytes(32))).find(text)
    assert [text[span.start : span.end] for span in spans] == ["12 mars 2021"]
