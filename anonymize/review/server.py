"""The local page: its routes, and the server that runs until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict

from anonymize.console import Console, UserError
from anonymize.files import write_text_atomic
from anonymize.report import KINDS
from anonymize.review.guard import Guard
from anonymize.review.journal import EditError
from anonymize.review.session import ConflictError, Session

PAGE = Path(__file__).parent / "page"
ASSETS = ("app.css", "app.js", "text.js", "icon.svg")


class Act(BaseModel):
    """One correction of the page."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["add", "change", "extend", "remove", "accept", "reopen", "undo"]
    version: int
    start: int = 0
    end: int = 0
    new_start: int = 0
    new_end: int = 0
    kind: Literal[KINDS] = "name"  # pyright: ignore[reportInvalidTypeForm]
    side: Literal["original", "safe"] = "original"


def page(session: Session, export: Callable[[], dict[str, Any]]) -> FastAPI:
    """The routes. Every one is behind :class:`Guard`; handlers run one after another."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    @app.get("/assets/{name}")
    async def asset(name: str) -> FileResponse:
        if name not in ASSETS:
            raise HTTPException(404)
        return FileResponse(PAGE / name)

    @app.get("/api/reports")
    async def reports() -> dict[str, Any]:
        return session.overview()

    @app.get("/api/reports/{report_id}")
    async def report(report_id: str) -> dict[str, Any]:
        try:
            return session.report(report_id)
        except KeyError:
            raise HTTPException(404, "no such report") from None

    @app.post("/api/reports/{report_id}")
    async def act(report_id: str, wanted: Act) -> dict[str, Any]:
        try:
            return session.act(report_id, **wanted.model_dump())
        except KeyError:
            raise HTTPException(404, "no such report") from None
        except EditError as error:
            raise HTTPException(422, str(error)) from None
        except ConflictError:
            raise HTTPException(409, "the report was changed in another window") from None

    @app.post("/api/gold")
    async def write_gold() -> dict[str, Any]:
        return export()

    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        UserError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(64)  # a browser that is faster than the server waits
    except OSError as error:
        bound.close()
        raise UserError(f"--host {host} --port {port}: {error.strerror or 'cannot be listened on'}") from None
    return bound


def serve(
    session: Session,
    export: Callable[[], dict[str, Any]],
    host: str,
    bound: socket.socket,
    console: Console,
    announce: Callable[[str], None],
    opener: Path | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        session: what the page shows.
        export: writes the gold, and says how many reports went where.
        host: the address of ``bound``.
        bound: from :func:`listen`.
        console: for errors.
        announce: is given the address with its token once.
        opener: a private file that leads a browser to the page; written, opened and removed at the end.
    """
    port = bound.getsockname()[1]
    token = secrets.token_urlsafe(32)
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{name}:{port}/?token={token}"
    guarded = Guard(page(session, export), token, host, port, console)  # type: ignore[arg-type]
    settings = uvicorn.Config(
        guarded,  # type: ignore[arg-type]
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(settings)
    announce(address)
    if opener is not None:
        # a browser is given a file, not the address: other users of a machine can read a process's arguments
        line = f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">'
        write_text_atomic(opener, line, permissions=0o600)
        webbrowser.open(opener.resolve().as_uri())
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        if opener is not None:
            opener.unlink(missing_ok=True)
        bound.close()
