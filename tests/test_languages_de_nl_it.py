"""German, Dutch and Italian rules on sentences written for these tests."""

from __future__ import annotations

from functools import lru_cache

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig


@lru_cache(maxsize=4)
def anonymizer(language: str) -> Anonymizer:
    return Anonymizer(ReportsConfig(language=language, ner="none"), Keys(b"k" * 32))


def hidden(language: str, text: str) -> list[str]:
    return [text[span.start : span.end] for span in anonymizer(language).detect(text)]


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Sehr geehrte Frau Kollegin Tannhuber,", ["Tannhuber"]),
        ("de", "Prim. Univ. Prof. Dr. Alois Krammel", ["Alois Krammel"]),
        ("de", "Z. n. Knie-TEP links 12/17, Pneumonie 3/21", ["12/17", "3/21"]),
        ("de", "Cholezystektomie 2019, sonst gesund", ["2019"]),
        ("de", "wohnhaft Lindenallee 14, Bergfelden", ["Lindenallee 14", "Bergfelden"]),
        ("de", "Bergfelden, 03.04.2021\n", ["Bergfelden", "03.04.2021"]),
        ("de", "am dritten März zweitausendneunzehn", ["dritten März zweitausendneunzehn"]),
        ("nl", "dr. J. Wagemaker belt terug", ["dr. J. Wagemaker"]),
        ("nl", "gezien met A.B. van der Molenkamp vandaag", ["A.B. van der Molenkamp"]),
        ("nl", "Vonderlaan 12, 3456 KL Roosdrecht", ["Vonderlaan 12", "3456 KL", "Roosdrecht"]),
        ("nl", "zie brief van 4 mrt 2020, Postbus 312", ["4 mrt 2020", "Postbus 312"]),
        ("nl", "BSN 123456782", ["123456782"]),
        ("it", "G.F., 59 anni, iperteso", ["G.F."]),
        (
            "it",
            "Dott.ssa Ornella Gentile, Via Garibaldi 12, Montelago",
            ["Ornella Gentile", "Via Garibaldi 12", "Montelago"],
        ),
        ("it", "Nel novembre del 2011 stava bene", ["novembre del 2011"]),
        ("it", "vive con il coniuge a Torrevara", ["Torrevara"]),
        ("it", "ricovero presso il Policlinico Umberto I", ["Policlinico Umberto I"]),
    ],
)
def test_what_identifies_is_found(language: str, text: str, found: list[str]) -> None:
    spans = hidden(language, text)
    for part in found:
        assert any(part in span for span in spans), spans


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Laut Mutter den Eindruck, dass Tochter und Sohn gesund sind."),
        ("de", "Klinik und Poliklinik für Innere Medizin, Stationsarzt und Operateur anwesend."),
        ("de", "Im distalen Colon eine 2 cm große Raumforderung, Diclo 1 zur Nacht."),
        ("de", "Gonarthrose, Kellgren und Lawrence Grad 3, Baker-Zyste, Morbus Crohn."),
        ("de", "6700 Leukozyten, Kraftgrad 4/5, NRS 3/10, RR 120/80 mmHg."),
        ("nl", "Bakerse cyste, ziekte van Crohn, graad 2 volgens Kellgren, 1250 mg paracetamol."),
        ("nl", "Patiënt is 6,5 jaar geleden gestopt met roken; RR 120/80."),
        ("it", "Frattura di Colles, cisti di Baker, morbo di Crohn, stadio III."),
        ("it", "Terapia con ramipril 5 mg, PA 145/90 mmHg, dolore irradiato al braccio."),
    ],
)
def test_what_is_clinical_stays(language: str, text: str) -> None:
    assert hidden(language, text) == []


@pytest.mark.parametrize("language", ["de", "nl", "it"])
def test_templates_give_labelled_documents_and_documents_without_names(language: str) -> None:
    from anonymize.languages import load_pack
    from anonymize.ner.grammar import Grammar

    documents = list(Grammar(load_pack(language)).documents(60, seed=3))
    kinds = {kind for document in documents for _, _, kind in document.spans}
    assert {"name", "town", "institution", "address", "date", "phone"} <= kinds
    assert any(not document.spans for document in documents)
    assert not any("{" in document.text for document in documents)


def test_a_dutch_title_is_hidden_with_its_name_and_stays_in_the_surrogate() -> None:
    from anonymize.report import Identity, Report

    report = Report(1, Identity(patient_id="1"), "2020-05-04", "", "Mevrouw Wagemaker werd gezien door dr. Molenkamp.")
    text = anonymizer("nl").anonymize(report).report.text
    assert text.startswith("Mevrouw ")
    assert " door dr. " in text
    assert "Wagemaker" not in text
    assert "Molenkamp" not in text


