"""Spanish and English packs: addresses, institutions, protected terms, grammar, and how much they find on gold."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import pytest

from anonymize.config import load_config
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.measure import measure, read_gold
from anonymize.ner.grammar import Grammar
from anonymize.policy import ReportsConfig
from anonymize.text import View

LANGUAGES = ("es", "en")


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rules_of(language: str) -> Anonymizer:
    return Anonymizer(load_config(ReportsConfig, None, [f"language={language}", "ner=none"]), Keys(os.urandom(32)))


@pytest.fixture(scope="module")
def spanish() -> Anonymizer:
    return rules_of("es")


@pytest.fixture(scope="module")
def english() -> Anonymizer:
    return rules_of("en")


def hidden(anonymizer: Anonymizer, text: str) -> str:
    """``text`` with each found span as ``#``."""
    for span in reversed(anonymizer.detect(text)):
        text = text[: span.start] + "#" + text[span.end :]
    return text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Domicilio: Calle Inventada 7, 2º B.\nCP: 28999.\nSexo: V.", "Domicilio: #.\nCP: #.\nSexo: V."),
        ("Dirección: Villa Rosalía 12, Entrepeñas\nTratamiento: reposo", "Dirección: #\nTratamiento: reposo"),
        ("Vive en la Avda. de los Robledales, 14, 3.º A.", "Vive en la #."),
        ("C/Robledales nº34 - 1º. 28999 Getafe", "#. # #"),
        ("Plaza del Robledal s/n, 28999 Madrid (España)", "#, # # (España)"),
        ("Ctra. N-340, km 12,5. Mejoría clara.", "#. Mejoría clara."),
        ("Médico: Elvira Quintana Robles  NºCol: 28 28 12345.", "Médico: #  NºCol: #."),
        ("Informe clínico del paciente: Presentamos un varón sano.",) * 2,
        ("La AV era de 0,3 en OD y de 0,6 en OI.",) * 2,
        ("Polígono de Willis permeable, 2 ramas.",) * 2,
    ],
)
def test_spanish_addresses_and_headers(spanish: Anonymizer, text: str, left: str) -> None:
    assert hidden(spanish, text) == left


def test_spanish_institutions_end_with_their_sentence(spanish: Anonymizer) -> None:
    assert hidden(spanish, "Ingresó en el Hospital General de Robledillo. Durante el ingreso mejoró.") == (
        "Ingresó en el #. Durante el ingreso mejoró."
    )
    assert hidden(spanish, "Remitido al Hospital 3 de Mayo de Robledillo ayer.") == "Remitido al # ayer."
    assert hidden(spanish, "Seguimiento en el Hospital Clínico Universitario, sin cambios.") == (
        "Seguimiento en el #, sin cambios."
    )
    assert hidden(spanish, "Acudió al hospital general más cercano.") == "Acudió al hospital general más cercano."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Patient lives alone at 12 Example Lane, Leeds LS99 9ZZ.", "Patient lives alone at #, # #."),
        ("Send it to 123 Example Street Apt. 4\nNewtown, CA 99999 please.", "Send it to #\n# please."),
        ("ZIP: 99999-1234", "ZIP: #"),
        ("She moved here from Slovenia.", "She moved here from #."),
        ("Date of surgery: see below.\nDepartment of General and Visceral Surgery",) * 2,
        ("Signed by Vera Exampleton, MD, PhD.", "Signed by #, MD, PhD."),
        ("Tissue sent to Pathology at St Elsewhere Hospital.", "Tissue sent to Pathology at #."),
        ("Triage category: 2 (Orange). Barrett's oesophagus, Prague C2M3.",) * 2,
        ("Oxford knee score 31; Glasgow Coma Scale 15; Rome criteria met.",) * 2,
        ("ECG: sinus rhythm. DLP 512 mGy cm. Score 3.",) * 2,
    ],
)
def test_english_addresses_and_headers(english: Anonymizer, text: str, left: str) -> None:
    assert hidden(english, text) == left


