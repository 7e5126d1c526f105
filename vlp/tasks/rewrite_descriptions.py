"""``vlp rewrite-descriptions``: more wordings of a pack's descriptions from a local language model, for a person to review.

DeViDe (Luo et al. 2024, arXiv 2404.03618) lets a language model bring descriptions into one style. Here the model only
rewords our own sentences; what it answers is checked by rules, and nothing is used before a person has put the file
into a pack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from anonymize.chat import ChatServer
from anonymize.config import Config, ConfigError
from anonymize.console import Console, UserError
from anonymize.files import write_text_atomic
from anonymize.languages import FOLDER, load_pack
from anonymize.readers.propose import guess_language
from anonymize.text import collapse, fold, words_of
from vlp.corpus.labels import Labeler, labeler
from vlp.training.descriptions import described_findings

_HEAD = "# Rewritten by {model}. Review every sentence, then save the file as descriptions.yaml of a language pack.\n"


class RewriteConfig(Config):
    """What is asked for, and what is accepted."""

    rewrites: int = Field(default=3, ge=1, le=20)  # of every sentence
    shortest: int = Field(default=10, ge=1)  # characters
    longest: int = Field(default=160, ge=20)
    temperature: float = Field(default=0.7, ge=0, le=2)


def run_rewrite(
    config: RewriteConfig, language: str, address: str, out: Path, console: Console, remote: str = ""
) -> dict[str, Any]:
    """Ask for rewrites of every description of a pack; write ``out`` (YAML like descriptions.yaml, ours first).

    What was refused, and why, goes to ``<out>.refused.yaml``.

    Args:
        address: ``http://localhost:8080/v1#MODEL``, see :class:`anonymize.chat.ChatServer`.
        remote: a host outside of this network that the user has named.

    Raises:
        UserError: no such pack, an address that is refused, no answer from the server.
    """
    try:
        server = ChatServer(address, "--endpoint", remote)
        findings, name = described_findings(language), str(load_pack(language)["pack"]["name"])
        check = Check(config, language)
    except ConfigError as error:
        raise UserError(str(error)) from None
    prompt = (FOLDER / "rewrite_prompt.txt").read_text(encoding="utf-8")
    prompt = prompt.format(language=name, count=config.rewrites, longest=config.longest)
    jobs = [(f, facet, text) for f, facets in findings.items() for facet, texts in facets.items() for text in texts]
    kept = {f: {facet: list(texts) for facet, texts in facets.items()} for f, facets in findings.items()}
    refused: list[dict[str, str]] = []
    asked = unusable = 0
    for finding, facet, text in console.track(jobs, len(jobs), "rewriting", "sentences"):
        try:
            answer = server.ask_json([("system", prompt), ("user", text)], temperature=config.temperature)
        except ConfigError as error:
            if "JSON" not in str(error):
                raise UserError(str(error)) from None
            unusable += 1
            continue
        rewrites = answer.get("rewrites")
        for rewrite in rewrites[: config.rewrites] if isinstance(rewrites, list) else []:
            asked += 1
            sentence = str(rewrite).strip()
            reason = check.refuse(sentence, finding, facet, kept[finding][facet])
            if reason:
                refused.append({"finding": finding, "facet": facet, "reason": reason, "text": sentence})
            else:
                kept[finding][facet].append(sentence)
    _write(out, _HEAD.format(model=server.model), {"findings": kept})
    _write(out.with_name(out.name + ".refused.yaml"), "", {"refused": refused})
    return {
        "sentences": len(jobs),
        "rewrites": asked,
        "accepted": asked - len(refused),
        "refused": len(refused),
        "unusable_answers": unusable,
        "out": str(out),
    }


class Check:
    """Whether a rewrite may stand beside our own sentences."""

    def __init__(self, config: RewriteConfig, language: str) -> None:
        """Raises:
        ConfigError: no such pack, or it lacks labels.yaml or anatomy.yaml.
        """
        self.config, self.language = config, language
        self._labels: Labeler = labeler(language)
        sides = load_pack(language)["anatomy"]["laterality"]
        self._sides = {fold(str(word)) for side in "RL" for word in sides[side] if len(str(word)) > 2}

    def refuse(self, text: str, finding: str, facet: str, others: list[str]) -> str:
        """Why ``text`` is not accepted; "" where it is."""
        if not self.config.shortest <= len(text) <= self.config.longest or "\n" in text:
            return "length"
        if collapse(text) in {collapse(other) for other in others}:
            return "repeated"
        if guess_language([text], least=1)[0] not in ("", self.language):
            return "language"
        if set(words_of(text)) & self._sides:
            return "side"
        if finding == "abnormal":  # the miner has no such finding
            return ""
        labels = self._labels.labels(text)
        name = "osteoarthritis" if finding == "kl_grade" else finding
        wanted = 0.0 if facet == "negative" else 1.0
        if name not in labels:
            return "finding not named"
        if labels[name] != wanted:
            return "denied or doubtful" if wanted else "not denied"
        signs = {name, "joint_space_narrowing", "osteophyte"}
        return "another finding" if any(v == 1.0 for k, v in labels.items() if k not in signs) else ""


def _write(path: Path, head: str, data: dict[str, Any]) -> None:
    write_text_atomic(path, head + yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120))
