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


# Variants of what the rules generalise to; the names are made up.
@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Opa Wendelin brachte ihn in die Notaufnahme.", ["Wendelin"]),
        ("de", "laut Mutter (Anneliese Grothmann) seit gestern Fieber", ["Anneliese Grothmann"]),
        ("de", "Rücksprache mit Kardiologe Petzold erfolgt", ["Petzold"]),
        (
            "de",
            "Anwesend: Rotter (Onkologie), Sandvoss (Radiologie), Ebeling (Pathologie)",
            ["Rotter", "Sandvoss", "Ebeling"],
        ),
        ("de", "Fall 3 – Grothmann, Liselotte, 14.2.1951, Mammakarzinom", ["Grothmann, Liselotte", "14.2.1951"]),
        ("de", "08:15;Brückner, Hildegard;02.07.1949;CT Thorax", ["Brückner, Hildegard"]),
        ("de", "Anforderer ........: Dr. Sandvoss", ["Sandvoss"]),
        ("de", "Wohnort ......: Bad Elmenau", ["Bad Elmenau"]),
        ("de", "wohnhaft Lindenweg 4/2/15, Bergfelden", ["Lindenweg 4/2/15"]),
        ("de", "Hauptstraße 12 Top 4, 1160 Wien", ["Hauptstraße 12 Top 4"]),
        ("de", "Goethestraße 19–21, Bergfelden", ["Goethestraße 19–21"]),
        ("de", "Dr.-Heim-Straße 7, Bergfelden", ["Dr.-Heim-Straße 7"]),
        ("de", "Postfach 10 23 45", ["Postfach 10"]),
        ("de", "Durchwahl -3412", ["3412"]),
        ("de", "DK gelegt 29.4., Wechsel in vier Wochen", ["29.4."]),
        ("de", "MRSA negativ (4.5.), weiter isolieren", ["4.5."]),
        ("de", "Echokardiographie 11.1.: gute Pumpfunktion", ["11.1."]),
        ("de", "am vierzehnten März neunzehnhundertneunzig", ["vierzehnten März neunzehnhundertneunzig"]),
        ("de", "Sanatorium Waldfrieden, Station 3", ["Sanatorium Waldfrieden"]),
        ("de", "Überwiesen von der Gemeinschaftspraxis Seltenfels", ["Gemeinschaftspraxis Seltenfels"]),
        ("nl", "buurman Gerritsma belt de ambulance", ["Gerritsma"]),
        ("nl", "overleg met cardioloog Wiersinga", ["Wiersinga"]),
        ("nl", "gezien door co-assistent Terpstra vanmiddag", ["Terpstra"]),
        ("nl", "kinderarts van Lierop kijkt mee", ["van Lierop"]),
        ("nl", "1) Veldkamp, Hendrika – 12-12-1939 – 3320018", ["Veldkamp, Hendrika", "12-12-1939"]),
        ("nl", "08:30|Veldkamp, Ria|19-11-1990|MR LWK", ["Veldkamp, Ria"]),
        (
            "nl",
            "Aanwezig: van Oostrum (pulm.), Goudriaan (thoraxchir.), Ilhan (radioloog)",
            ["van Oostrum", "Goudriaan", "Ilhan"],
        ),
        ("nl", "AANVRAGER          : Wagemaker (orthopedie)", ["Wagemaker"]),
        ("nl", "Betreft: dhr. Cornelis (Kees) Wagemaker, geb. 23-09-1951", ["Kees) Wagemaker"]),
        ("nl", "Aan: mevr. J.M. 't Hart, huisarts", ["'t Hart"]),
        ("nl", "Operateur: de Wilgen, tijd 10 uur", ["de Wilgen"]),
        ("nl", "Kerkstraat 9 bus 2, 9270 Laarne", ["Kerkstraat 9 bus 2"]),
        ("nl", "Jan van Galenlaan 500-A, 3201 GZ Spijk", ["Jan van Galenlaan 500-A"]),
        ("nl", "Molenweg 41/A te Roosdrecht", ["Molenweg 41/A", "Roosdrecht"]),
        ("nl", "PLAATS             : 's-Gravenmoer", ["s-Gravenmoer"]),
        ("nl", "echo abdomen 5-2: galstenen; CT 8-2: geen abces", ["5-2", "8-2"]),
        ("nl", "Op 3-6 ontslagen, foto 4/9 normaal", ["3-6", "4/9"]),
        ("nl", "opname van 8 tot 10 juni", ["8", "10 juni"]),
        ("nl", "Maastricht, de negentiende juli 2022", ["negentiende juli 2022"]),
        ("nl", "Beeldcentrum Roosdrecht, campus Noord", ["Beeldcentrum Roosdrecht, campus Noord"]),
    ],
)
def test_variants_of_what_identifies_are_found(language: str, text: str, found: list[str]) -> None:
    spans = hidden(language, text)
    for part in found:
        assert any(part in span for span in spans), spans


