"""Pseudonyms are stable, separated by purpose, and never show the secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymize.keys import ENVIRONMENT_VARIABLE, Keys, SecretError, load_keys

KEYS = Keys(b"0123456789abcdef0123456789abcdef")


@given(st.text(min_size=1, max_size=40))
def test_offset_is_bounded_never_zero_and_stable(identifier: str) -> None:
    offset = KEYS.date_offset_days(identifier, 30)
    assert 1 <= abs(offset) <= 30
    assert offset == KEYS.date_offset_days(f"  {identifier}\0", 30)


@given(st.text(max_size=40))
def test_uid_is_a_valid_dicom_uid(value: str) -> None:
    uid = KEYS.uid(value)
    assert len(uid) <= 64
    assert all(part == str(int(part)) for part in uid.split("."))


def test_offsets_cover_the_range_evenly() -> None:
    offsets = [KEYS.date_offset_days(str(i), 3) for i in range(6000)]
    counts = {value: offsets.count(value) for value in (-3, -2, -1, 1, 2, 3)}
    assert sum(counts.values()) == 6000
    assert all(850 < count < 1150 for count in counts.values())


def test_pseudonyms_differ_by_kind_and_by_secret() -> None:
    other = Keys(b"another secret of enough bytes")
    names = {
        KEYS.pseudonym("patient", "1"),
        KEYS.pseudonym("study", "1"),
        KEYS.pseudonym("patient", "2"),
        other.pseudonym("patient", "1"),
    }
    assert len(names) == 4
    assert KEYS.pseudonym("patient", "1").startswith("P")


def test_secret_is_not_shown() -> None:
    assert "0123" not in repr(KEYS)
    with pytest.raises(SecretError) as caught:
        Keys(b"short")
    assert "short:" not in str(caught.value).replace("too short:", "")


def test_a_made_secret_lies_outside_with_mode_0600(tmp_path: Path) -> None:
    out = tmp_path / "safe"
    keys, path = load_keys(None, out)
    assert path is not None
    assert not path.resolve().is_relative_to(out.resolve())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again, _ = load_keys(None, out)
    assert again.identifier == keys.identifier


def test_secret_sources_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"a secret of at least sixteen bytes\n")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "from the environment, long enough")
    from_file, _ = load_keys(file, tmp_path / "safe")
    from_environment, path = load_keys(None, tmp_path / "safe")
    assert path is None
    assert from_file.identifier != from_environment.identifier
    assert not os.path.exists(tmp_path / "safe.private")


def test_a_secret_inside_the_safe_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    file = tmp_path / "safe" / "secret"
    file.write_bytes(b"a secret of at least sixteen bytes")
    with pytest.raises(SecretError, match="inside"):
        load_keys(file, tmp_path / "safe")
