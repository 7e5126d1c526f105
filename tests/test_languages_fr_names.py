"""French names where no title stands before them, initials, fields of messages, dates; and eponyms that stay.

Each case: a text, what must be hidden whole, what must stay as it is. All persons are invented.
"""

from __future__ import annotations

import re

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig

Case = tuple[str, list[str], list[str]]

RUNNING: list[Case] = [
    ("Images revues hier avec Solène, pas de lésion suspecte.", ["Solène"], ["lésion"]),
    ("Ponction réalisée par Timothée sous contrôle scopique.", ["Timothée"], ["Ponction", "scopique"]),
    ("Avis pris auprès du collègue : réponse de Yannick, pas d'indication.", ["Yannick"], ["indication"]),
    ("On rediscute le dossier de Mathurin lundi en réunion.", ["Mathurin"], ["dossier"]),
    ("Relecture des images d'Abegnoli : le nodule est stable.", ["Abegnoli"], ["nodule"]),
    ("Le petit vient avec Maman (Ludivine), très coopérant.", ["Ludivine"], ["Maman"]),
    ("Rappeler le secrétariat (Victoire, 02 43 66 50 11) demain.", ["Victoire"], ["secrétariat"]),
    ("Masse rénale stable ; Quénardel propose une surveillance.", ["Quénardel"], ["surveillance"]),
    ("Pas d'urgence selon moi, Thibault rappellera la famille.", ["Thibault"], ["famille"]),
    ("Ce nodule avait été vu ; Bruyneel l'avait ponctionné l'an dernier.", ["Bruyneel"], ["nodule"]),
    ("Discuté avec Keita ce jour, surveillance à 6 mois.", ["Keita"], ["surveillance"]),
    ("Vue avec Violette en salle de mammographie.", ["Violette"], ["mammographie"]),
    ("Le bilan est prévu chez Fatoumata, infirmière.", ["Fatoumata"], ["bilan"]),
    ("Pose du PICC-line par Gwenaëlle sans incident.", ["Gwenaëlle"], ["PICC"]),
    ("[09:12] Cyprien : tu peux relire la TDM ?\n[09:13] Maëlys : oui", ["Cyprien", "Maëlys"], ["TDM"]),
    ("10:45 - Solenne : fracture non déplacée\n10:46 - Rachid : ok", ["Solenne", "Rachid"], ["fracture"]),
    ("Rendez-vous annulé (de Kersauson, claustrophobe), replacé jeudi.", ["de Kersauson"], ["claustrophobe"]),
    ("Patient vu en présence de Hortense, étudiante.", ["Hortense"], ["étudiante"]),
    ("Biopsie faite par Jean-Noël, deux prélèvements.", ["Jean-Noël"], ["Biopsie"]),
    ("Montré à Pier-Yves en fin de vacation.", ["Pier-Yves"], ["vacation"]),
    ("La maman de Léonie signale une chute.", ["Léonie"], ["chute"]),
    ("Noël rentre chez lui avec un plâtre.", ["Noël"], ["plâtre"]),
    ("Revue par le Dr Page ce jour.", ["Page"], ["ce jour"]),
    ("07:54 Mélie IDE : le bilan est parti\n08:40 Bonneton cadre : vu", ["Mélie", "Bonneton"], ["IDE", "cadre"]),
    ("FRACTURE OPEREE LE 27/11/2023 PAR RAKOTOBAO. BILAN PAR IRM.", ["RAKOTOBAO"], ["IRM", "FRACTURE"]),
    (
        "Présents : Italiano-Reux (oncologie), Stoeckli (chir.), Kindt (radio)\nQuorum atteint",
        ["Italiano-Reux", "Stoeckli", "Kindt"],
        ["oncologie", "Quorum"],
    ),
    ("Dr Ben Salem Kaïs - Chirurgie cardiovasculaire\nTél", ["Ben Salem Kaïs"], ["Chirurgie"]),
    (
        "STAFF PNEUMO\n1) Pinsonnet Ernest 72a : nodule\n2) Mazouri : plèvre\n3) Roux E. : fibrose\n4) Doumbia pas vu",
        ["Pinsonnet Ernest", "Mazouri", "Roux E.", "Doumbia"],
        ["nodule", "plèvre", "fibrose", "pas vu"],
    ),
    ("Ponction sous scopie par la Dresse Zurbrigge-\nFavrette, sans incident.", ["Zurbrigge", "Favrette"], ["scopie"]),
    ("CRP 148 hier au labo de La Mure, plaquettes 512.", ["La Mure"], ["labo"]),
    ("Avocate Me Teyssonnier, demande l'avis médical", ["Teyssonnier"], ["avis"]),
]
SHAPES: list[Case] = [
    ("Examen réalisé par J.-F. LE BIHAN ce jour.", ["J.-F. LE BIHAN"], ["Examen"]),
    ("Bien à vous,\nM.-A. de Roquemaurel", ["M.-A. de Roquemaurel"], ["vous"]),
    ("Docteurs A. TESSORE · J.-P. LE GARREC · Thuy MAI-FAVRE", ["J.-P. LE GARREC", "Thuy MAI-FAVRE"], ["Docteurs"]),
    ("Dr Ch. Morvan du Plessix (secrétariat)", ["Ch. Morvan du Plessix"], []),
    ("Dr Ph. Karsenti, radiologue", ["Ph. Karsenti"], ["radiologue"]),
    ("Monsieur le Docteur\nNicolas\nde Brackeleer\nRoute de Villars 14", ["Nicolas", "de Brackeleer"], []),
    ("Marc-André d'Amours-Fréchette, urologue", ["Marc-André d'Amours-Fréchette"], ["urologue"]),
    ("Pas de lésion. RAS. — dr p. ouahab-roth, 1/2/23", ["p. ouahab-roth"], ["RAS"]),
    ("Dossier du service, référent Forster-Lambiel A.\nDouleur nocturne.", ["Forster-Lambiel A."], ["Douleur"]),
    ("La patiente est revue.\nConclusion : pas de fracture.\nLe 15 mars 2021\nB. T.", ["B. T."], ["fracture"]),
    ("avis ortho dr poulain fait le 26/11, pas de chirurgie", ["poulain"], ["fait le"]),
    ("avis du dr courtel dect 5 78 12, bloc demain", ["courtel"], ["dect", "demain"]),
    ("Dresse Pittoud\n\nChute ce matin.", ["Pittoud"], ["Chute"]),
    ("Patient K.M, âgé de 38 ans, présente une toux.", ["K.M"], ["toux"]),
    ("Madame J.E, âgée de 60 ans, fumeuse.", ["J.E"], ["fumeuse"]),
    ("Mr R.Y, âgé de 22 ans, sans antécédent.", ["R.Y"], ["antécédent"]),
]
INITIALS: list[Case] = [
    ("Réf. : KLM/bg/2107-118\n\nConcerne votre patient", ["KLM", "bg"], ["Concerne"]),
    ("N/réf. PB/ jm     Lausanne, le 26 septembre 2019", ["PB", "jm"], []),
    ("N/Réf. : NLD/TP - 220019981", ["NLD", "TP"], []),
    ("V/réf : AC/md", ["AC", "md"], []),
    ("Nos références : JPB/sl/2020", ["JPB", "sl"], []),
    ("Scanner sans anomalie.\n\nCordialement\nDr Roussin\nRLSO/jb", ["RLSO", "jb"], ["anomalie"]),
    ("Delémont, le 6 mai 2024 / PYD-ma\n\nConcerne : M. Joël MONNET", ["PYD", "ma"], ["Concerne"]),
    ("Progression faible.\n\nLu par BM et OZ.", ["BM", "OZ"], ["Progression"]),
    ("CR écrit fait 23h50, signé DKA", ["DKA"], ["CR"]),
    ("Dr Amaia Etchebar                   AE/jl", ["AE", "jl"], []),
    ("Scanner sans anomalie.\nPrévenir si fièvre.\nMerci pour elle, S.H.", ["S.H."], ["Merci"]),
    ("Perfusion en place.\nPas de fièvre.\nmhc", ["mhc"], ["fièvre"]),
    ("Dossier relu par RCP, validé par IRM.", [], ["RCP", "IRM"]),
    ("Dictée le 18/03, frappée le 21/03 (VB)", ["VB"], ["frappée"]),
    ("Compte rendu dicté le 3 mai 2021 (JMB/cl)", ["JMB/cl"], ["Compte rendu"]),
    ("Radiographie relue (TDM comparée) ce jour.", [], ["TDM"]),
    ("Réf : IRM/2019/4411", [], ["Réf"]),
    ("Conclusion : hernie discale L4/L5, pas de conflit S1/S2.", [], ["L4/L5", "S1/S2"]),
    ("Rapport E/A à 0,8, VG/VD normal, T1/T2 sans anomalie.", [], ["E/A", "VG/VD", "T1/T2"]),
]
MESSAGES: list[Case] = [
    (
        "MSH|^~\\&|XRIS|RADIO|MIRTH|CH ALBERTVAL|20230605094412||ORU^R01|M1|P|2.5\n"
        "PID|1||000458912^^^CHA^PI||OUATTARA^ISMAEL^^^M.^^L||19871102|M|||14 CHEMIN DES MAS^^GORDAN^^30380^FRA||0612874490",
        ["CH ALBERTVAL", "OUATTARA", "ISMAEL", "19871102", "14 CHEMIN DES MAS", "GORDAN", "30380", "0612874490"],
        ["XRIS", "MIRTH", "|P|2.5", "^M.^"],
    ),
    (
        "PV1||I|MATER^208^2^SAINTELUCIE||||GIRAUDON^CLOTILDE^^^DR",
        ["SAINTELUCIE", "GIRAUDON", "CLOTILDE"],
        ["MATER", "DR"],
    ),
    (
        "PID|||77120034||TRAORIN^KADIATOU^^^MME||19941121|F|||"
        "3 ALLEE DES LYS^APT 12^TRELON^^49800||+33768114520^PRN^CP~k.t@mail.example.fr^NET",
        ["TRAORIN", "KADIATOU", "APT 12", "TRELON", "+33768114520", "k.t@mail.example.fr"],
        ["MME", "PRN", "^CP", "NET"],
    ),
    (
        "OBX|1|TX|GDT^COMPTE RENDU||THORAX DE FACE~Opacité du lobe moyen.||||||F|||202306050944||VERDIN^PAUL-HENRI",
        ["VERDIN", "PAUL-HENRI"],
        ["COMPTE RENDU", "lobe moyen"],
    ),
    (
        "OBR|1|PLA-77|RX23|ZBQK002^THORAX|||20230605091500|||||||||\n10003344912^SABATHIER^HELENE^^^DR",
        ["SABATHIER", "HELENE"],
        ["THORAX", "DR"],
    ),
    ("NK1|1|LEBREUIL^BASTIEN|SPO||0662907715", ["LEBREUIL", "BASTIEN", "0662907715"], ["SPO"]),
    (
        "<patient><name><given>Nkemi</given><given>Grace</given><family>WILLIAMSON</family></name></patient>",
        ["Nkemi", "Grace", "WILLIAMSON"],
        ["<given>", "</family>"],
    ),
    ('<family value="Kowalczyk"/><given value="Jan"/>', ["Kowalczyk", "Jan"], ["family value"]),
    (
        '{"name": [{"family": "Ndiaye", "given": ["Awa", "Marie-Louise"]}]}',
        ["Ndiaye", "Awa", "Marie-Louise"],
        ["given"],
    ),
    ('{"nom": "Le Gallic", "prénom": "Yann", "sexe": "M"}', ["Le Gallic", "Yann"], ["sexe"]),
    ("PatientName=DIALLO^FATOU;Modality=CT;OPER=JC", ["DIALLO", "FATOU", "JC"], ["Modality=CT", "OPER"]),
    ("NOM=DUPONTEL PRENOM=JEANNE EXAMEN=TDM", ["DUPONTEL", "JEANNE"], ["EXAMEN", "TDM"]),
    ("<city>Lensac</city><postalCode>62300</postalCode><code>IRM</code>", ["Lensac", "62300"], ["IRM"]),
    (
        "n_exam\tnom\tprenom\tddn\tipp\tacte\tprescripteur\tlu_par\n"
        "5580117\tBOUAZIZ\tYamina\t14/02/1966\t30187742\tMAIN D F/P\tCHARBONNEL\tTLM\n"
        "5580125\tLAMBERT\tDésiré\t01/01/1940\t30015563\tGENOUX SCHUSS\tWEIL\tnon lu",
        ["BOUAZIZ", "Yamina", "CHARBONNEL", "TLM", "LAMBERT", "Désiré", "WEIL"],
        ["prescripteur", "GENOUX SCHUSS", "non lu"],
    ),
    ("Fichier CB3D_POPESCO_0515_1431.dcm, voir rapport.pdf", ["CB3D_POPESCO_0515_1431.dcm"], ["rapport.pdf"]),
    ("Edité par mlegrand2 le 17/05/2024", ["mlegrand2", "17/05/2024"], ["Edité"]),
    ("kVp=120 ; mAs=80 ; FE=55 % ; matrice=512", [], ["kVp=120", "mAs=80", "matrice"]),
]
DATES: list[Case] = [
    ("Date de l'examen : 2019-02-14T08:30", ["2019-02-14T08:30"], ["examen"]),
    ("Approuvé 2017-09-01T14:05:22+02:00", ["2017-09-01T14:05:22+02:00"], ["Approuvé"]),
    ("Validé le 16/11/2022 08:02:17 par le service", ["16/11/2022"], ["08:02:17"]),
    ("IRM faite le 11 ou le 12 août.", ["11", "12 août"], ["IRM"]),
    ("Scanners les 29/03, 7/04 et 4 et 5 mai 2020.", ["29/03", "7/04", "4", "5 mai 2020"], ["Scanners"]),
    ("Biopsie du 30 janvier dernier sans incident.", ["30 janvier"], ["incident"]),
    ("RELEVE NUIT 26 AU 27 DECEMBRE", ["26", "27 DECEMBRE"], ["RELEVE"]),
    ("Apgar 6/9/10, pH 7,18", [], ["6/9/10"]),
    ("Séances des 3, 5 et 7 mars 2021.", ["3", "5", "7 mars 2021"], ["Séances"]),
]
NEGATIVES = [
    "Bilan :\n1) Fracture : non\n2) Lasègue : négatif\n3) Lachman : positif\n4) Garden 2",
    "Fracture Garden 3 du col fémoral, classée selon Garden.",
    "Lymphome de Hodgkin, stade Ann Arbor IIB, Deauville 3.",
    "Angle de Fowler-Philip à 78°, maladie de Haglund.",
    "Incidence de Dunn à 45°, ligne de Shenton respectée.",
    "Signe d'Archibald négatif, pas de Madelung.",
    "Score de Sharp-van der Heijde à 14.",
    "Lambeau DIEP sans collection.",
    "Flux TIMI 3 après angioplastie.",
    "Test de Mann-Whitney et test de Kruskal-Wallis non significatifs.",
    "Gruen 1 et 7 : liseré inférieur à 1 mm. Brooker 1.",
    "Lachman arrêt mou, ressaut positif.",
    "Estimation de poids 498 g (Hadlock), 48e percentile.",
    "Fermeture par Vicryl et surjet Monocryl.",
    "Injection de Dotarem sans incident.",
    "Traitement par Xarelto et Kardegic poursuivi.",
    "Score de Glasgow 15, ASIA E, Ashworth 2.",
    "Nodule EU-TIRADS 4, Bethesda III.",
    "Hernie hiatale, technique de Nissen.",
    "Kyste de Baker de 3 cm, lésion de Segond.",
    "Risser 2, Cobb 27°, corset de Chêneau.",
    "Index de Caton-Deschamps à 1,1 ; Insall-Salvati 1,2.",
    "Nodosités d'Heberden et de Bouchard.",
    "Avis neurochir et ortho demandé. AFP normale.",
    "Scinti osseuse sans foyer. FEVG 55 % (Simpson).",
    "Cas rapporté par plusieurs équipes, décrit par la littérature.",
    "Rapport T1/T2, DAP 120, MOC sarcomes.",
    "Le patient a été vu avec sa famille par le médecin traitant.",
    "Mère : vivante. Père : diabétique.",
    "Bilan avant chirurgie : RAS. Contrôle : demain.",
    "Aspect de Ying-Yang au Doppler couleur.",
    "Madame X présente une toux depuis ce matin.",
    "Classification de Goutallier : stade 2. Bigliani II.",
    "Canal de Guyon, arcade de Frohse, tunnel de Struthers.",
    "Bloc de branche, espace de Virchow-Robin, angle de Böhler.",
    "Valve mitrale sans prolapsus. Indice de Sokolow-Lyon normal.",
    "Coiffe : Neer et Jobe positifs, Yocum négatif.",
]


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer(ReportsConfig(language="fr"), Keys(b"0123456789abcdef0123456789abcdef"))


def hidden(anonymizer: Anonymizer, text: str) -> str:
    """``text`` with each hidden character as a block."""
    signs = list(text)
    for span in anonymizer.find(text):
        signs[span.start : span.end] = "█" * (span.end - span.start)
    return "".join(signs)


def left(text: str, result: str, wanted: str) -> bool:
    """Whether a letter or digit of the first whole ``wanted`` shows in ``result``."""
    match = re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text)
    assert match, wanted
    return any(char.isalnum() for char in result[match.start() : match.end()])


@pytest.mark.parametrize(
    ("text", "gone", "stays"),
    [*RUNNING, *SHAPES, *INITIALS, *MESSAGES, *DATES],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_identities_go_and_the_rest_stays(anonymizer: Anonymizer, text: str, gone: list[str], stays: list[str]) -> None:
    result = hidden(anonymizer, text)
    assert [word for word in gone if left(text, result, word)] == [], result
    assert [word for word in stays if word not in result] == [], result


@pytest.mark.parametrize("text", NEGATIVES, ids=lambda text: text[:40])
def test_eponyms_and_abbreviations_stay(anonymizer: Anonymizer, text: str) -> None:
    assert hidden(anonymizer, text) == text
