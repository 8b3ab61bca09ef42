"""What the server adds to Streamlit: who may ask it, what a page may load, and an orderly end."""

import base64
import hashlib
import os
import re
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import workspace
from app.jobs.queue import all_jobs
from app.trace import open_trace

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
FIRST_PAGES = ("overview", "specialization", "load_balance", "domain_clusters")
BEGINNINGS = ("http.response.start", "websocket.http.response.start", "websocket.accept")


STATIC = Path(st.__file__).with_name("static")


def inline_scripts() -> list[str]:
    """Hashes of the scripts inside Streamlit's own page: no other inline script runs."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'", "'wasm-unsafe-eval'", "blob:", *inline_scripts()],  # blob: components
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:", "blob:"],
    "font-src": ["'self'", "data:"],
    "worker-src": ["'self'", "blob:"],
    "object-src": ["'none'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}
HEADERS = {
    "Content-Security-Policy": "; ".join(
        f"{name} {' '.join(sources)}" for name, sources in POLICY.items()
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


EARLY = {  # what draws figures, fetched while the page is computed
    "Link": ", ".join(
        f"<./static/js/{script.name}>; rel=modulepreload; crossorigin"
        for script in (STATIC / "static" / "js").glob("PlotlyChart.*.js")
    )
}


def refusal(headers: Headers) -> str | None:
    """Why a request is refused. A client without `Origin` is no browser, or a page of our own."""
    hosts = headers.getlist("host")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if not is_allowed(host):
        return (
            f"{host[:80]!r} is not a name of this server. It is started with the names that it "
            "answers to: --server.allowedHosts NAME, or STREAMLIT_SERVER_ALLOWED_HOSTS=NAME"
        )
    origins = headers.getlist("origin")
    if any(host_of(origin) != host for origin in origins):
        return f"a page of {origins[0][:80]} may not use this server"
    return None


def host_of(origin: str) -> str:
    """Empty: it is no address of a web page."""
    try:
        scheme, host = urlsplit(origin)[:2]
    except ValueError:
        return ""
    return host.lower() if scheme in ("http", "https") else ""


def is_allowed(host: str) -> bool:
    """Whether a `Host` header names this server; on which port does not matter."""
    match = HOST.fullmatch(host)
    allowed = st.get_option("server.allowedHosts") or LOOPBACK
    return match is not None and any(
        fnmatchcase(match[1].strip("[]"), name.lower()) for name in allowed
    )


class Guard:
    """Refuses requests under a foreign name or from a foreign page; every answer has HEADERS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in BEGINNINGS:
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.update(EARLY)
            await send(message)

        reason = refusal(Headers(scope=scope))
        answer: ASGIApp = self.app
        if reason is not None:
            answer = PlainTextResponse(reason + "\n", 403)
        elif address := as_written(scope):
            answer = RedirectResponse(address)
        await answer(scope, receive, send_with_headers)


def as_written(scope: Scope) -> str:
    """The address of a page as Streamlit writes it, where it was asked for in another way, such as
    with `expert=3:17`: Streamlit would add a step to the browser's history, and going back would
    take two. Empty: it is as written."""
    asked = scope.get("query_string", b"").decode("latin-1")
    if not asked or "text/html" not in Headers(scope=scope).get("accept", ""):
        return ""
    written = urlencode(parse_qsl(asked, keep_blank_values=True))
    return "" if written == asked else f"?{written}"


def server_error(request: Request, error: Exception) -> PlainTextResponse:
    """Made outside of all middleware, so it brings the headers itself."""
    return PlainTextResponse("Internal Server Error\n", 500, headers=HEADERS)


def warm() -> None:
    """Import what pages compute and draw with: the first visitor does not wait for it."""
    for name in ("evidence", *(f"views.{page}.panels" for page in FIRST_PAGES)):
        import_module(f"{__package__}.{name}")  # `app` has another name in the installed package


def open_first_trace() -> None:
    """And check it, which takes a while: no visitor waits for that either."""
    files, _ = workspace.traces()
    with suppress(ValueError):  # pages say what is wrong with it
        for file in files[:1]:
            open_trace(file)


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    all_jobs()  # cleans up after a server that was killed
    for work in (warm, open_first_trace):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()
    yield
    all_jobs().stop()
    workspace.discard_scratch()
    sys.stdout.flush()
    os._exit(0)  # Python's own end aborts where the thread of an open page is inside DuckDB


MIDDLEWARE = [Middleware(Guard)]
ON_ERROR = {Exception: server_error}