@pytest.mark.parametrize(
    ("language", "term", "person"),
    [
        ("es", "Quiste de Baker de 3 cm. Gonartrosis grado III de Kellgren y Lawrence.", "Dr. Baker"),
        ("es", "Signo de Murphy negativo. Catéter de Foley. Clasificación de Garden.", "Dra. Murphy"),
        ("en", "Baker cyst. Kellgren and Lawrence grade 3. Swan-Ganz catheter.", "Dr Baker"),
        ("en", "Murphy sign negative; Colles fracture; Jackson-Pratt drain.", "Dr Murphy"),
    ],
)
def test_an_eponym_stays_and_a_person_of_that_name_goes(language: str, term: str, person: str) -> None:
    anonymizer = rules_of(language)
    assert hidden(anonymizer, term) == term
    name = person.split()[-1]
    assert name not in hidden(anonymizer, f"{term}\n\n{person}\n")[len(term) :]


def test_grammar_is_broad_and_its_labels_are_clean(language: str) -> None:
    pack = load_pack(language)
    rules = pack["templates"]["rules"]
    negatives = {
        template if isinstance(template, str) else template[1]
        for name, entries in rules.items()
        if name.startswith("neg_")
        for template in entries
    }
    assert len(negatives) >= 400
    assert not any(re.search(r"\{\w+=", template) for template in negatives)
    grammar = Grammar(pack, "tune")
    kinds: set[str] = set()
    for document in grammar.documents(300, seed=11):
        assert "{" not in document.text
        position = 0
        for start, end, kind in document.spans:
            assert position <= start < end <= len(document.text)
            assert document.text[start:end] == document.text[start:end].strip()
            kinds.add(kind)
            position = end
    assert {"name", "town", "address", "postcode", "institution", "phone", "email", "date", "birth_date"} <= kinds


def test_long_lines_of_cues_cost_little(language: str) -> None:
    anonymizer = rules_of(language)
    seeds = ("Calle ", "Domicilio: ", "Address:\n", "Apt 3 ", "Unit 1\n", "1234 Ab 1 ", "Santa Cruz de ", "12 Ab,\n")
    for detector in (d for d in anonymizer.detectors if type(d).__name__ == "Addresses"):
        for seed in (*seeds, "".join(random.Random(5).choices(seeds, k=1200))):
            view = View((seed * 2000)[:10_000])
            assert view.tokens
            began = time.process_time()
            list(detector.find(view))
            assert time.process_time() - began < 0.25  # about 0.03 s; the bound allows for a loaded machine


@pytest.mark.parametrize(
    ("name", "language", "recall", "false_alarms"),
    [
        ("es_meddocan", "es", 0.95, 3.0),
        ("en_anonde_synth_clinical", "en", 0.97, 3.0),
        ("en_presidio_research_nonclinical", "en", 0.6, 5.0),  # names of everyday text need the trained model
    ],
)
def test_rules_alone_on_gold(shared: Path, name: str, language: str, recall: float, false_alarms: float) -> None:
    path = shared / "data" / "deid" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared data folder")
    result, _ = measure(rules_of(language), list(read_gold(path)), False)
    assert result["redact_recall"] >= recall
    assert result["false_positives_per_1000"] <= false_alarms


@pytest.fixture(scope="module")
def whole() -> dict[str, Anonymizer]:
    """Rules and tagger together."""
    return {
        code: Anonymizer(load_config(ReportsConfig, None, [f"language={code}"]), Keys(os.urandom(32)))
        for code in LANGUAGES
    }


