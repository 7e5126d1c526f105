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