@lru_cache(maxsize=2)
def tagging(language: str) -> Anonymizer:
    return Anonymizer(ReportsConfig(language=language), Keys(b"k" * 32))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Vater Herzinfarkt, Mutter Diabetes, Bruder Asthma, Schwester Brustkrebs."),
        ("de", "Der Patient wurde in gutem AZ und EZ in die Klinik aufgenommen."),
        ("de", "EF 52 % (Simpson), Mallampati II, Cormack/Lehane 1, ASA III."),
        ("de", "Naht nach Donati, Hampton-Hump rechts, Baker-Zyste links, Hoffa-Fettkörper ödematös."),
        ("de", "Morbus Hodgkin, Stadium II nach Ann-Arbor; Gleason-Score 7."),
        ("de", "Divertikulitis Hansen-Stock IIb, Bosniak-Zyste im Segment IVa."),
        ("de", "Virchow-Robin-Räume betont, Dawson-Finger, Dandy-Walker-Malformation."),
        ("de", "Im Labor Kreatinin 1.2, Kalium 4.1, INR 2.1, GOT, GPT und LDH normal."),
        ("de", "Chemotherapie mit Vincristin, Etoposid und Cyclophosphamid; Propofol, Remifentanil."),
        ("de", "Vena cava frei, Arteria carotis unauffällig, Milzhilus ohne Befund."),
        ("de", "Die Wunde heilte primär. Die Fäden wurden entfernt."),
        ("de", "Kontrolle in 2 Wochen, Belastung 20 kg, Gehstrecke 500 m, Stufe 4/5."),
        ("de", "HWK 5/6 Protrusion, LWK 3/4 Spondylose, Kraftgrad 4/5."),
        ("de", "Die Oberärztin und der Stationsarzt der Klinik wurden informiert."),
        ("de", "Tochter und Sohn informiert, Kollegen der Chirurgie übernehmen."),
        ("de", "Aneurysma der Aorta, Stenose der RIVA, Verschluss der RCX."),
        ("de", "Knöchel geschwollen, Narbe reizlos, Drain gezogen, Zange und Schlinge verwendet."),
        ("de", "Zementfreie Prothese (Corail), Palacos, Vicryl, Monocryl 3-0."),
        ("de", "Radiologie: Röntgen Thorax in zwei Ebenen, Herz und Lunge normal."),
        ("de", "Apgar 9/10/10, Tinetti 24/28, MMST 27/30, Barthel 85."),
        ("nl", "Overleg met Cardiologie en MDL, controle bij Orthopedie over 6 weken."),
        ("nl", "Coombs negatief, Widal negatief, Bence Jones eiwit negatief."),
        ("nl", "Terry-Thomas-teken negatief, Gilula intact, Kienböck nee."),
        ("nl", "Geen tekenen van Gilles de la Tourette; Asperger elders onderzocht."),
        ("nl", "Mallampati III, Cormack 2, ASA 3, Aldrete 9."),
        ("nl", "Fractuur volgens Weber B, Hepple 2A, Berndt-Harty II, Lund-Mackay 7/24."),
        ("nl", "Dandy-Walker uitgesloten, geen Arnold-Chiari, Down en Edwards negatief."),
        ("nl", "Apgar 7-9-10, GCS 15, MMSE 24/30, Norton 15, Katz 3."),
        ("nl", "Fraxiparine 2850 IE 1dd, Selokeen ZOC 50 mg, Madopar 62,5 mg."),
        ("nl", "van 3-4 weken tot 2-3 maanden klachten, 1-2 tabletten per dag."),
        ("nl", "Femoraal cam-type, alfahoek 66, Shentonlijn vloeiend, 4 laesies."),
        ("nl", "Bloedverlies 300 cc, huid Monocryl, Vicryl 2-0, Palacos."),
        ("nl", "Voorgeschiedenis: appendectomie, DM type 2, TIA waarvoor clopidogrel."),
        ("nl", "Arteria carotis doorgankelijk, vena cava gaaf, lamina papyracea intact."),
        ("nl", "Patiënt eet weinig, slaapt goed en loopt met rollator."),
        ("nl", "Vader hypertensie, moeder diabetes, zus migraine, broer gezond."),
        ("nl", "Basis MC I: geen Rolando, geen Galeazzi."),
        ("nl", "PET/CT uit voorzorg, MRI knie links, X-thorax normaal."),
        ("nl", "Er is geen aanwijzing voor een hernia L4-L5 of L5-S1."),
        ("nl", "Lactaat 4,2, kreatinine 201, leukocyten 9,8, trombocyten 210."),
    ],
)
def test_variants_of_what_is_clinical_stay_with_the_tagger_too(language: str, text: str) -> None:
    assert hidden(language, text) == []
    assert [text[span.start : span.end] for span in tagging(language).find(text)] == []
