"""What a language pack lacks, and what will not work for that reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from anonymize.config import Config, ConfigError, validate
from anonymize.languages import Pack
from anonymize.languages.schema import COLUMNS, LISTS, TAGS, TOPICS, WITHOUT
from anonymize.text import collapse, fold, folded

Level = Literal["error", "lack", "note"]
CAPABILITIES = (*dict.fromkeys(capability for _, capability in TOPICS.values()), "NER model")
_LICENCE = re.compile(
    r"\b(?:cc0|cc[ -]by|public domain|mit|apache|bsd|licen[cs]e|licence ouverte|odbl|own work)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Lack:
    """One thing that a pack lacks."""

    capability: str  # one of CAPABILITIES
    level: Level  # error: does not work; lack: works less well; note: worth knowing
    file: str
    what: str
    consequence: str = ""


@dataclass(frozen=True)
class Checked:
    """What :func:`check_pack` found."""

    language: str
    lacks: tuple[Lack, ...]

    @property
    def usable(self) -> bool:
        """Whether reports can be pseudonymised with the pack."""
        return not any(lack.capability == "reports" and lack.level == "error" for lack in self.lacks)

    def capabilities(self) -> dict[str, str]:
        """Capability to ``works``, ``works, with N lacks`` or ``does not work``."""
        out = {}
        for capability in CAPABILITIES:
            levels = [lack.level for lack in self.lacks if lack.capability == capability and lack.level != "note"]
            if "error" in levels:
                out[capability] = "none" if capability == "NER model" else "does not work"
            else:
                out[capability] = f"works, with {len(levels)} lack{'s' * (len(levels) > 1)}" if levels else "works"
        return out


def check_pack(pack: Pack) -> Checked:
    """Read every topic and word list of ``pack`` as its readers do. Raises nothing: what fails is a lack."""
    lacks: list[Lack] = []
    sound: set[str] = set()
    for topic, (model, capability) in TOPICS.items():
        found = list(_topic(pack, topic, model, capability))
        lacks += found
        if not any(lack.level == "error" for lack in found):
            sound.add(topic)
    lacks += _word_lists(pack)
    if "pack" in sound:
        lacks += _pack_topic(pack)
    for topic, look in (("labels", _labels), ("detectors", _detectors)):
        if topic in sound:
            lacks += look(pack)
    if {"labels", "prompts"} <= sound:
        lacks += _prompts(pack)
    if "synonyms" in sound:
        lacks += _synonyms(pack)
    if {"descriptions", "prompts"} <= sound:
        lacks += _descriptions(pack)
    if {"pack", "templates"} <= sound:
        lacks += _templates(pack)
    if not any(lack.level == "error" and lack.capability == "reports" for lack in lacks):
        lacks += _starts(pack)
    lacks += _model(pack)
    return Checked(pack.language, tuple(lacks))


def _topic(pack: Pack, topic: str, model: type[Config], capability: str) -> Iterator[Lack]:
    file = f"{topic}.yaml"
    if not (pack.folder / file).is_file():
        yield Lack(capability, "error", file, "the file is missing", WITHOUT[capability])
        return
    try:
        data = pack[topic]
        validate(model, data, file)
    except ConfigError as error:
        # an entry that is neither a word nor a number is told once, not once for each type that it could have been
        lines = (re.sub(r"\.(?:str|int|float)(?=')", "", line) for line in str(error).splitlines())
        for line in {line.split("': ")[0]: line for line in lines}.values():
            unknown = "unknown key" in line
            yield Lack(
                capability,
                "lack" if unknown else "error",
                file,
                line.removeprefix(f"{file}: "),
                "no reader looks at it" if unknown else WITHOUT[capability],
            )
        return
    yield from _short(model, data, file, capability, "")


def _short(model: type[BaseModel], data: dict[str, Any], file: str, capability: str, path: str) -> Iterator[Lack]:
    """Lists with fewer entries than their model asks for, and wanted keys that are not there."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        value, where = data.get(key), f"{path}{key}"
        if extra.get("wanted") and not value:
            yield Lack(capability, "lack", file, f"'{where}' is not given", str(extra["wanted"]))
        least = extra.get("few")
        if isinstance(least, int) and isinstance(value, list | dict) and len(value) < least:
            message = f"'{where}' has {len(value)} entries; {least} are a start"
            yield Lack(capability, "lack", file, message, "its reader finds less")
        inner = _model_of(field.annotation)
        if inner and isinstance(value, dict):
            yield from _short(inner, value, file, capability, f"{where}.")