@pytest.mark.parametrize(
    ("language", "text", "gone", "left"),
    [
        (
            "it",
            "Residente in Viale dei Lecci n. 118/bis, scala B, int. 7 - 29122 Piacenza (PC)",
            ["Viale dei Lecci n. 118/bis, scala B, int. 7", "29122", "Piacenza", "PC"],
            ["Residente"],
        ),
        (
            "it",
            "Indirizzo: Corso Garibaldi, 45 palazzina 3 piano 2, Vigevano",
            ["Corso Garibaldi, 45 palazzina 3 piano 2"],
            ["Indirizzo"],
        ),
        ("it", "abita in Loc. Poggiolino 22/A, vicino al bivio", ["Loc. Poggiolino 22"], ["bivio"]),
        ("it", "C.da Serra Alta km 3,5 - 95030 Nicolosi", ["C.da Serra Alta km 3", "95030", "Nicolosi"], []),
        ("it", "trovato in via Prè 57 dai soccorsi", ["via Prè 57"], ["soccorsi"]),
        ("it", "ambulatorio di Camporgiano (LU), tel. 0583 555219", ["LU", "0583 555219"], []),
        (
            "it",
            "C.F. RSSMRA48T19F205D, tessera sanitaria 80380001200412345678",
            ["RSSMRA48T19F205D", "80380001200412345678"],
            ["C.F."],
        ),
        ("it", "AVS 756.4412.8873.09, assicurato n. 80774412", ["756.4412.8873.09", "80774412"], []),
        ("it", "codice STP STP0301118220194", ["0301118220194"], ["codice"]),
        ("it", "OMCeO Parma n. 4471; iscrizione albo PR/02271", ["PR/02271"], []),
        ("it", "richiesta n. LAB/23/0661208, campione n. 22-10453", ["LAB/23/0661208", "22-10453"], ["richiesta"]),
        ("it", "ricoverato il ventuno ottobre duemilaventidue", ["ventuno ottobre duemilaventidue"], ["ricoverato"]),
        ("it", "controllo il 12-giu-2023 e a settembre 2022", ["12-giu-2023"], ["controllo"]),
        ("it", "Anestesista Garbin, strumentista Ivana Dal Moro.", ["Garbin", "Ivana", "Dal Moro"], ["Anestesista"]),
        ("it", "medico grassi, inf deborah, paziente dimesso", ["grassi", "deborah"], ["dimesso"]),
        (
            "it",
            "COGNOME | NOME | DATA NASCITA | ESAME | RADIOLOGO\nValenti | Oreste | 09/09/1931 | RX torace | Pace",
            ["Valenti", "Oreste", "09/09/1931", "Pace"],
            ["RX torace"],
        ),
        ("it", "Paziente: MAGNANI^LUISA\nModalità: TC", ["MAGNANI", "LUISA"], ["Modalità"]),
        (
            "it",
            "Trasferita dall'Ospedale San Biagio di Domodossola il 4/7/2018.",
            ["Ospedale San Biagio di Domodossola", "4/7/2018"],
            ["Trasferita"],
        ),
        (
            "it",
            "tel tre quattro otto uno due zero cinque nove sette",
            ["tre quattro otto uno due zero cinque nove sette"],
            ["tel"],
        ),
        (
            "it",
            "Concordato con Nazzareno e con la dott.ssa Ylenia Cusumano.",
            ["Nazzareno", "Ylenia Cusumano"],
            ["Concordato"],
        ),
        (
            "it",
            "Displasia trocleare tipo B di Dejour, indice di Caton-Deschamps 1,3.",
            [],
            ["Dejour", "Caton-Deschamps"],
        ),
        ("it", "Frattura tipo Le Fort II, ESA Fisher 2, Hunt-Hess 1.", [], ["Le Fort", "Fisher", "Hunt-Hess"]),
        ("it", "Anastomosi di Martin-Gruber, canale di Guyon, Froment negativo.", [], ["Martin-Gruber", "Guyon"]),
        ("it", "Lisfranc e Chopart allineati, angolo di Böhler 28°.", [], ["Lisfranc", "Böhler"]),
        ("it", "PA 130/80 mmHg, FC 72, NRS 4/10, MMSE 22/30.", [], ["130/80", "4/10", "22/30"]),
        ("it", "Terapia: Sinemet, Madopar, Tranex e Keppra 1 g.", [], ["Sinemet", "Madopar", "Keppra"]),
        ("it", "Densità ACR B, BI-RADS 2 per Tabar.", [], ["ACR B", "BI-RADS 2"]),
        ("it", "Iomeron 400 95 ml, apparecchio Philips Achieva.", [], ["Iomeron", "Achieva"]),
        ("it", "Referto: DISCOPATIA L5-S1, PROTRUSIONE.", [], ["DISCOPATIA", "PROTRUSIONE"]),
        ("it", "0008,0060 CT\n0018,0050 1.25\n0028,0010 512", [], ["0008,0060", "0018,0050"]),
        ("it", "Cedimento di T12 grado 2 secondo Genant, T-score -3,1.", [], ["Genant", "T-score"]),
        ("it", "Mega-apofisi trasversa L5, Castellvi IIA.", [], ["Castellvi"]),
        ("it", "Indice di Hakim-Adams, indice di Evans 0,35.", [], ["Hakim-Adams", "Evans"]),
        ("it", "Accesso per via endovenosa, per via orale 3 volte al dì.", [], ["via endovenosa", "via orale"]),
        ("it", "Ernia di Spigelio, diverticolo di Zenker, esofago di Barrett.", [], ["Zenker", "Barrett"]),
        ("it", "Diametro 14 x 12 mm, segmento VI di Couinaud.", [], ["14 x 12", "Couinaud"]),
        ("it", "Rischio T21 1/8400, traslucenza 1,4 mm.", [], ["1,4 mm"]),
        ("it", "BMI 34, superficie corporea secondo Du Bois 2,1 mq.", [], ["34", "Du Bois"]),
        ("it", "Due noduli su tre, uno nuovo, quattro stabili.", [], ["Due noduli"]),
        ("it", "IgE per Aspergillus, ANCA e ANA negativi.", [], ["Aspergillus", "ANCA"]),
    ],
)
def test_invented_italian_variants(language: str, text: str, gone: list[str], left: list[str]) -> None:
    spans = anonymizer(language).find(text)
    covered = {place for span in spans for place in range(span.start, span.end)}
    for part, wanted in [*((part, True) for part in gone), *((part, False) for part in left)]:
        start = text.index(part)
        places = [place for place in range(start, start + len(part)) if text[place].isalnum()]
        assert all((place in covered) == wanted for place in places), (part, spans)
