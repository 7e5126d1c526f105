"""French institutions, addresses, towns and numbers of invented documents, by the rules alone (no tagger).

``[...]`` must go, ``{...}`` may go or stay, everything else must stay. Names are made up or common.
"""

from __future__ import annotations

import re

import pytest

from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.policy import ReportsConfig

INSTITUTIONS = """
[IMAGERIE DU PARC] - rendez-vous par téléphone
[Imagerie des Remparts]
[RADIOLOGIE DE LA CATHÉDRALE]
[Radiologie du Vieux-Port] | scanner et IRM
[Imagerie médicale des Deux Rives]
{SELARL} [IMAGERIE DES COTEAUX]
{GIE} [IRM des Alpilles]
{SCM} [SCANNER DU BOCAGE]
{SELAS} [Imagerie Val de Saône]
{GIE} [Scanner du Pays Basque], protocole du jour
Il apporte son IRM faite à l'[Imagerie du Forum] en ville.
Échographie pratiquée chez [Radiologie Sud Loire] la semaine passée.
Elle a passé le scanner à l'[Imagerie Médicale des Halles].
[Cabinet médical des Tilleuls]
Suivi au [cabinet médical de la Fontaine], sans particularité.
[Cabinet de radiologie du Beffroi]
Panoramique du [cabinet dentaire des Ormes] non fourni.
Rééducation au [cabinet de kinésithérapie Les Genêts].
Vu au [cabinet de la Gare] pour lombalgie.
[Centre ophtalmologique de la Plaine]
Bilan au [Centre d'imagerie du Grand Large].
Adressé par le [centre médical des Érables].
Le [centre Léon-Bérard] a relu les lames.
Consultation au [Centre Antoine-Lacassagne] prévue.
[Centre de rhumatologie du Bois-Joli]
[Clinique de cardiologie des Arcades]
Opérée à la [clinique des Cèdres] en urgence.
Hystérectomie à la [clinique Belledonne] sans complication.
Il sort de la [clinique du Val-Fleuri] ce matin.
Accouchement à la [Polyclinique de la Baie].
[Clinique d'orthopédie Montjoie]
Hospitalisé à l'[institut Gustave-Roussy] pour chimiothérapie.
Avis de l'[Institut de cardiologie de Montréal] demandé.
Rééducation au [pavillon Leriche].
Le [site de Bellevue] assure la garde.
Transféré à la [résidence Les Mimosas].
Elle vit à l'[EHPAD Les Jonquilles].
Résident de l'[EHPAD du Clos Fleuri] depuis l'hiver.
Retour à la [maison de retraite Saint-Joseph].
Vit au [foyer Les Hirondelles].
Adressée par la [maison médicale du Lavoir].
[Maison de santé pluriprofessionnelle du Plateau]
[Permanence de la Riponne]
[Médipôle Garonne]
Téléimagerie : [Plateforme Nocturia]
[Pôle santé du Lac]
[Hôpital cantonal]
Copie à l'[Hôpital orthopédique]; dossier archivé.
[Hôpital Saint-Vincent – Pavillon Laënnec]
[HÔPITAL DES ENFANTS MALADES]
[CHU de Rouen – Hôpital Charles-Nicolle]
Transféré au [CHR d'Orléans] hier.
Suivi au [CHUGA] pour une sarcoïdose.
Le dossier part au [HEGP] demain.
[Groupe hospitalier Sud Réunion]
[CENTRE DE DIALYSE DU MARAIS]
[C L I N I Q U E   D E S   T I L L E U L S]
[H Ô P I T A L   S A I N T - M A R C]
[C H U   D E   N A N T E S]
[I M A G E R I E   D U   P O R T]
[Clinique mutualiste de la Porte de l'Orient]
[Fondation Bagatelle]
opéré à la [clinique bordeneuve] l'an passé, suites simples.
irm faite à la [clinique pasteur], pas de lésion focale.
OPEREE A LA [CLINIQUE BELHARRA] AVEC DES SUITES SIMPLES.
Vue au [Foyer d'accueil médicalisé Les Acacias].
[Home Saint-Roch]
Séjour au [centre de rééducation Kerpape].
Le [centre hospitalier de Cornouaille] confirme.
Relu par le [centre municipal de santé Salvador-Allende]
"""