@pytest.mark.parametrize(
    ("language", "text", "gone", "left"),
    [
        ("en", "Reviewed by Dr Owen Tregarthen-Boyle, FRCR.", ["Owen", "Tregarthen", "Boyle"], ["FRCR"]),
        ("en", "Therapist: Nia Pugh-Dawes, OT, reviewed the flat.", ["Nia", "Pugh", "Dawes"], ["OT"]),
        ("en", "Address: Flat 3, 22 Larkspur Road, Hebden, HX7 8AB", ["Flat 3", "22 Larkspur Road", "HX7 8AB"], []),
        ("en", "Lives at Unit 12/45 Banksia St, Toowoomba QLD 4350.", ["45 Banksia St", "4350"], []),
        ("en", "Send the disc to Locked Bag 81, Dubbo NSW 2830.", ["Locked Bag 81"], []),
        ("en", "PPS No: 7284610KA. CHI: 0405611234.", ["7284610KA", "0405611234"], ["PPS"]),
        (
            "en",
            "Medicare no. 2951 33871 2, IHI 8003 6088 3412 7765.",
            ["2951 33871", "8003 6088 3412 7765"],
            ["Medicare", "IHI"],
        ),
        ("en", "MRN: G4471120. Acct no. V55120934. GMC 7261189.", ["G4471120", "V55120934", "7261189"], ["MRN", "GMC"]),
        ("en", "HCN: 9821 554 310 (ON). NPI 1457382910.", ["9821 554 310", "1457382910"], ["HCN"]),
        ("en", "Eircode T12 W8KP, phoned on the 3rd of May.", ["T12 W8KP", "3rd of May"], []),
        ("en", "Result phoned on October 21st to Sister Amoako.", ["October 21st", "Amoako"], ["Result"]),
        ("en", "Attended on Mar. 4 and Apr. 19; off work since.", ["Mar. 4", "Apr. 19"], ["off work"]),
        ("en", "Discharged on the fourteenth of June 2021.", ["fourteenth of June 2021"], []),
        (
            "en",
            "call back on eight one six five five five zero two three four please",
            ["eight one six five five five zero two three four"],
            ["call back"],
        ),
        ("en", "Received handover from Chidinma at 0700.", ["Chidinma"], []),
        (
            "en",
            "last,first,dob,mrn,exam,reader\nOkafor,Blessing,3/4/1971,4471882,CT HEAD,Pryce\n"
            "Lund,Astrid,12/9/1966,4471990,XR KNEE,Pryce",
            ["Okafor", "Blessing", "4471882", "Lund", "Astrid", "Pryce"],
            ["CT HEAD", "XR KNEE"],
        ),
        ("en", "Patient Name: Kamaka^Noelani^P\nModality: CT", ["Kamaka", "Noelani"], ["Modality"]),
        (
            "en",
            "He was transferred from Kilmacrennan General Hospital on 2/11/2019.",
            ["Kilmacrennan General Hospital", "2/11/2019"],
            ["transferred"],
        ),
        ("en", "Hit by a car at the corner of Wren Road and Oak Lane.", ["Wren Road", "Oak Lane"], ["Hit by a car"]),
        ("en", "seen by reg siobhan mcgettigan in clinic, pain settled", ["siobhan mcgettigan"], ["pain settled"]),
        ("en", "Her daughter Philippa's car was outside.", ["Philippa"], ["'s car"]),
        ("en", "Small Baker's cyst, no Segond fracture, Hill-Sachs lesion.", [], ["Baker", "Segond", "Hill-Sachs"]),
        ("en", "Prague C2M4 Barrett's segment, Hill grade II.", [], ["Prague C2M4", "Barrett", "Hill grade"]),
        ("en", "Weber B fracture, Lauge-Hansen classification, Gustilo 2.", [], ["Weber B", "Lauge-Hansen", "Gustilo"]),
        ("en", "MR angiography of the circle of Willis is normal.", [], ["MR angiography", "Willis"]),
        ("en", "Waterlow 18, Bristol stool chart type 6, MUST 1.", [], ["Waterlow", "Bristol"]),
        ("en", "Terry Thomas sign absent, Gilula's arcs smooth.", [], ["Terry Thomas", "Gilula"]),
        ("en", "BP 142/88 mmHg, HR 76, sats 97% on 2 L.", [], ["142/88", "76", "97%"]),
        ("en", "Omnipaque 350 100 ml IV, Siemens Somatom scanner.", [], ["Omnipaque", "Somatom"]),
        ("en", "Polyp 8 mm, Paris Is, Kudo IIIs, Vienna 3.", [], ["Kudo", "Vienna 3"]),
        ("en", "MoCA 21/30, Hachinski score 4, Fazekas 2.", [], ["21/30", "Hachinski", "Fazekas"]),
        ("en", "Grade 3/5 power, pain 7/10, GCS 14/15.", [], ["3/5", "7/10", "14/15"]),
        ("en", "NICU admission, BRAIN and PELVIS normal, NBM.", [], ["NICU", "BRAIN", "PELVIS"]),
        ("en", "May represent a march fracture; will follow.", [], ["May represent", "march"]),
        ("en", "(0008,0060) Modality: MR (0018,0050) SliceThickness: 5", [], ["0008,0060", "0018,0050"]),
        ("en", "Dorr type B bone, Gruen zone 7 lucency.", [], ["Dorr", "Gruen"]),
        ("en", "Stalevo and Madopar continued, Keppra 500 mg bd.", [], ["Stalevo", "Madopar", "Keppra"]),
        ("en", "Cotrel-Dubousset instrumentation intact from T4 to L2.", [], ["Cotrel-Dubousset", "T4"]),
        ("en", "Biopsy under Ultrasound guidance; partner has Hepatitis B.", [], ["Ultrasound", "Hepatitis"]),
        ("en", "Two of three lesions are smaller; one new lesion.", [], ["Two of three", "one new"]),
        ("en", "Schatzki ring and Cameron erosions, CLO test negative.", [], ["Schatzki", "Cameron"]),
        (
            "es",
            "Domicilio: C/ Azucenas nº 14, portal 2, 3º izq., 28999 Getafe",
            ["C/ Azucenas nº 14, portal 2, 3º izq.", "28999", "Getafe"],
            [],
        ),
        (
            "es",
            "Vive en Avda. Los Almendros 310, depto. 5, interior 2.",
            ["Avda. Los Almendros 310, depto. 5, interior 2"],
            ["Vive"],
        ),
        ("es", "Bv. San Benito 1544, piso 7, dpto. B, Rosario", ["Bv. San Benito 1544, piso 7, dpto. B"], []),
        ("es", "Blvd. Tolteca 908, Puebla, Pue. C.P. 72190", ["Blvd. Tolteca 908", "72190"], []),
        (
            "es",
            "CIP-SNS: BBBBBKXR552318QT. NASS: 28/10448276/41",
            ["BBBBBKXR552318QT", "28/10448276/41"],
            ["CIP-SNS", "NASS"],
        ),
        ("es", "RUT: 15.882.406-3. CURP: LOMA850314MDFPRN08.", ["15.882.406-3", "LOMA850314MDFPRN08"], ["RUT", "CURP"]),
        ("es", "CC 1.022.417.983, historia clínica 551208.", ["1.022.417.983", "551208"], []),
        ("es", "Céd. Prof. 7714025. M.P. 33.418. Nº colegiado 28/28/44120.", ["7714025", "33.418", "28/28/44120"], []),
        ("es", "Exp. DEP/41/22017/23 en trámite.", ["DEP/41/22017/23"], ["trámite"]),
        (
            "es",
            "Realizada el treinta de octubre de dos mil veintidós.",
            ["treinta de octubre de dos mil veintidós"],
            ["Realizada"],
        ),
        ("es", "El veintiuno de mayo de 2019 ingresó.", ["veintiuno de mayo de 2019"], ["ingresó"]),
        ("es", "Control el 14-ago-2021 y en sept. de 2022.", ["14-ago-2021"], ["Control"]),
        ("es", "Medicación pautada por Sanchís a las 3:15.", ["Sanchís"], ["3:15"]),
        ("es", "Me entrevisto con Remedios en la habitación 310.", ["Remedios"], ["habitación 310"]),
        ("es", "visto x betancourt en urgencias, alta a domicilio", ["betancourt"], ["alta a domicilio"]),
        (
            "es",
            "fecha;nhc;apellidos;nombre;f_nac;prueba;medico\n04/05/2022;771233;Del Olmo Paz;Inés;01/02/1950;ECO RENAL;Rubio",
            ["771233", "Del Olmo Paz", "Inés", "Rubio"],
            ["ECO RENAL"],
        ),
        ("es", "Paciente: Iturralde Goñi^Begoña\nModalidad: TC", ["Iturralde", "Goñi", "Begoña"], ["Modalidad"]),
        (
            "es",
            "Trasladado desde el Hospital Comarcal de Valdeorras el 3/2/2020.",
            ["Hospital Comarcal de Valdeorras", "3/2/2020"],
            ["Trasladado"],
        ),
        ("es", "Anestesista: Yolanda Prats. Instrumentista: Noelia.", ["Yolanda Prats", "Noelia"], ["Anestesista"]),
        (
            "es",
            "tlf seis cuatro cuatro uno dos cero cinco ocho nueve",
            ["seis cuatro cuatro uno dos cero cinco ocho nueve"],
            ["tlf"],
        ),
        (
            "es",
            "Enfermedad de Crohn A2L1B1 de Montreal, índice de Harvey-Bradshaw 4.",
            [],
            ["Crohn", "Harvey-Bradshaw"],
        ),
        ("es", "Barthel 45, Lawton 2, Gijón 17, Downton 3.", [], ["Barthel", "Lawton", "Gijón"]),
        ("es", "Fractura de Weber B, clasificación de Lauge-Hansen.", [], ["Weber B", "Lauge-Hansen"]),
        ("es", "Signo de Pedro Pons, quiste de Baker de 3 cm.", [], ["Pedro Pons", "Baker"]),
        ("es", "TA 135/80 mmHg, FC 78 lpm, EVA 6/10.", [], ["135/80", "6/10"]),
        ("es", "Hernia de Bochdalek, esófago de Barrett C2M4.", [], ["Bochdalek", "Barrett"]),
        ("es", "Tratado con Sinemet, Keppra 500 mg y Nolotil.", [], ["Sinemet", "Keppra", "Nolotil"]),
        ("es", "TC en equipo Siemens Somatom con Iomeron 400.", [], ["Somatom", "Iomeron"]),
        ("es", "Carditis según los criterios de Jones, Roma IV negativo.", [], ["Jones"]),
        ("es", "Angio-TC de arterias pulmonares: sin TEP.", [], ["Angio-TC", "TEP"]),
        ("es", "(0008,0060) Modality: CT\n(0018,0050) SliceThickness: 1.25", [], ["0008,0060", "0018,0050"]),
        ("es", "Vértebra plana, signo del halo, artropatía de Charcot.", [], ["Charcot"]),
        ("es", "Wells 6, Ginebra 4, sPESI 1.", [], ["Wells 6", "sPESI"]),
        ("es", "Ki-67 del 20 %, Gleason 3+4, Nottingham 7.", [], ["Gleason", "Nottingham"]),
        ("es", "Dosis de 250 mg cada 8 horas durante 7 días.", [], ["250 mg", "7 días"]),
        ("es", "Ronda 6ª, BI-RADS 4B, patrón ACR c.", [], ["BI-RADS 4B"]),
        ("es", "ANA, ANCA y anti-DNA negativos por IFI.", [], ["ANA", "ANCA"]),
        ("es", "Lesión de 14 x 12 mm en segmento VI de Couinaud.", [], ["14 x 12", "Couinaud"]),
        ("es", "Tinción de Ziehl-Neelsen y medio de Löwenstein.", [], ["Ziehl-Neelsen", "Löwenstein"]),
        ("es", "Acompañado de Familiar, con Contraste intravenoso.", [], ["Familiar", "Contraste"]),
        ("es", "Dos de tres nódulos, uno nuevo, cuatro estables.", [], ["Dos de tres"]),
    ],
)
def test_invented_variants(
    whole: dict[str, Anonymizer], language: str, text: str, gone: list[str], left: list[str]
) -> None:
    spans = whole[language].find(text)
    covered = {place for span in spans for place in range(span.start, span.end)}
    for part, wanted in [*((part, True) for part in gone), *((part, False) for part in left)]:
        start = text.index(part)
        places = [place for place in range(start, start + len(part)) if text[place].isalnum()]
        assert all((place in covered) == wanted for place in places), (part, spans)
