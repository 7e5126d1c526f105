"""Dates as people write them: read at a place of a text, move, write back in the same form."""

from anonymize.dates.arithmetic import age_months, moved, parse_iso, shift, whole_weeks
from anonymize.dates.forms import STAMP, DateForms, forms_of
from anonymize.dates.written import Written

__all__ = ["STAMP", "DateForms", "Written", "age_months", "forms_of", "moved", "parse_iso", "shift", "whole_weeks"]
