"""Identifiers of things: DICOM UIDs, UUIDs, vehicle plates, barcodes, file paths, account names of computers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.config import ConfigError
from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives

_UID = re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){4,}(?![\w])")  # PS3.5 section 9: at most 64 characters
_UUID = re.compile(r"(?<![\w\-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)")
_GS1 = re.compile(r"\(01\) ?\d{14}(?: ?\((?:10|11|17|21|240)\) ?[\w\-./]{1,20})*")
_PATH = re.compile(r"(?:\\\\[\w.$\-]{1,60}|(?<!\w)[A-Za-z]:)\\[^\s\"<>|;,]{2,200}")
_UNIX = re.compile(r"/(?:home|users|mnt|media|var|data|srv)/[^\s\"<>|;,]{2,200}")
_ACCOUNT = re.compile(r"(?<![\w\\])[A-Z][A-Z0-9\-]{2,14}\\[a-z][\w.\-]{2,30}(?![\w\\])", re.I)
_BIC = re.compile(r"(?<!\w)(?:bic|swift)\W{1,4}(?P<code>[a-z]{6}[a-z0-9]{2}(?:[a-z0-9]{3})?)(?!\w)")  # ISO 9362
_USER = re.compile(r"[a-z][\w.\-]{1,29}\w")

PLATES: dict[str, tuple[str, bool]] = {
    # country and form: pattern in folded text, whether a cue is needed
    "fr": (r"[a-hj-np-tv-z]{2}([\- ])\d{3}\1[a-hj-np-tv-z]{2}", False),
    "fr_old": (r"\d{1,4} ?[a-z]{2,3} ?(?:\d\d|2[ab])", True),
    "be": (r"[1-9]-[a-z]{3}-\d{3}", False),
    "ch": (r"(?:ag|a[ir]|b[els]|fr|g[elr]|ju|lu|n[ew]|ow|s[ghoz]|t[gi]|ur|v[ds]|z[gh]) ?\d{1,6}", True),
    "qc": (r"[a-z]\d\d ?[a-z]{3}|[a-z]{3} ?\d{3}", True),
    "de": (r"[a-zäöü]{1,3}[ \-][a-z]{1,2} ?\d{1,4}[he]?", True),
    "es": (r"\d{4}[ \-]?[b-df-hj-np-tv-z]{3}", True),
    "it": (r"[a-hj-npr-tv-z]{2} ?\d{3} ?[a-hj-npr-tv-z]{2}", True),
    "nl": (r"(?:[a-z]{1,3}|\d{1,3})(?:-(?:[a-z]{1,3}|\d{1,3})){2}", True),
    "gb": (r"[a-z]{2}\d\d ?[a-z]{3}", True),
    "us": (r"[a-z0-9]{2,4}[ \-]?[a-z0-9]{2,4}", True),
}


class Devices(Detector):
    """Most forms are particular enough; a plate may need its cue, and so does an account name."""

    kinds = ("id", "url")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["identifiers"]
        names = [str(name) for name in words.get("plates", [])]
        unknown = [name for name in names if name not in PLATES]
        if unknown:
            raise ConfigError(
                f"language pack '{pack.language}', detectors.yaml: identifiers.plates has no form '{unknown[0]}'; "
                f"there are: {', '.join(sorted(PLATES))}"
            )
        self._cues = Cues(
            {"plate": words.get("plate_cues", []), "user": words.get("user_cues", [])}, words.get("fillers", [])
        )
        self._free = [re.compile(rf"(?:{PLATES[name][0]})(?!\w)") for name in names if not PLATES[name][1]]
        self._cued = [re.compile(rf"(?:{PLATES[name][0]})(?!\w)") for name in names]
        cues = [str(word) for key in ("plate_cues", "user_cues") for word in words.get(key, [])]
        self._cue = Anchored(cues, rf"(?<!\w){alternatives(cues)}(?!\w)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of whole identifiers."""
        text, folded = view.text, view.folded
        for index in view.digits if folded.count(".") > 3 else ():
            match = _UID.match(folded, view.starts[index]) if view.words[index] in ("0", "1", "2") else None
            if match and len(match.group()) >= 16:
                yield Span(match.start(), match.end(), "id", 0.95, "devices.uid")
        if "-" in folded:
            for match in _UUID.finditer(folded):
                yield Span(*match.span(), "id", 0.95, "devices.uuid")
            for middle in _PLATE_MIDDLE.finditer(text) if self._free else ():
                for start in (middle.start() - 2, middle.start() - 1):
                    if start < 0 or text[start - 1 : start].isalnum() or text[start - 1 : start] == "-":
                        continue
                    for pattern in self._free:
                        match = pattern.match(folded, start)
                        if match and match.group().upper() == text[start : match.end()]:
                            yield Span(*match.span(), "id", 0.9, "devices.plate")
        if "(01)" in folded:
            for match in _GS1.finditer(folded):
                yield Span(*match.span(), "id", 0.95, "devices.udi")
        for match in _UNIX.finditer(folded) if "/" in text else ():
            if not text[match.start() - 1 : match.start()].isalnum():
                yield Span(match.start(), match.start() + len(match.group().rstrip(".:)")), "id", 0.9, "devices.path")
        if "\\" in text:
            for match in _PATH.finditer(text):
                yield Span(match.start(), match.start() + len(match.group().rstrip(".:)")), "id", 0.9, "devices.path")
            for match in _ACCOUNT.finditer(text):
                yield Span(*match.span(), "id", 0.9, "devices.account")
        if "bic" in folded or "swift" in folded:
            for match in _BIC.finditer(folded):
                yield Span(*match.span("code"), "id", 0.9, "devices.bic")
        yield from self._announced(view)

    def _announced(self, view: View) -> Iterable[Span]:
        folded = view.folded
        for cue in self._cue.finditer(view):
            value = _VALUE.match(folded, cue.end())
            kind = self._cues.before(folded, value.end(), gap=6, breaks=0) if value else None
            if not value or not kind:
                continue
            start = value.end()
            patterns = self._cued if kind[0] == "plate" else [_USER]
            for pattern in patterns:
                match = pattern.match(folded, start)
                telling = r"\d" if kind[0] == "plate" else r"[\d._\-]"
                if match and re.search(telling, match.group()):
                    yield Span(*match.span(), "id", 0.9, f"devices.{kind[0]}")
                    break


_PLATE_MIDDLE = re.compile(r"-(?:\d{3}|[A-Z]{3})-")
_VALUE = re.compile(r"[ :=\-]{0,4}(?:n[°o]? ?:? ?)?")