NO_INSTITUTIONS = """
IRM DU GENOU GAUCHE
SCANNER DU ROCHER DROIT
Scanner de la cheville sans injection.
Imagerie de la main et du poignet.
IMAGERIE DU RACHIS CERVICAL
Radiologie conventionnelle : deux incidences.
RADIOLOGIE DES URGENCES
Service de radiologie, salle de scanner numéro deux.
Service d'Imagerie Médicale
Service d'imagerie diagnostique et interventionnelle
Échographie du Sein Gauche
IRM de la Hanche
L'IRM du Genou Droit est normale.
Scanner du Thorax et de l'Abdomen
IRM DES PARTIES MOLLES
Patient vu en clinique ce matin.
Adapter le traitement à la clinique du patient.
La clinique de la douleur est rassurante.
Examen clinique : genou sec et stable.
Discordance entre la clinique et la biologie.
À la clinique, pas de fièvre ni de douleur.
Le site opératoire est propre.
Le site de ponction est calme.
Foyer de Paget probable.
Foyer pulmonaire du lobe moyen.
Foyers de contusion au scanner.
Le pavillon de l'oreille est épaissi.
Le centre de la lésion est nécrotique.
Au centre de référence, avis demandé.
Le cabinet est fermé le samedi.
Vu au cabinet pour gonalgie.
Hôpital de jour : passage prévu.
Hospitalisation à domicile proposée.
La permanence des soins est assurée.
Muscle SCM sans anomalie.
Rupture du SCM droit.
Scanner du contrôle à un mois.
IRM du Contrôle
Échographie de la grossesse au premier trimestre
Embolisation utérine
Radiologie interventionnelle : bloc libre.
Imagerie en coupe : pas de lésion.
Institut de formation non concerné.
Le laboratoire rappellera.
Plateau technique de radiologie disponible.
C O M P T E   R E N D U
C O N C L U S I O N
Scanner cérébral du lundi : normal.
MÉDECINE NUCLÉAIRE
Cardiologie : avis demandé.
Avis chirurgical à la clinique si aggravation.
corréler à la clinique et au bilan biologique.
adresser à la consultation de la douleur.
SCANNER ABDOMINO-PELVIEN SANS INJECTION
RADIOLOGIE STANDARD DU BASSIN
irm du genou droit, pas de lésion meniscale.
Pharmacie : ordonnance jointe.
Fondation osseuse correcte.
Radio du Poignet Gauche
Mammographie de dépistage : ACR deux.
Scanner des Sinus
IRM de l'Épaule Droite
"""

