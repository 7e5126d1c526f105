"""Readers of UMLS, SNOMED CT, CSV and pack lists on miniature copies of the published layouts (the content is ours)."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from anonymize.config import ConfigError
from anonymize.console import Console, UserError
from anonymize.languages import available, load_pack
from vlp.corpus.term_files import RF2_HEADER, Term, read_terms
from vlp.corpus.terminology import TermConfig, name_key, read_terminology

QUIET = Console("quiet")


def rrf(cui: str, language: str, text: str, suppress: str = "N") -> str:
    fields = [cui, language, "P", "L1", "PF", "S1", "Y", "A1", "", "M1", "D1", "MSHFRE", "MH", "D1", text, "3"]
    return "|".join([*fields, suppress, ""]) + "|\n"


MRCONSO = "".join(
    [
        rrf("C0000001", "FRE", "fracture"),
        rrf("C0000001", "FRE", "Fracture "),  # repeated
        rrf("C0000001", "FRE", "fracture osseuse"),
        rrf("C0000001", "ENG", "bone fracture"),
        rrf("C0000001", "FRE", "bris d'os", suppress="O"),
        rrf("C0000002", "FRE", "épanchement pleural"),
        rrf("C0000002", "FRE", "pleurésie"),
        rrf("C0000002", "SCR", "izljev"),  # no language that is read
        rrf("C0000003", "FRE", "x"),  # too short
        rrf("C0000003", "FRE", ""),
        rrf("", "FRE", "sans concept"),
        rrf("C0000003", "FRE", "champ|de trop"),
        rrf("C0000003", "FRE", "marque inconnue", suppress="Q"),
    ]
)
MRSTY = "C0000001|T037|A2.1|Injury|AT1|256|\nC0000002|T047|B2.1|Disease|AT2||\n"


@pytest.fixture
def umls(tmp_path: Path) -> Path:
    (tmp_path / "MRCONSO.RRF").write_text(MRCONSO, encoding="utf-8")
    (tmp_path / "MRSTY.RRF").write_text(MRSTY, encoding="utf-8")
    return tmp_path


def test_umls_rows_are_read_filtered_and_add_up(umls: Path) -> None:
    source = str(umls / "MRCONSO.RRF")
    found = read_terminology([source], TermConfig(languages=("fr",)), QUIET)
    assert [(t.concept, t.text, t.language) for t in found.terms] == [
        ("umls:C0000001", "fracture", "fr"),
        ("umls:C0000001", "fracture osseuse", "fr"),
        ("umls:C0000002", "épanchement pleural", "fr"),
        ("umls:C0000002", "pleurésie", "fr"),
    ]
    counts = found.counts[source]
    assert counts.whole
    assert counts.rows == 13
    assert counts.repeated == 1
    assert counts.left_out == {"language": 1, "suppressed": 1, "other_language": 1, "too_short": 1}
    assert counts.refused == {"no_term": 1, "no_concept": 1, "wrong_field_count": 1, "bad_value": 1}
    assert [(q.position, q.reason) for q in found.quarantine] == [
        (10, "no_term"),
        (11, "no_concept"),
        (12, "wrong_field_count"),
        (13, "bad_value"),
    ]
    assert all("sans concept" not in q.remedy + q.ref for q in found.quarantine)


def test_a_packed_file_and_a_folder_read_the_same(umls: Path, tmp_path: Path) -> None:
    plain = list(read_terms(str(umls)))
    packed = tmp_path / "packed" / "MRCONSO.RRF.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(MRCONSO.encode()))
    assert [row for _, row in read_terms(str(packed.parent))] == [row for _, row in plain]


def test_semantic_types_keep_their_concepts(umls: Path) -> None:
    config = TermConfig(languages=("fr",), semantic_types=("T047",))
    found = read_terminology([str(umls)], config, QUIET)
    assert {t.concept for t in found.terms} == {"umls:C0000002"}
    assert found.counts[str(umls)].left_out["semantic_type"] > 0
    with pytest.raises(UserError, match="T999"):
        read_terminology([str(umls)], TermConfig(semantic_types=("T999",)), QUIET)
    (umls / "MRSTY.RRF").unlink()
    with pytest.raises(UserError, match="MRSTY"):
        read_terminology([str(umls)], config, QUIET)


def test_a_row_that_is_not_utf8_is_named_and_the_others_read(tmp_path: Path) -> None:
    file = tmp_path / "MRCONSO.RRF"
    file.write_bytes(rrf("C0000001", "FRE", "fracture").encode() + "C0000002|é\n".encode("latin-1"))
    found = read_terminology([str(file)], TermConfig(), QUIET)
    assert [(q.position, q.reason) for q in found.quarantine] == [(2, "not_utf8")]


def test_a_cut_gzip_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "MRCONSO.RRF.gz"
    file.write_bytes(gzip.compress(MRCONSO.encode())[:-20])
    with pytest.raises(UserError, match="cut or damaged"):
        read_terminology([str(file)], TermConfig(), QUIET)


def snomed(*, active: str = "1", concept: str = "1001", language: str = "fr", kind: str = "S", term: str) -> str:
    kinds = {"F": "900000000000003001", "S": "900000000000013009", "D": "900000000000550004"}
    return "\t".join(["5001", "20240101", active, "11", concept, language, kinds.get(kind, kind), term, "9"]) + "\n"


def test_snomed_descriptions_lose_their_tag_and_inactive_ones_go(tmp_path: Path) -> None:
    file = tmp_path / "sct2_Description_Snapshot-fr_FR_20240101.txt"
    rows = [
        snomed(kind="F", term="fracture du radius (trouble)"),
        snomed(term="fracture radiale"),
        snomed(term="fracture du radius (fermée)"),  # a synonym keeps its brackets
        snomed(active="0", term="vieux nom"),
        snomed(kind="D", term="Rupture de la corticale du radius."),
        snomed(language="en", term="fracture of radius"),
        snomed(concept="abc", term="sans concept"),
        snomed(kind="77", term="autre sorte"),
        snomed(term="ligne\tcassée"),
    ]
    file.write_text("\t".join(RF2_HEADER) + "\r\n" + "".join(rows), encoding="utf-8")
    found = read_terminology([str(file)], TermConfig(languages=("fr",)), QUIET)
    assert [t.text for t in found.terms] == ["fracture du radius", "fracture radiale", "fracture du radius (fermée)"]
    assert {t.concept for t in found.terms} == {"snomed:1001"}
    counts = found.counts[str(file)]
    assert counts.whole
    assert counts.left_out == {"inactive": 1, "definition": 1, "language": 1}
    assert counts.refused == {"no_concept": 1, "bad_value": 1, "wrong_field_count": 1}
    file.write_text("id\tterm\n", encoding="utf-8")
    with pytest.raises(UserError, match="RF2"):
        read_terminology([str(file)], TermConfig(), QUIET)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        'concept;term;language\n1;"plâtre; résine";fr\n1;contention;fr\n2;;fr\n3;trop\n', encoding="utf-8-sig"
    )
    found = read_terminology([str(file)], TermConfig(), QUIET)
    assert found.terms == (Term("csv:1", "plâtre; résine", "fr"), Term("csv:1", "contention", "fr"))
    assert found.counts[str(file)].refused == {"no_term": 1, "wrong_field_count": 1}
    file.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="columns"):
        read_terminology([str(file)], TermConfig(), QUIET)


def test_sources_are_refused_with_what_would_do(tmp_path: Path) -> None:
    part = tmp_path / "MRCONSO.RRF.aa.gz"
    part.write_bytes(b"")
    with pytest.raises(UserError, match="joined"):
        read_terms(str(part))
    with pytest.raises(UserError, match="no such file"):
        read_terms(str(tmp_path / "nothing.csv"))
    with pytest.raises(UserError, match="there are"):
        read_terms("zz")
    with pytest.raises(UserError, match=r"no name in it"):
        read_terminology(["fr"], TermConfig(languages=("it",)), QUIET)


def test_packs_share_their_concepts() -> None:
    found = read_terminology(["fr", "en"], TermConfig(), QUIET)
    names = {t.text: t.language for t in found.by_concept()["pack:osteophyte"]}
    assert names["bec de perroquet"] == "fr"
    assert names["bone spur"] == "en"
    assert all(counts.whole for counts in found.counts.values())


@pytest.mark.parametrize("code", available())
def test_every_pack_has_its_list_and_no_name_has_two_meanings(code: str) -> None:
    concepts = load_pack(code)["synonyms"]["concepts"]
    assert len(concepts) >= (150 if code == "fr" else 30)
    meaning: dict[str, str] = {}
    for concept, names in concepts.items():
        assert len({name_key(name) for name in names}) >= 2, concept
        for name in names:
            assert meaning.setdefault(name_key(name), concept) == concept, name
    shared = set(load_pack("en")["synonyms"]["concepts"])
    assert len(shared & set(concepts)) >= 30


def test_a_pack_without_a_list_is_told() -> None:
    with pytest.raises(ConfigError, match="no language pack"):
        load_pack("zz")
