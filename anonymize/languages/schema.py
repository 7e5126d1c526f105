"""What the topics of a language pack must hold: one declaration, from which packs are validated and their lacks told.

A field without default is needed; ``few(n)`` says how many entries a list should have before its reader works well.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from anonymize.config import Config
from anonymize.report import KINDS

Word = str | int | float
Words = list[Word]


def few(count: int) -> Any:
    """A list that should have ``count`` entries or more."""
    return Field(json_schema_extra={"few": count})


class Numbers(Config):
    """Numbers in words, for dates that are spelled out."""

    below_100: Annotated[Words, few(100)]
    more: dict[str, int] = Field(default_factory=dict)
    days: dict[int, str] = Field(default_factory=dict)
    centuries: dict[int, str] = Field(default_factory=dict)
    join: str = " "


class PackTopic(Config):
    """``pack.yaml``: names of months, tags, headings of an export."""

    name: str
    code: str
    date_order: Literal["dmy", "mdy", "ymd"]
    months: Annotated[list[Words], Field(min_length=12, max_length=12)]
    weekdays: Annotated[Words, Field(min_length=7, max_length=7)]
    first_of_month: Words = Field(default_factory=list)
    number_words: Words = Field(default_factory=list)
    numbers: Annotated[Numbers | None, Field(json_schema_extra={"wanted": "dates in words stay"})] = None
    seasons: dict[str, int] = Field(default_factory=dict)
    holidays: dict[str, int] = Field(default_factory=dict)
    date_links: Words = Field(default_factory=list)
    phone_regions: Annotated[list[str], Field(min_length=1)]
    tags: dict[str, str]
    columns: dict[str, Words]
    sex_values: dict[str, Literal["F", "M"]]


class NameWords(Config):
    """``names`` of ``detectors.yaml``."""

    titles: Annotated[Words, few(10)]
    after_title: Words
    particles: Annotated[Words, few(5)]
    labels: Annotated[Words, few(20)]
    line_labels: Words = Field(default_factory=list)
    cues: Annotated[Words, few(8)]
    relatives: Annotated[Words, few(8)]
    greetings: Annotated[Words, few(2)]
    born: Annotated[Words, few(3)]
    birth_name: Words
    typists: Words
    roles: Annotated[Words, few(40)]
    stop: Annotated[Words, few(80)]
    possessive: Words = Field(default_factory=list)
    title_abbreviations: Words = Field(default_factory=list)
    company: Words = Field(default_factory=list)
    owned: Words = Field(default_factory=list)
    of: Words = Field(default_factory=list)
    citing: Words = Field(default_factory=list)
    acts: Words = Field(default_factory=list)
    references: Words = Field(default_factory=list)
    written: Words = Field(default_factory=list)
    signs: Words = Field(default_factory=list)
    openings: Words = Field(default_factory=list)
    title_included: bool = False
    noun_capitals: bool = False


class ComplementWords(Config):
    """``places.complements``: what stands around a street, and streets without a number."""

    units: Words
    particles: Words = Field(default_factory=list)
    floors: Words = Field(default_factory=list)
    ordinals: Words = Field(default_factory=list)
    alone_units: Words = Field(default_factory=list)
    named: Words
    sure: Words = Field(default_factory=list)
    boxes: Words = Field(default_factory=list)
    long_boxes: Words = Field(default_factory=list)
    streets: Words = Field(default_factory=list)
    weak_streets: Words = Field(default_factory=list)
    whole_streets: Words = Field(default_factory=list)


class PlaceWords(Config):
    """``places`` of ``detectors.yaml``."""

    streets: Words
    street_endings: Words
    address_labels: Annotated[Words, few(3)]
    at: Words
    town_cues: Annotated[Words, few(8)]
    town_cues_capital: Words = Field(default_factory=list)
    elisions: dict[str, str] = Field(default_factory=dict)
    no_towns: Words = Field(default_factory=list)
    countries: Words = Field(default_factory=list)
    provinces: Words = Field(default_factory=list)
    post_office: Words
    number_suffixes: Words
    abbreviations: dict[str, str]
    name_first: bool = False
    particles: Words = Field(default_factory=list)
    postcodes: list[str] = Field(default_factory=list)
    bare_four_digits: Literal["anywhere", "behind_street"] = "anywhere"
    letter_words: Words = Field(default_factory=list)
    town_after_street: bool | Literal["line"] = False
    boxes: Words = Field(default_factory=list)
    line_streets: Words = Field(default_factory=list)
    units: Words = Field(default_factory=list)
    name_links: Words = Field(default_factory=list)
    complements: ComplementWords | None = None


class PracticeWords(Config):
    """``institutions.practices``: practices whose name begins with the word for their work."""

    fields: Words
    rooms: Words = Field(default_factory=list)
    legal: Words = Field(default_factory=list)
    links: Words
    firsts: Words = Field(default_factory=list)
    before: Words
    before_rooms: Words = Field(default_factory=list)
    not_after: Words = Field(default_factory=list)
    no_names: Words = Field(default_factory=list)


class InstitutionWords(Config):
    """``institutions`` of ``detectors.yaml``."""

    heads: Annotated[Words, few(15)]
    weak_heads: Words
    whole_heads: Words = Field(default_factory=list)
    head_endings: Words
    tails: Words = Field(default_factory=list)
    below: Words
    not_after: Words
    own_names: Words
    connectors: Words
    sites: Words = Field(default_factory=list)
    stop: Annotated[Words, few(8)]
    specialties: Words = Field(default_factory=list)
    quiet_heads: Words = Field(default_factory=list)
    quiet_after: Words = Field(default_factory=list)
    one_case_after: Words = Field(default_factory=list)
    alone: Words = Field(default_factory=list)
    practices: PracticeWords | None = None


class ContactWords(Config):
    """``contacts`` of ``detectors.yaml``."""

    extensions: Words
    phone_cues: Annotated[Words, few(6)]
    pagers: Words = Field(default_factory=list)
    fillers: Words = Field(default_factory=list)
    and_: Annotated[Words, Field(alias="and")] = Field(default_factory=list)
    handle_cues: Words = Field(default_factory=list)


class IdentifierWords(Config):
    """``identifiers`` of ``detectors.yaml``."""

    patient_id: Annotated[Words, few(4)]
    visit_id: Annotated[Words, few(3)]
    professional_id: Words
    national_id: Words
    id: Annotated[Words, few(8)]
    units: Annotated[Words, few(20)]
    device: Words = Field(default_factory=list)
    national: Annotated[
        list[str], Field(json_schema_extra={"wanted": "national numbers are found by their labels alone"})
    ] = Field(default_factory=list)
    plates: list[str] = Field(default_factory=list)
    plate_cues: Words = Field(default_factory=list)
    user_cues: Words = Field(default_factory=list)
    fillers: Words = Field(default_factory=list)
    never_after: Words = Field(default_factory=list)


class DateWords(Config):
    """``dates`` of ``detectors.yaml``."""

    year_cues: Annotated[Words, few(5)]
    month_cues: Annotated[Words, few(5)]
    day_cues: Annotated[Words, few(4)]
    birth_cues: Annotated[Words, few(3)]
    fillers: Words = Field(default_factory=list)
    range_words: Words = Field(default_factory=list)
    day_articles: Words = Field(default_factory=list)
    current_month: Words = Field(default_factory=list)
    season_not_after: Words = Field(default_factory=list)
    not_after: Words = Field(default_factory=list)
    month_slash_year: bool = False
    day_month_points: bool = False
    day_month_dashes: bool = False
    month_first: bool = False
    bare_years: bool = False


class AgeWords(Config):
    """``ages`` of ``detectors.yaml``."""

    units: Annotated[Words, Field(min_length=1)]
    cues: Annotated[Words, Field(min_length=1)]
    fillers: Words = Field(default_factory=list)


class ProtectedWords(Config):
    """``protected`` of ``detectors.yaml``: words around an eponym."""

    heads: Annotated[Words, few(15)]
    links: Words
    laws: Words = Field(default_factory=list)


class Detectors(Config):
    """``detectors.yaml``."""

    names: NameWords
    places: PlaceWords
    institutions: InstitutionWords
    contacts: ContactWords
    identifiers: IdentifierWords
    dates: DateWords
    ages: AgeWords
    protected: ProtectedWords
    addresses: dict[str, Any] = Field(default_factory=dict)


class Sections(Config):
    """``sections.yaml``."""

    indication: Annotated[Words, few(4)]
    technique: Annotated[Words, few(2)]
    comparison: Annotated[Words, few(2)]
    results: Annotated[Words, few(2)]
    conclusion: Annotated[Words, few(3)]
    bare: Words
    closing: Annotated[Words, few(4)]
    salutation: Words = Field(default_factory=list)
    opening: Words = Field(default_factory=list)
    conclusion_cues: Words = Field(default_factory=list)
    letterhead: Words = Field(default_factory=list)
    signature: Words = Field(default_factory=list)
    after_body: Words = Field(default_factory=list)


class Syllables(Config):
    """Parts of made-up words: start, middle, end."""

    consonant: Annotated[list[str], few(12)]
    vowel: Annotated[list[str], few(4)]
    middle: Annotated[list[str], Field(min_length=1)]
    end: Annotated[list[str], few(12)]
    h: list[str] = Field(default_factory=list)


class SurrogateWords(Config):
    """``surrogates.yaml``."""

    surname: Syllables
    given_f: Syllables
    given_m: Syllables
    place: Syllables
    generic_institution: str
    mail_host: str


class DicomWords(Config):
    """``dicom.yaml``: what a description in a DICOM header may hold and stay."""

    examination: Annotated[Words, few(10)]
    words: Annotated[Words, few(8)]
    anatomy: Annotated[Words, few(30)]
    view: Annotated[Words, few(8)]
    laterality: Annotated[Words, few(4)]
    answers: Annotated[Words, few(10)]
    processing: Words = Field(default_factory=list)
    marks: Words = Field(default_factory=list)  # side, view and technique marks on films, which stay in the pixels


class AnatomyWords(Config):
    """``anatomy.yaml``: what an examination line or description says of anatomy, view and side."""

    anatomy: dict[str, Words]
    view: dict[str, Words]
    laterality: dict[str, Words]


class Finding(Config):
    """One finding of ``labels.yaml``: regular expressions."""

    terms: Annotated[list[str], Field(min_length=1)]
    normal: list[str]
    old: dict[str, list[str]] = Field(default_factory=dict)
    elsewhere: dict[str, Any] = Field(default_factory=dict)
    abnormal: bool = True
    sections: list[str] = Field(default_factory=list)
    persists: bool = False
    not_with: list[str] = Field(default_factory=list)


class Reach(Config):
    """Cues before and behind a finding: regular expressions."""

    before: Annotated[list[str], few(4)]
    after: list[str]


class LabelWords(Config):
    """``labels.yaml``."""

    findings: dict[str, Finding]
    negation: Reach
    uncertainty: Reach
    scope_end: Annotated[list[str], few(3)]
    pseudo: list[str]
    abbreviations: list[str]
    values: dict[str, list[str]]
    spoken_stops: list[str] = Field(default_factory=list)
    context: dict[str, Any] | list[str] = Field(default_factory=dict)
    question: dict[str, list[str]] = Field(default_factory=dict)
    family: dict[str, list[str]] = Field(default_factory=dict)
    history: dict[str, list[str]] = Field(default_factory=dict)
    other: list[str] = Field(default_factory=list)
    list_joins: list[str] = Field(default_factory=list)
    list_ends: list[str] = Field(default_factory=list)
    capital_nouns: bool = False
    laterality: dict[str, list[str]] = Field(default_factory=dict)
    change: dict[str, list[str]] = Field(default_factory=dict)
    normal_study: list[str] = Field(default_factory=list)


class Sides(Config):
    """Sentences for and against a finding."""

    positive: Annotated[list[str], few(4)]
    negative: Annotated[list[str], few(4)]


class PromptWords(Config):
    """``prompts.yaml``: ``kl_grade`` is a list a grade, every other finding positive and negative."""

    findings: dict[str, Sides | dict[int, list[str]]]
    anatomy: dict[str, list[str]]


class Templates(Config):
    """``templates.yaml``: the grammar of training text; its rules are checked by the grammar itself."""

    documents: Annotated[list[Any], Field(min_length=1)]
    names: dict[str, list[str]] = Field(default_factory=dict)
    rules: Annotated[dict[str, list[Any]], few(40)]


class Identities(Config):
    """``identities.yaml``: people and places of the synthetic hospital."""

    origins: Annotated[dict[str, Any], Field(min_length=1)]
    compound_surname: float
    compound_first: float
    married_name: float
    compound_joins: list[str]
    countries: Annotated[dict[str, Any], Field(min_length=1)]
    street_kinds: Words
    street_names: Annotated[Words, few(8)]
    wards: dict[str, Words]
    mail_domains: Annotated[list[str], Field(min_length=1)]
    hospital_domains: Annotated[list[str], Field(min_length=1)]
    country_names: dict[str, Any] = Field(default_factory=dict)


class Phantom(Config):
    """``phantom.yaml``: the grammar of the synthetic reports."""

    columns: dict[str, str]
    column_date: str
    decimal: str
    months: Annotated[list[str], Field(min_length=12, max_length=12)]
    date_formats: dict[str, float]
    styles: dict[str, Any]
    morphology: list[Any]
    dictation_errors: list[Any]
    rules: dict[str, Any]


class Describe(Config):
    """``describe.yaml``: wordings for labels that have no report."""

    exam_line: str
    views_join: str
    views: dict[str, str]
    exams: dict[str, dict[str, str]]
    duration: dict[str, str]
    order: list[str]
    labels: dict[str, Any]


class Rule(Config):
    """What stands before a finding, and what is written there in the contrary."""

    before: str
    write: str


class SideWords(Config):
    """``sides`` of ``rewrite.yaml``."""

    pairs: Annotated[list[tuple[str, str]], Field(min_length=1)]
    left: Words = Field(default_factory=list)
    agree: dict[str, tuple[str, str]] = Field(default_factory=dict)
    masculine: list[str] = Field(default_factory=list)
    feminine: list[str] = Field(default_factory=list)
    both: list[str]
    not_sides: list[str]
    normal: Annotated[list[str], few(3)]
    unclear: list[str]


class Rewrite(Config):
    """``rewrite.yaml``: a statement turned into its contrary, and left into right."""

    capital_nouns: bool = False
    negate: Annotated[list[Rule], few(2)]
    affirm: Annotated[list[Rule], few(2)]
    affirm_joins: list[tuple[str, str]] = Field(default_factory=list)
    opposites: list[tuple[str, str]] = Field(default_factory=list)
    elisions: dict[str, tuple[str, str]] = Field(default_factory=dict)
    vowels: str = ""
    articles: dict[Literal["m", "f", "plural"], str] = Field(default_factory=dict)
    sides: SideWords


class Synonyms(Config):
    """``synonyms.yaml``: concept to its names, two or more each; the keys of concepts are the same in every pack."""

    concepts: Annotated[dict[str, Annotated[list[str], Field(min_length=2)]], few(30)]


class Facets(Config):
    """What a finding looks like, in sentences that name it; ``negative`` says that it is absent."""

    location: Annotated[list[str], Field(min_length=1)]
    shape: Annotated[list[str], Field(min_length=1)]
    density: Annotated[list[str], Field(min_length=1)]
    cause: list[str] = Field(default_factory=list)
    negative: Annotated[list[str], Field(min_length=1)]


class Descriptions(Config):
    """``descriptions.yaml``: findings facet by facet."""

    findings: dict[str, Facets]


TOPICS: dict[str, tuple[type[Config], str]] = {
    "pack": (PackTopic, "reports"),
    "detectors": (Detectors, "reports"),
    "sections": (Sections, "reports"),
    "surrogates": (SurrogateWords, "reports"),
    "dicom": (DicomWords, "DICOM text"),
    "anatomy": (AnatomyWords, "DICOM text"),
    "identities": (Identities, "phantom"),
    "phantom": (Phantom, "phantom"),
    "labels": (LabelWords, "labels"),
    "describe": (Describe, "described labels"),
    "prompts": (PromptWords, "prompts"),
    "templates": (Templates, "trained names"),
    "rewrite": (Rewrite, "rewritten texts"),
    "synonyms": (Synonyms, "synonyms"),
    "descriptions": (Descriptions, "descriptions"),
}
"""Topic to its model and to what it is needed for."""

LISTS: dict[str, tuple[int, str]] = {
    "protected": (150, "eponyms such as Baker or Colles may be taken for names"),
    "clinical": (150, "medical words in capitals may be taken for names"),
    "common": (60, "everyday words that are also names may be hidden"),
}
"""Word list to the number of entries that it should have, and what goes wrong with fewer."""

WITHOUT = {
    "reports": "anonymize reports, measure and detect do not run in this language",
    "DICOM text": "descriptions in DICOM headers are emptied and anatomy, view and side are not recognised",
    "phantom": "vlp phantom makes no synthetic hospital in this language",
    "labels": "vlp prepare mines no labels from reports in this language",
    "described labels": "vlp prepare --describe-labels does not run in this language",
    "prompts": "vlp evaluate makes no zero-shot prediction in this language",
    "rewritten texts": "vlp align makes no hard negatives and no mirror images in this language",
    "synonyms": "vlp synonyms has no list of its own in this language",
    "descriptions": "vlp align and vlp evaluate have no descriptions of findings in this language",
    "trained names": "anonymize train-ner cannot write training text in this language",
}
"""What does not work where a topic is missing."""

TAGS = frozenset(KINDS)
COLUMNS = frozenset(
    ("patient", "surname", "birth_name", "given_name", "sex", "birth_date", "address", "postcode", "town", "phone")
) | {"visit", "accession", "exam_date", "exam", "prescriber", "radiologist", "text"}