ADDRESSES = """
[Résidence Les Pins, bâtiment B, 14 avenue de la Mer]
[Immeuble Atlantis, 3 bis rue de l'Ancre]
[Tour Mercure, 5e étage, 12 quai de la Fosse]
[18 rue des Lilas, appartement 12]
[18 rue des Lilas, appt 3]
[7 bis boulevard Voltaire, 2ème étage]
[25, chemin des Vignes, porte 4]
[Avenue Louise 143 bte 12], {1050 Bruxelles}
[Rue de la Station 22 boîte 3]
[4520, rue Saint-Denis, bureau 310]
[880, boul. Laurier, app. 5]
[33 rue Pasteur, bât. C]
[33 rue Pasteur, escalier B, 3e étage]
[9 allée des Peupliers, lot n° 14]
[9 allée des Peupliers - BP 114]
[9 allée des Peupliers, CS 20017]
[CS 40117] - {31076 Toulouse cedex 3}
[BP 27] - {62022 ARRAS}
[B.P. 1104], {59011 LILLE CEDEX}
[TSA 30501]
[Case postale 214], {1211 Genève 14}
[ZA des Pâquis], {74300 CLUSES}
[ZI Nord, lot 5], {59000 LILLE}
[Zone industrielle de la Vigne]
[lieu-dit Le Moulin Neuf]
demeure au [lieu-dit La Grange aux Belles], isolée.
[Lotissement Les Cigales, villa 8]
[Résidence du Lac], {73000 CHAMBÉRY}
[Quartier Les Aires], {13100 AIX-EN-PROVENCE}
[rue du Commandant Charcot]
Renversée par un scooter [rue de Rivoli] ce matin.
Chute sur le [boulevard Saint-Michel] hier soir.
Accident [avenue du Général Leclerc], casque absent.
Habite [impasse des Roses] avec son chien.
Il vit [rue du 8 Mai 1945] depuis longtemps.
[Grand Place 4] - {7000 MONS}
[Grand-Place 16], {1700 Fribourg}
Adresse : [Cité 12], {62300 Lens}
physiothérapie, [ch. des Mésanges 8].
[Route de Berne 41]
[Place du Marché 3]
[Chemin de la Fontaine 17], {1009 Pully}
[Rue du Bourg 6]; tout va bien.
[12, um Bongert] à [Mersch]
[3, op der Gare] à [Ettelbruck]
habite [12 rue des Tanneurs] à [Quimper], au calme.
réside [4 avenue Foch], [Colmar].
[41 rue de la Paix] à [Saint-Omer].
[17 ter rue Neuve] - {38000 GRENOBLE}
[2 place de la Mairie]
[2 sente des Meuniers]
[6 cour des Miracles]
[15 rue Principale], chez {Mme Martin}
[RUE DU FAUBOURG BLANCHOT]
[BOULEVARD DES ALLIES]
[1 rue des Écoles, rez-de-chaussée]
[1 rue des Écoles, RDC]
[Parc d'activités du Bois Vert, 4 rue Ampère]
[Villa Marguerite, 8 avenue des Mimosas]
[Bâtiment A, 45 rue Jean-Jaurès]
[45 rue Jean-Jaurès, entrée 2, 4e étage]
[Hameau de la Combe], {38650 Gresse}
[11 Grande Rue], {25000 BESANÇON}
[28 Grand'Rue]
[Place Kléber], {67000 STRASBOURG}
"""

NO_ADDRESSES = """
Mise en place d'une sonde urinaire n° 8.
Tympanisme du côté gauche et un score de Silverman à 5.
Passage régulier tous les 15 jours.
Pose d'une voie centrale à 14 cm.
Cours évolutif favorable sur 3 mois.
Tour de taille 94 cm.
TA 14/8, BP 140/80 au brassard.
Cathéter en place, CS de contrôle.
La cité scolaire est fermée.
Porte d'entrée cutanée probable.
Suite 3 cycles de chimiothérapie.
Bureau fermé, rappeler demain.
Pont veineux perméable, 2 pontages.
Chambre 12, lit 3.
Voie d'abord latérale, 3 vis.
Côte 7 fracturée.
Route thérapeutique inchangée.
Place de la chirurgie à discuter.
Espace sous-arachnoïdien libre.
Étage sus-mésocolique sans anomalie.
Bloc vertébral C5-C6 acquis.
Lot de lésions ostéolytiques.
Quai non concerné.
2 mm de pincement de l'interligne.
Pôle inférieur de la rotule.
Pôle supérieur du rein gauche
Hall sans intérêt.
Escalier : monte deux étages sans dyspnée.
Monte 3 étages sans dyspnée.
Marche, place et chemin : périmètre 200 m.
Domaine vital préservé.
Entrée 2 jours avant.
Chemin clinique respecté, 3 jours.
Allée de ganglions sous 10 mm.
Montée de l'enzyme à 45.
Parc de prothèses : deux implants.
Espace de Disse, tour complet.
Tour de cou de 38 cm.
BP stable.
La Villa capillaire : villosités atrophiques.
L'étage cervical montre 2 protrusions.
Les 2 étages lombaires L4-L5 et L5-S1.
Appartement au rez-de-chaussée conseillé.
CC du jour : deux clichés.
À la porte du foie : ganglion 12 mm.
Le quartier est calme.
Passage en chirurgie à 15 h.
Cours de yoga 2 fois par semaine.
Traverse bien le service, 4 pas.
Mail envoyé.
Impasse thérapeutique.
L'impasse diagnostique persiste.
ALLURE DE CALCIFICATIONS
Rang 2 du classement, côté 3.
Square wave : 5 Hz.
Suite opératoire simple.
Suites simples, 3 nuits.
Clos par quatre agrafes.
Camp chirurgical refusé.
Carrefour aérodigestif libre.
"""