def _model_of(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def _word_lists(pack: Pack) -> Iterator[Lack]:
    for name, (least, consequence) in LISTS.items():
        path = pack.folder / f"{name}.txt"
        if not path.is_file():
            yield Lack("reports", "error", path.name, "the file is missing", WITHOUT["reports"])
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        header = " ".join(line for line in lines[:5] if line.startswith("#"))
        if not _LICENCE.search(header):
            yield Lack(
                "reports", "lack", path.name, "no comment at its head names source and licence", "nobody can ship it"
            )
        count = len(pack.words(name))
        if count < least:
            yield Lack("reports", "lack", path.name, f"{count} entries; {least} are a start", consequence)


def _pack_topic(pack: Pack) -> Iterator[Lack]:
    topic = pack["pack"]
    for what, given, needed in (("tags", topic["tags"], TAGS), ("columns", topic["columns"], COLUMNS)):
        missing = sorted(needed - set(given))
        if missing:
            yield Lack("reports", "error", "pack.yaml", f"'{what}' lacks {', '.join(missing)}", WITHOUT["reports"])
    for number, names in enumerate(topic["months"], start=1):
        if not names:
            yield Lack("reports", "error", "pack.yaml", f"'months': month {number} has no name", WITHOUT["reports"])
    forms: dict[str, int] = {}
    for number, names in enumerate(topic["months"], start=1):
        for name in names:
            if forms.setdefault(fold(str(name)), number) != number:
                yield Lack(
                    "reports", "error", "pack.yaml", f"'months': '{name}' stands for two months", "dates move wrongly"
                )


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _expressions(item)


def _compiles(expressions: Iterable[str], file: str, capability: str) -> Iterator[Lack]:
    for expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            yield Lack(
                capability, "error", file, f"'{expression}' is no regular expression: {error}", WITHOUT[capability]
            )


def _labels(pack: Pack) -> Iterator[Lack]:
    topic = {key: value for key, value in pack["labels"].items() if key != "abbreviations"}
    yield from _compiles(_expressions(topic), "labels.yaml", "labels")


def _detectors(pack: Pack) -> Iterator[Lack]:
    yield from _compiles(pack["detectors"]["places"].get("postcodes", []), "detectors.yaml", "reports")
    stop = pack.lists.stop
    both = sorted(stop & folded(pack.words("protected"))) if (pack.folder / "protected.txt").is_file() else []
    if both:
        yield Lack("reports", "note", "detectors.yaml", f"names.stop holds eponyms: {', '.join(both[:5])}")


def _prompts(pack: Pack) -> Iterator[Lack]:
    labels, prompts = set(pack["labels"]["findings"]), set(pack["prompts"]["findings"])
    silent = sorted(labels - prompts)
    if silent:
        yield Lack(
            "prompts", "note", "prompts.yaml", f"labels without prompts: {', '.join(silent)}", "no zero-shot for these"
        )
    lost = sorted(prompts - labels - set(pack["labels"]["values"]))
    if lost:
        yield Lack(
            "prompts", "lack", "prompts.yaml", f"prompts without a label: {', '.join(lost)}", "nothing to compare with"
        )


def _synonyms(pack: Pack) -> Iterator[Lack]:
    meanings: dict[str, str] = {}
    for concept, names in pack["synonyms"]["concepts"].items():
        if len({collapse(str(name)) for name in names}) < 2:
            yield Lack("synonyms", "lack", "synonyms.yaml", f"the names of '{concept}' all read the same", "not used")
        for name in names:
            other = meanings.setdefault(collapse(str(name)), concept)
            if other != concept:
                message = f"'{name}' stands for '{other}' and '{concept}'"
                yield Lack("synonyms", "lack", "synonyms.yaml", message, "a name of two concepts teaches neither")


def _descriptions(pack: Pack) -> Iterator[Lack]:
    findings, file = pack["descriptions"]["findings"], "descriptions.yaml"
    silent = sorted(set(pack["prompts"]["findings"]) - set(findings))
    if silent:
        yield Lack("descriptions", "lack", file, f"not described: {', '.join(silent)}", WITHOUT["descriptions"])
    causeless = sorted(name for name, facets in findings.items() if not facets.get("cause"))
    if causeless:
        yield Lack("descriptions", "note", file, f"without cause: {', '.join(causeless)}", "this facet is left out")


def _templates(pack: Pack) -> Iterator[Lack]:
    from anonymize.ner.grammar import Grammar

    try:
        documents = list(Grammar(pack).documents(20, seed=0))
    except (ConfigError, LookupError, ValueError, TypeError) as error:
        yield Lack("trained names", "error", "templates.yaml", _line(error), WITHOUT["trained names"])
        return
    if not any(document.spans for document in documents):
        yield Lack(
            "trained names", "error", "templates.yaml", "20 documents hold no labelled span", WITHOUT["trained names"]
        )
    if all(document.spans for document in documents):
        yield Lack(
            "trained names", "lack", "templates.yaml", "no document without names", "a model sees names everywhere"
        )


def _starts(pack: Pack) -> Iterator[Lack]:
    """Build what ``anonymize reports`` builds."""
    from anonymize.detectors import build
    from anonymize.keys import Keys
    from anonymize.report import Gazetteer
    from anonymize.sections import SectionParser
    from anonymize.surrogates import Surrogates

    makers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("detectors.yaml", lambda: build(pack)),
        ("sections.yaml", lambda: SectionParser(pack)),
        ("surrogates.yaml", lambda: Surrogates(pack, Keys(b"check" * 8), Gazetteer(), frozenset())),
    )
    for file, make in makers:
        try:
            make()
        except (ConfigError, LookupError, ValueError, TypeError, AttributeError, re.error) as error:
            yield Lack("reports", "error", file, f"does not load: {_line(error)}", WITHOUT["reports"])


def _model(pack: Pack) -> Iterator[Lack]:
    folder = pack.folder / "ner"
    if not any(folder.glob("*.safetensors")):
        yield Lack(
            "NER model",
            "error",
            "ner/",
            "no trained model",
            "names and towns without a title, label or cue around them stay; train one with anonymize train-ner",
        )
    elif not (folder / "README.md").is_file():
        yield Lack("NER model", "lack", "ner/", "the model has no card (README.md)", "nobody knows how well it does")


def _line(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text}" if isinstance(error, KeyError | TypeError | AttributeError) else text
