"""Why something could not be read: stable codes, each with what a person can do about it."""

from __future__ import annotations

MAXIMUM_TEXT = 5 * 1024 * 1024  # characters of one report; longer ones are no report
MAXIMUM_FILE = 256 * 1024 * 1024  # bytes of one document, which is read whole


class Unreadable(Exception):
    """A file or record that goes to quarantine; the argument is a code of :data:`REMEDIES` and holds no source text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REMEDIES = {
    "empty_report": "The report has no text; export it again if it should have one.",
    "nul_byte": "The row holds a NUL byte; export it again as text.",
    "wrong_encoding": "The row is in another encoding than the file; export it again in one encoding.",
    "duplicated_row": "The row is the same as an earlier one, which was kept.",
    "two_patients": "The patient identifier stands beside different names or birth dates; find out whose report it is.",
    "missing_identifier": "The row has no patient identifier; without it nothing can be linked or searched.",
    "unparsable_row": "The row has another number of columns than the heading, often from a stray quotation mark.",
    "bad_date": "The examination's date cannot be read; give it as day, month and year.",
    "too_large": "The text is longer than 5 MB, or the file than 256 MB; no report is. Split it or leave it out.",
    "empty_file": "The file holds nothing; export it again.",
    "truncated_file": "The file ends too early; copy or export it again.",
    "damaged_file": "The file cannot be opened in the format that its content shows; export it again.",
    "encrypted": "The file is protected by a password; save it without one.",
    "scanned_page": "A page is a picture without a text layer; give the report as text, or run text recognition first.",
    "zip_bomb": "The file unpacks to far more than its size allows; find out where it comes from.",
    "entity_in_xml": "The XML declares a document type or entities, which are not read; export it without them.",
    "symbolic_link": "The file is a link; put the file itself into the folder.",
    "system_file": "A hidden, temporary or system file, no report; nothing needs to be done.",
    "unknown_format": "The content is in no format that is read (see docs/report-formats.md); convert it.",
    "old_office_format": "A file of an Office version before 2007; save it as .docx or .xlsx.",
    "table_in_folder": "A table among single documents; run the command on the table by itself.",
    "not_a_report": "The file or message is of another kind than a report; nothing needs to be done.",
    "external_document": "The text is elsewhere and only its address is given; export the document itself.",
    "file_name_unmatched": "The file's name does not fit files.pattern; rename it or change the pattern.",
    "not_in_index": "The file has no line in files.index; add one.",
    "missing_file": "A line of files.index names a file that is not in the folder; add the file or remove the line.",
}