TOWNS = """
Amené par le SMUR de [Carhaix] ce matin.
Pris en charge par le SDIS d'[Étampes].
Arrivée avec les pompiers de [Montélimar].
Transporté par l'ambulance de [Huy].
Adressé par le {CH de} [Saint-Lô] hier.
On se croise au congrès de [Biarritz] ?
Retraité de [Florange], ancien lamineur.
Elle rentre de [Marrakech] avec de la fièvre.
Chute en ski aux [Contamines] dimanche dernier.
Vacances aux [Sables-d'Olonne] écourtées.
Né au [Creusot], vit seul.
Née aux [Andelys].
Domiciliée à [Loudéac].
Il habite [Douarnenez] avec sa femme.
Transféré de [Nevers] par hélicoptère.
Transférée sur [Mulhouse] pour coronarographie.
Transfert vers [Brive] accepté.
Muté à [Châteauroux] récemment.
Venant de [Tarbes] pour avis.
Scanner réalisé à [Vesoul] non fourni.
IRM faite à [Cholet] la semaine passée.
Fait à [Cambrai]
Originaire de [Pointe-à-Pitre].
Originaire d'[Ajaccio].
Opérée à [Lorient] dans l'enfance.
Suivi à [Bastia] pour un diabète.
Étudiante à [Poitiers], sportive.
Ouvrier à [Sochaux] sur presse.
Chantier de [Flamanville] : exposition.
Lycée de [Fougères], interne.
Habitant de [Vierzon].
Vit sur [Montauban] depuis peu.
Il habite au [Havre].
Domicilié au [Mans].
Réside à [La Flèche].
Séjour à [L'Isle-Adam] prévu.
Proche de la gare de [Dole].
Gendarmerie de [Guingamp] prévenue.
Ses enfants vivent à [Vannes].
Sa fille à [Angoulême] le prendra.
Médecin à [Thiers], elle s'inquiète.
Cardiologue à [Royan] informé.
Rapatriée de [Dakar] hier.
Héliporté de [Briançon].
Évacué sur [Annecy].
Hospitalisé à [Dinan] pour pneumonie.
Garnison de [Draguignan].
Usine de [Dunkerque], amiante.
[Auxerre], le {12 mai 2021}
[La Roche-sur-Yon], le {3/04/2019}
venant de [saint-malo], pas de fievre.
habite a [concarneau], seul.
amene par le smur de [questembert], conscient.
HABITE A [GUERET], SEULE.
Staff de [Besançon] : avis chirurgical.
Accueilli aux urgences, venu de [Sarlat].
Retour de [Cayenne] il y a peu.
Décédée à [Lourdes].
{Clinique de} [Vichy] : bilan.
Sa sœur à [Verdun] vient le chercher.
Employé à [Figeac].
"""

