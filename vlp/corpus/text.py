"""Text of reports as the corpus compares it."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# day, word, year in any language ("12 mars 2021", "3. April 2019", "4 de mayo de 2020"), numeric dates, times, years
_DATES = re.compile(
    r"\b\d{1,2}(?:er|st|nd|rd|th|\.)?\s+(?:de\s+|of\s+)?[^\W\d_]+\.?\s+(?:de\s+|del\s+)?(?:19|20)\d\d\b"
    r"|\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"
    r"|\b\d{1,2}\s*[h:]\s*\d{2}\b"
    r"|\b(?:19|20)\d\d\b"
    r"|\b[A-Z]*\d{5,}\b",
    re.IGNORECASE,
)
_NOT_WORDS = re.compile(r"[^\w]+")


def normalised(text: str) -> str:
    """``text`` in lower case without accents, punctuation, dates, times, years and long numbers.

    Short numbers stay: a bone age of 8 and one of 12 years are different findings.
    """
    plain = _DATES.sub(" ", text)
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain.casefold()) if not unicodedata.combining(c))
    return _NOT_WORDS.sub(" ", plain).strip()


def report_hash(results: str, conclusion: str, text: str) -> str:
    """16 hex digits, equal for reports that say the same; "" where there is no text.

    Results and conclusion decide, because header and signature differ between equal findings; the whole text where a
    report has neither.
    """
    clinical = normalised(f"{results}\n{conclusion}") or normalised(text)
    return hashlib.sha256(clinical.encode()).hexdigest()[:16] if clinical else ""
