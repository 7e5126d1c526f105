"""``vlp rewrite-descriptions`` against a chat server on this machine that answers well and badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from anonymize.config import ConfigError, validate
from anonymize.console import Console, UserError
from anonymize.languages.schema import Descriptions
from vlp.cli import app
from vlp.tasks.rewrite_descriptions import Check, RewriteConfig, run_rewrite
from vlp.training.descriptions import described_findings

QUIET = Console("quiet")


class Server(HTTPServer):
    """Answers with the sentence in other words where it knows some; keeps what it was asked."""

    asked: list[dict]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Server)
        self.server.asked.append(body)
        text = body["messages"][1]["content"]
        if text.startswith("Cardiomégalie"):
            content = "Voici : je ne sais pas."
        else:
            rewrites = [f"{text[:-1]} sur ce cliché.", "No fracture is seen on this film.", text]
            content = "```json\n" + json.dumps({"rewrites": rewrites}) + "\n```"
        answer = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_good_answers_stand_beside_ours_and_the_rest_is_refused_with_its_reason(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "rewritten.yaml"
    address = f"http://127.0.0.1:{server.server_port}/v1#tiny"
    command = ["rewrite-descriptions", "--endpoint", address, "--language", "fr", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    ours = described_findings("fr")
    sentences = [s for facets in ours.values() for texts in facets.values() for s in texts]
    assert summary["sentences"] == len(sentences) == len(server.asked)
    assert summary["unusable_answers"] == sum(s.startswith("Cardiomégalie") for s in sentences) > 0
    assert summary["accepted"] + summary["refused"] == summary["rewrites"]
    written = yaml.safe_load(out.read_text(encoding="utf-8"))
    validate(Descriptions, written, "rewritten.yaml")  # a pack's topic as it stands
    facet = written["findings"]["pneumothorax"]["cause"]
    assert facet[: len(ours["pneumothorax"]["cause"])] == ours["pneumothorax"]["cause"]
    assert "Pneumothorax spontané par rupture d'une bulle sur ce cliché." in facet
    refused = yaml.safe_load((tmp_path / "rewritten.yaml.refused.yaml").read_text(encoding="utf-8"))["refused"]
    reasons = {row["reason"] for row in refused}
    assert {"repeated", "language"} <= reasons
    assert not any("No fracture" in s for facets in written["findings"].values() for t in facets.values() for s in t)
    assert server.asked[0]["model"] == "tiny"
    assert "français" in server.asked[0]["messages"][0]["content"].casefold()


@pytest.mark.parametrize(
    ("text", "facet", "reason"),
    [
        ("Un trait de fracture interrompt la corticale.", "shape", ""),
        ("Pas de fracture visible.", "shape", "denied or doubtful"),
        ("Fracture possible de la corticale.", "shape", "denied or doubtful"),
        ("Une ligne claire interrompt la corticale.", "shape", "finding not named"),
        ("Fracture de la diaphyse gauche.", "location", "side"),
        ("Fracture avec pneumothorax.", "location", "another finding"),
        ("Fracture.", "location", "length"),
        ("Fracture " + "x" * 200, "location", "length"),
        ("Fracture with a broken cortex and the fragments displaced.", "shape", "language"),
        ("On voit une fracture de la corticale.", "negative", "not denied"),
        ("Aucune fracture décelable.", "negative", ""),
    ],
)
def test_what_is_accepted(text: str, facet: str, reason: str) -> None:
    assert Check(RewriteConfig(), "fr").refuse(text, "fracture", facet, ["Trait de fracture."]) == reason


def test_no_public_host_is_asked_unless_it_is_named(tmp_path: Path) -> None:
    for address in ("http://93.184.216.34/v1", "ftp://localhost/v1", "localhost:80"):
        with pytest.raises(UserError, match="--endpoint"):
            run_rewrite(RewriteConfig(), "fr", address, tmp_path / "x.yaml", QUIET)
    # named: it is asked, and the test's guard against connections answers
    with pytest.raises(UserError, match="no answer from the server: PermissionError"):
        run_rewrite(RewriteConfig(), "fr", "http://93.184.216.34/v1", tmp_path / "x.yaml", QUIET, "93.184.216.34")
    assert not (tmp_path / "x.yaml").exists()
    with pytest.raises(ConfigError, match="no language pack"):
        Check(RewriteConfig(), "zz")