NO_TOWNS = """
Allergie aux Bêtalactamines connue.
Traitement à base de Méthotrexate.
Radiothérapie à Madagascar il y a longtemps.
Suivi à distance par le médecin.
Transfert de charge sur le membre inférieur.
Retour de couches normal.
Suivi à la consultation de chirurgie.
Vu à la visite du soir.
Réalisée à jeun, sans sédation.
Transféré à Réanimation pour surveillance.
Retraité de la SNCF, actif.
Arrivé de nuit, stable.
Pompiers de garde prévenus.
Adressé de chirurgie.
Née prématurée, sans séquelle.
Angle mesuré à Gauche.
Conclusion : normale, le reste inchangé.
Douleur à Droite depuis trois semaines.
Kyste de Baker à gauche.
Fracture de Colles à déplacement postérieur.
Rapporté à Lisfranc.
Examen fait à Jeun.
rentre de marche avec douleur.
venant de la salle de reveil, stable.
habite seule, autonome.
retraité de la réparation navale.
Opéré à froid.
Hospitalisé à domicile.
Interligne de Chopart respecté.
Ambulance de nuit.
Étudiant à temps partiel.
Famille à prévenir.
Employé à mi-temps.
Consulté à plusieurs reprises.
Suivie à six mois, puis à un an.
Vit à domicile avec aides.
Retour à domicile.
Retour à la normale.
Sortie vers domicile.
Transfert sur brancard.
Évacué sur table.
Effectuée à trois heures.
Ski au printemps.
Opérée à ciel ouvert.
Née au terme de 39 semaines.
Réside à l'étage, escalier raide.
Originaire de la région.
Vu à l'Hôpital {de jour}.
Lieu : domicile.
Chute à vélo.
Chute à Ski.
Accident à moto.
Séquelle à Minima.
Ville : non renseignée.
Commune non connue.
Mutée à un poste adapté.
École de marche.
Stade de Kellgren.
Collège de décision.
Congrès de Radiologie.
Journées de Pneumologie.
"""

NUMBERS = """
N/Réf. : [SCA/22/48110]
Réf. : [IRM.2021.00457]
Réf. interne [TX.ECH-19.00811]
Dossier [RCP-ORL-2021-0377] discuté.
Fiche [RCP/SEIN/2020/0112]
n° [2207/HIA/RAD/MB]
N° [884/CHU/ORT] du courrier
Adhérent n° [00917734-K]
n° adhérent [11820047-D]
RCC [Z 1182.30]
RCC : [B 7741.22]
Permis [08-512]
lic. [77-204]
Licence n° [91-330]
Biopsie ([19H04417]) : granulome.
Anapath [21P0387]
Lame n° [20B11873]
N° dossier : [A 448812]
IPP : [H 1048821]
N° de série : [SN-448-AX-901]
Accession : [CT.19.884120]
Réf. labo : [BIO/447/2019]
Demande n° [TR-20210411-0031]
[TR-20210411-0031] reçue.
Prélèvement n° [22-B-00417]
Facture [F/2021/00781]
Examen n° [EX_2020_55181]
NDA [N22-004417]
Réf. [JPL/mc/2204-118]
Nos réf. : [CR-88120/21]
Inclusion [FR-012-0044]
Lot : [LX 48812]
UDI : [RX-0099812]
Code prescripteur : [448120]
N° d'agrément : [33-991-02]
Matricule : [1977 0412 118]
Affilié [00441182]
N° allocataire : [8841207]
RPPS [10104482917]
N° FINESS [330781196]
Numéro d'accès : [RX71338812]
Accession number [A-2044817]
Séjour [922-044817]
Admission n° [20190044]
Passage n° [21 044 7781]
Document [D20-0044812]
Compte [FR-7781204]
[PAT-448120] noté.
[RX230605-0311] classé.
N° d'examen : [E.21.448120]
Cliché n° [88-2041]
Bon n° [2021/88120]
N° de demande : [DEM/448120]
No requête [R-448120]
Patient n° [448-120-7]
NIP [0044 8120]
Identifiant : [XK448120]
N° d'enregistrement : [2020-448120]
N° de police : [P 448120-2]
Contrat n° [C/44812/07]
"""

