"""A hospital's own identifier forms, as its configuration gives them: an example or a regular expression."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from anonymize.config import Config

LONGEST = 200
_OPEN_REPEATS = 3


class IdentifierForm(Config):
    """One form: ``example`` ("9999999-A": digits and letters stand for their like) or ``pattern``, and a label.

    A number of the form is found without a label. ``label`` is a word that announces any number of that kind.
    """

    kind: Literal["patient_id", "visit_id", "professional_id", "national_id", "id"]
    example: str = Field(default="", max_length=60)
    pattern: str = Field(default="", max_length=LONGEST)
    label: str = Field(default="", max_length=60)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if bool(self.example) == bool(self.pattern):
            raise ValueError("give either 'example' or 'pattern'")
        if self.example and sum(char.isalnum() for char in self.example) < 4:
            raise ValueError("an example needs four letters or digits: shorter forms hit measures")
        if self.example and not any(char.isdigit() for char in self.example):
            raise ValueError("an example needs a digit: a form of letters alone hits words")
        if self.pattern:
            problem = risk(self.pattern)
            if problem:
                raise ValueError(problem)
        return self

    def regex(self) -> str:
        """The regular expression of the form, without its borders."""
        if self.pattern:
            return self.pattern
        parts = re.findall(r"\d+|[^\W\d_]+|.", self.example, re.DOTALL)
        return "".join(
            rf"\d{{{len(part)}}}"
            if part.isdigit()
            else rf"[^\W\d_]{{{len(part)}}}"
            if part.isalpha()
            else re.escape(part)
            for part in parts
        )


def risk(pattern: str) -> str:
    """What makes ``pattern`` unusable: invalid, matches nothing at all, or can take exponential time; "" if nothing."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        return f"not a regular expression: {error}"
    if compiled.fullmatch(""):
        return "the pattern matches the empty text; let it ask for a digit"
    groups: list[bool] = []  # open groups: whether one holds a repeat or an alternative
    last_group = False  # the item before the present place is such a group
    open_repeats, index = 0, 0
    while index < len(pattern):
        char = pattern[index]
        closes = False
        if char == "\\":
            if pattern[index + 1 : index + 2].isdigit():
                return "references to groups (\\1) are not allowed"
            index += 1
        elif char == "[":
            index = _class_end(pattern, index)
        elif char == "(":
            groups.append(False)
        elif char == ")":
            closes = groups.pop()
            if closes and groups:
                groups[-1] = True
        elif char == "|" and groups:
            groups[-1] = True
        elif char in "*+{" or (char == "?" and pattern[index - 1] not in "(*+?}"):
            if last_group and char != "?":
                return "a group with a repeat or an alternative inside is repeated; write it without nesting"
            open_repeats += char in "*+" or (char == "{" and re.match(r"\{\d*,\}", pattern[index:]) is not None)
            if open_repeats > _OPEN_REPEATS:
                return f"more than {_OPEN_REPEATS} open repeats (* or +); give numbers, such as {{1,8}}"
            if groups and char != "?":
                groups[-1] = True
        last_group = closes
        index += 1
    return ""


def _class_end(pattern: str, start: int) -> int:
    index = start + 1
    if pattern[index : index + 1] == "^":
        index += 1
    if pattern[index : index + 1] == "]":
        index += 1
    while index < len(pattern) and pattern[index] != "]":
        index += 2 if pattern[index] == "\\" else 1
    return index
