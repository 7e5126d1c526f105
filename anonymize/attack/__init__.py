"""An attack on a safe export by somebody who holds the originals: what survived, what can be guessed, who stands alone.

Survival and traces in files are leaks. Guessing, linkage and rarity are figures: how much an adversary with outside
knowledge could do, even where nothing leaked (the three risks of WP29 Opinion 05/2014: singling out, linkability,
inference).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anonymize.attack.guessing import guessing, pairs_of
from anonymize.attack.linkage import linkage
from anonymize.attack.metadata import Trace, row_order, search_files
from anonymize.attack.originals import Case, link_by_content, link_by_secret, read_originals, read_safe
from anonymize.attack.rarity import rarity
from anonymize.attack.survival import Finding, Survival
from anonymize.console import Console, UserError
from anonymize.keys import Keys, normalise_identifier
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.readers import open_source
from anonymize.report import Report

_SIDE_BY_SIDE = 2000  # patients whose texts are laid side by side for the guessing attack
__all__ = ["Attack", "Finding", "Trace", "run_attack"]


@dataclass(frozen=True)
class Attack:
    """What the attack found."""

    patients: int
    reports: int
    linked: int  # safe reports whose original is known
    linked_by: str  # secret or content
    leaks: tuple[Finding, ...]
    ambiguous: tuple[Finding, ...]
    chance: int  # equal to an original by chance, and explained
    traces: tuple[Trace, ...]
    order: dict[str, Any]
    guessing: dict[str, Any]
    linkage: dict[str, Any]
    rarity: list[dict[str, Any]]

    @property
    def found(self) -> bool:
        """Whether an original survives, in a report, in another file or as the order of the rows."""
        return bool(self.leaks or self.traces or self.order["follows_export"])


def run_attack(
    config: ReportsConfig,
    safe: Path,
    originals: Path,
    keys: Keys | None,
    console: Console,
    *,
    limit: int = 0,
    everyone: bool = False,
) -> Attack:
    """Attack the reports of ``safe`` with the export that they were made from.

    Args:
        config: how the export is read (language, columns, encoding), as in ``safe/reports/config.yaml``.
        keys: the secret, where it is at hand: it links reports to originals exactly. Else their words do.
        limit: patients looked at (0 = all). Memory: the originals of these patients.
        everyone: search the surnames of all patients in all reports, not each patient's own only.

    Raises:
        UserError: no reports in ``safe``, or an export that cannot be read.
    """
    pack = load_pack(config.language)
    cases = read_safe(safe, limit)
    if not cases:
        raise UserError(f"{safe} holds no reports; give the folder that `anonymize reports --out` made")
    source = open_source(originals, config)
    rows = console.track(read_originals(source, pack), None, "originals", "reports")
    if keys is not None:
        link_by_secret(cases, rows, keys)
    else:
        link_by_content(cases, rows)
    known = list(cases.values())
    linked = sum(len(case.linked) for case in known)
    if not linked:
        raise UserError(
            f"no report of {safe} was recognised in {originals}; is it the export that they were made from"
            + (", and the secret that run's secret?" if keys is not None else "?")
        )
    survival = Survival(pack, known)
    names, staff, numbers = _of_all(known, survival)
    for case in console.track(known, len(known), "survival", "patients"):
        survival.search(case, names | staff if everyone else staff)
    ordinary = survival.ordinary()
    traces = search_files(safe, (names | staff) - ordinary, numbers)
    pairs = {pair for case in islice(known, _SIDE_BY_SIDE) for pair in pairs_of(case, survival)}
    return Attack(
        patients=len(known),
        reports=sum(len(case.safe) for case in known),
        linked=linked,
        linked_by="content" if keys is None else "secret",
        leaks=tuple(survival.leaks),
        ambiguous=tuple(survival.ambiguous),
        chance=survival.chance,
        traces=tuple(traces),
        order=row_order(known),
        guessing=guessing(pairs),
        linkage=linkage(known, _by_patient(known), survival.dates),
        rarity=rarity(known),
    )


def as_rows(findings: Sequence[Finding], show: bool) -> list[dict[str, Any]]:
    """Findings as JSON has them; the value itself only where asked for."""
    return [{k: v for k, v in vars(item).items() if show or k != "value"} for item in findings]


def by_kind(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings each kind has."""
    return dict(Counter(item.kind for item in findings).most_common())


def _of_all(cases: Sequence[Case], survival: Survival) -> tuple[set[str], set[str], set[str]]:
    names: set[str] = set()
    staff: set[str] = set()
    numbers: set[str] = set()
    for case in cases:
        values = survival.values(case)
        names |= values.names
        staff |= values.staff
        numbers |= {*values.numbers, *values.codes}
    return names, staff, numbers


def _by_patient(cases: Sequence[Case]) -> dict[str, list[Report]]:
    found: dict[str, list[Report]] = defaultdict(list)
    for case in cases:
        for report in case.originals:
            found[normalise_identifier(report.identity.patient_id)].append(report)
    return found