NO_NUMBERS = """
Dose 12/24 mg par jour.
Protocole 3/4, séquence 1/2.
Score de 8/10, EVA 4/10.
TNM : pT2N0M0, stade IIB.
Gène BRCA2, variant c.5946delT.
HLA-B27 positif, anti-CCP négatif.
Vertèbres T12, L1 et L3.
Séquences T1, T2 et STIR.
ACR 2, BI-RADS 4a.
18F-FDG, 250 MBq.
99mTc-HDP, 612 MBq.
Iopamiron 300, 90 ml.
Vis de 4,5 mm, broche de 20/10.
Aiguille 18G, cathéter 5F.
Classe III de la NYHA.
DLP 412 mGy.cm.
CTDI 12,4 mGy.
TA 130/80, pouls 72.
Glycémie 1,12 g/l.
Créatinine 84 µmol/l.
INR 2,4, plaquettes 240 000/mm3.
Hémoglobine 13,2 g/dl.
Angle HKA 178°.
Kellgren 3, Ahlbäck 2.
Cobb 27° contre 31°.
CT-scan et IRM 3T.
PI-RADS 4/5 en zone périphérique.
Lobe moyen, segment 4.
Coupe de 1,25 mm, pas de 0,8.
FEVG 55 %, PAPS 30 mmHg.
Norme ISO 9001.
Article 12 de la loi.
Grade 2 de Meyerding.
COVID-19 : vacciné 3 doses.
Bilan à J15.
Disque C5-C6.
Indice 0,85, ratio 1/3.
Taille 172 cm, poids 70 kg.
FR 38, SpO2 79 %.
Glasgow 15.
Matériel en titane, tige 12/14.
Tige 12/14, tête 28.
Vitamine B12 et D3.
Facteur V, INR 1.
Anti-Xa 0,4.
PSA 4,2 ng/ml.
Gleason 3+4.
CA 15-3, CA 125.
Ki67 à 20 %.
Oxygène 2 l/min.
Semelle 3 mm, talonnette 5 mm.
3 clichés, 2 incidences.
Champ 20 x 20.
N° de doigt : deuxième.
Segment VI, 12 mm.
Lésion de 8 x 9 mm.
CT 120 kV, 200 mAs.
SUV max 4,8.
T-score -2,5, Z-score -1,1.
Genou en charge 20°.
"""

_MARK = re.compile(r"\[([^\]]*)\]|\{([^}]*)\}|([^\[{]+)")


def _cases(*blocks: str) -> list[str]:
    return [line for block in blocks for line in block.strip().split("\n")]


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer(ReportsConfig(language="fr", ner="none"), Keys(b"0123456789abcdef0123456789abcdef"))


def _read(marked: str) -> tuple[str, str]:
    """The text and for each character ``+`` (must go), ``?`` or ``-`` (must stay)."""
    text, wanted = "", ""
    for match in _MARK.finditer(marked):
        gone, free, kept = match.groups()
        piece = gone or free or kept or ""
        text += piece
        wanted += ("+" if gone else "?" if free else "-") * len(piece)
    return text, wanted


def _judge(anonymizer: Anonymizer, marked: str) -> tuple[list[str], list[str]]:
    """Words that were left and words that were taken, wrongly."""
    text, wanted = _read(marked)
    covered = bytearray(len(text))
    for span in anonymizer.detect(text):
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    left, taken = [], []
    for word in re.finditer(r"\w+", text):
        kinds = set(wanted[word.start() : word.end()])
        hidden = covered[word.start() : word.end()]
        if kinds == {"+"} and not all(hidden):
            left.append(word.group())
        elif kinds == {"-"} and any(hidden):
            taken.append(word.group())
    return left, taken


POSITIVE = _cases(INSTITUTIONS, ADDRESSES, TOWNS, NUMBERS)
NEGATIVE = _cases(NO_INSTITUTIONS, NO_ADDRESSES, NO_TOWNS, NO_NUMBERS)


@pytest.mark.parametrize("marked", POSITIVE, ids=lambda marked: marked[:40])
def test_what_identifies_goes_and_the_rest_stays(anonymizer: Anonymizer, marked: str) -> None:
    assert _judge(anonymizer, marked) == ([], [])


@pytest.mark.parametrize("text", NEGATIVE, ids=lambda text: text[:40])
def test_medicine_stays(anonymizer: Anonymizer, text: str) -> None:
    assert _judge(anonymizer, text) == ([], [])


def test_each_family_has_sixty_cases() -> None:
    for block in (INSTITUTIONS, ADDRESSES, TOWNS, NUMBERS, NO_INSTITUTIONS, NO_ADDRESSES, NO_TOWNS, NO_NUMBERS):
        assert len(_cases(block)) >= 60
