"""Addresses on networks: e-mail, also in disguise, web, social handles, IP and MAC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from anonymize.config import read_yaml_mapping
from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.languages import FOLDER, Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, fold, folded, words_of

_LOCAL = r"[\w.+\-*'’]{1,64}"
_EMAIL = re.compile(rf"{_LOCAL} ?@ ?[\w\-*]{{1,63}}(?: ?\.[ ]?[\w\-*]{{1,63}}(?![\w]))*")
_SCHEME = re.compile(r"(?:https?|ftp|sftp)://[^\s<>\"']{3,200}|(?<!\w)www\.[^\s<>\"']{3,200}", re.I)
# Host names without a scheme: only under common top-level domains, in lower case, so that glued sentences stay.
_TOP = (
    "fr|be|ch|com|org|net|eu|ca|lu|de|es|uk|nl|at|pt|info|mc|io|health|med|quebec|brussels|paris|app|gouv|gov|edu|int|local"
    "|invalid|example|cat|ie|us|biz|cloud|swiss|bzh"
)
_TAIL = re.compile(rf"\.(?:{_TOP})(?![\w\-])")
_LEFT = re.compile(r"(?<![\w.@\-])(?:[a-z0-9][a-z0-9\-]{0,62}\.){0,4}[a-z0-9][a-z0-9\-]{1,62}$")
_RIGHT = re.compile(r"(?:[/:][^\s<>\"']{0,200})?")
_ENDINGS = (
    *(
        "dcm",
        "dicom",
        "nii",
        "jpg",
        "jpeg",
        "png",
        "tif",
        "tiff",
        "pdf",
        "avi",
        "mp4",
        "mov",
        "wav",
        "mp3",
        "dss",
        "doc",
    ),
    *("docx", "odt", "rtf", "txt", "csv", "xls", "xlsx", "hl7", "xml", "zip", "stl"),
)
_ENDING_WORDS = frozenset(word for ending in _ENDINGS for word in words_of(ending))
# Names of files hold who and when: "CB3D_POPESCU_0515.dcm"
_FILE = re.compile(
    r"(?<![\w/\\.\-])(?:[A-Za-z]:\\|\\\\|/)?(?:[\w.\-]{1,60}[\\/]){0,8}(?P<stem>[^\W\d][\w\-]{3,80})"
    rf"\.(?:{'|'.join(_ENDINGS)})(?!\w)",
    re.I,
)
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_DOTS = re.compile(r"\.\d{1,3}\.\d{1,3}\.")
_HYPHENS = re.compile(r"-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-")
_HANDLE = re.compile(r"(?<![\w@./])@[a-z_][\w.]{2,29}(?!\w)", re.I)
_IP4 = re.compile(r"(?<![\w.\-/,])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2}|:\d{2,5})?(?![\w.]\d|\w)")
_IP6 = re.compile(
    r"(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4})+(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4})?::(?:[0-9a-f]{1,4}:?){1,6}(?!\w)",
    re.I,
)
_MAC = re.compile(r"(?<![\w:\-])[0-9a-f]{2}([:\-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![\w:])", re.I)


class Online(Detector):
    """E-mail, web and network addresses. A handle needs its sign at the start of a word."""

    kinds = ("email", "url", "id")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["contacts"]
        said = read_yaml_mapping(FOLDER / "mail_words.yaml")
        at, alone, dot = ("|".join(map(re.escape, map(fold, said[key]))) for key in ("at", "alone", "dot"))
        self._disguised = re.compile(
            rf"[\w.+\-]{{1,64}} ?[(\[{{<] ?(?:{at}|@) ?[)\]}}>] ?"
            rf"[\w\-]{{1,63}}(?: ?(?:[(\[{{<] ?)?(?:\.|{dot})(?: ?[)\]}}>])? ?[\w\-]{{1,63}}){{1,4}}"
        )
        self._spoken = re.compile(
            rf"(?<!\w)[\w.+\-]{{2,64}} (?:{alone}) [\w\-]{{2,63}}(?: (?:{dot}) |\.)[a-z]{{2,6}}(?!\w)"
        )
        self._bracket = re.compile(rf"[(\[{{<] ?(?:{at}|@)")
        self._at = folded(said["at"])  # words, looked up before the patterns are tried
        self._alone = folded(said["alone"])
        cues = words.get("handle_cues", [])
        self._cues = Cues({"handle": cues})
        self._cue = re.compile(rf"(?<!\w){alternatives(cues)} ?[:=] ?@?(?P<name>[\w.\-]{{3,30}})") if cues else None

    def find(self, view: View) -> Iterable[Span]:
        """Spans of whole addresses."""
        text = view.text
        if "@" in text:
            for match in _EMAIL.finditer(text):
                yield from self._email(match)
            for match in _HANDLE.finditer(text):
                yield Span(match.start(), match.end() - (match.group()[-1] == "."), "url", 0.85, "online.handle")
        folded = view.folded
        if ("@" in text or not self._at.isdisjoint(view.vocabulary)) and self._bracket.search(folded):
            for match in self._disguised.finditer(folded):
                yield Span(*match.span(), "email", 0.95, "online.email_disguised")
        if not self._alone.isdisjoint(view.vocabulary):
            for match in self._spoken.finditer(folded):
                yield Span(*match.span(), "email", 0.8, "online.email_disguised")
        if "://" in text or "www" in view.folded:
            for match in _SCHEME.finditer(text):
                yield Span(
                    match.start(), match.start() + len(match.group().rstrip(".,;:)]")), "url", 0.95, "online.url"
                )
        for match in _TAIL.finditer(text):
            left = _LEFT.search(text, max(0, match.start() - 120), match.start())
            if left:
                end = _RIGHT.match(text, match.end())
                stop = end.end() if end else match.end()
                value = text[left.start() : stop].rstrip(".,;:)")
                yield Span(left.start(), left.start() + len(value), "url", 0.9, "online.host")
        for match in _FILE.finditer(text) if not _ENDING_WORDS.isdisjoint(view.vocabulary) else ():
            if any(char.isdigit() or char in "_-" for char in match["stem"]):  # "rapport.pdf" says nothing
                yield Span(*match.span(), "id", 0.85, "online.file")
        for match in _IP4.finditer(text) if _DOTS.search(text) else ():
            numbers = match.group().split("/")[0].split(":")[0].split(".")
            whole = all(int(number) < 256 and (number == "0" or number[0] != "0") for number in numbers)
            if whole and max(map(int, numbers)) > 31:
                yield Span(*match.span(), "url", 0.96, "online.ip")
        if _COLONS.search(text):
            for match in _IP6.finditer(text):
                if match.group().count(":") >= 3 and self._ip6(match.group()):
                    yield Span(*match.span(), "url", 0.9, "online.ip")
            for match in _MAC.finditer(text):
                yield Span(*match.span(), "id", 0.9, "online.mac")
        elif _HYPHENS.search(text):
            for match in _MAC.finditer(text):
                yield Span(*match.span(), "id", 0.9, "online.mac")
        for match in self._cue.finditer(view.folded) if self._cue else ():
            if re.search(r"[\d_.\-]", match["name"]) or "@" in match.group():
                yield Span(*match.span("name"), "url", 0.8, "online.handle")

    @staticmethod
    def _email(match: re.Match[str]) -> Iterable[Span]:
        value = match.group()
        start = match.start()
        if " @" in value or "@ " in value or " ." in value or ". " in value:
            # "nom @ hopital . fr": blanks only where the last part is a top-level domain
            parts = re.split(r" ?\.[ ]?", value)
            if len(parts) > 1 and " " in value and not re.fullmatch(r"[a-z]{2,6}", parts[-1]):
                cut = value.rfind(". ") if ". " in value else len(value)
                value = value[:cut]
        value = value.rstrip(".-'’")
        start += len(value) - len(value.lstrip(".-'’"))
        value = value.lstrip(".-'’")
        domain = value.rpartition("@")[2]
        if "." in domain or re.search(r"[._\d]\w*@\w{2,}", value):
            yield Span(start, start + len(value), "email", 0.99, "online.email")

    @staticmethod
    def _ip6(text: str) -> bool:
        try:
            ip_address(text.rstrip(":"))
        except ValueError:
            return False
        return True
