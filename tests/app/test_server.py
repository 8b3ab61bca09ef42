import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from app.server import (
    HEADERS,
    MIDDLEWARE,
    ON_ERROR,
    STATIC,
    as_written,
    open_first_trace,
    refusal,
)
from tests.traces import write_tiny_trace

OWN = "127.0.0.1:8501"


@pytest.fixture(autouse=True)
def shipped_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers_to("localhost", "127.0.0.1", "::1", patch=monkeypatch)


def answers_to(*names: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("streamlit.get_option", lambda name: list(names))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", OWN, "127.0.0.1", "[::1]:8501"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert refusal(Headers({"host": host})) is None
    assert refusal(Headers({"host": host, "origin": f"http://{host}"})) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil@localhost",
        "localhost/x",
        "localhost:80:80",
        "localhost\n",
        "[localhost]",
        "::1",
        "*",
        "",
    ],
)
def test_another_name_is_refused_with_the_way_to_allow_it(host: str) -> None:
    reason = refusal(Headers({"host": host}))
    assert reason is not None
    assert "--server.allowedHosts NAME" in reason


def test_a_request_without_a_name_or_with_two_is_refused() -> None:
    assert refusal(Headers({}))
    assert refusal(Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.example")]))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://127.0.0.1:8502",
        "http://localhost:8501",
        "http://evil.example",
        "file://localhost:8501",
        "127.0.0.1",
        "http://[::1",
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert refusal(Headers({"host": OWN, "origin": origin})) == (
        f"a page of {origin} may not use this server"
    )


def test_whoever_serves_under_a_name_of_their_own_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answers_to("moe.example", "*.lab.example", patch=monkeypatch)
    assert refusal(Headers({"host": "moe.example", "origin": "https://moe.example"})) is None
    assert refusal(Headers({"host": "a.lab.example:80"})) is None
    assert refusal(Headers({"host": "localhost"}))


def test_no_list_of_names_is_not_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answers_to(patch=monkeypatch)
    assert refusal(Headers({"host": "localhost"})) is None
    assert refusal(Headers({"host": "evil.example"}))


def test_an_error_of_the_server_brings_the_headers() -> None:
    async def fail(request: Request) -> Response:
        raise RuntimeError("broken")

    sent: list[Message] = []
    with pytest.raises(RuntimeError, match="broken"):
        ask(fail, sent)
    assert sent[0]["status"] == 500
    headers = Headers(raw=sent[0]["headers"])
    assert {name: headers.get(name) for name in HEADERS} == HEADERS


def test_a_page_names_the_script_that_draws_figures() -> None:
    async def page(request: Request) -> Response:
        return HTMLResponse("<p>a page")

    async def data(request: Request) -> Response:
        return PlainTextResponse("data")

    links = []
    for answer in (page, data):
        sent: list[Message] = []
        ask(answer, sent)
        links.append(Headers(raw=sent[0]["headers"]).get("link"))
    link = r"<\./static/(js/\S+\.js)>; rel=modulepreload; crossorigin"
    script = re.fullmatch(link, str(links[0]))
    assert script is not None
    assert (STATIC / "static" / script[1]).is_file()
    assert links[1] is None


@pytest.mark.parametrize(
    ("asked", "accept", "address"),
    [
        ("expert=3:17&q=a%20b", "text/html,*/*", "?expert=3%3A17&q=a+b"),
        ("expert=3%3A17&q=a+b", "text/html", ""),
        ("domain=&over=a&over=b", "text/html", ""),
        ("expert=3:17", "application/json", ""),
        ("", "text/html", ""),
    ],
)
def test_a_page_s_address_is_as_streamlit_writes_it(asked: str, accept: str, address: str) -> None:
    """The path is not repeated: `//evil.example` would be another host."""
    headers = [(b"accept", accept.encode())]
    scope = {"type": "http", "path": "//evil.example", "headers": headers}
    assert as_written(scope | {"query_string": asked.encode()}) == address


def test_the_trace_that_pages_show_first_is_opened_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path))
    open_first_trace()  # there is none
    write_tiny_trace(tmp_path / "demo.duckdb")
    (tmp_path / "broken.duckdb").write_bytes(b"no trace")
    opened = []
    monkeypatch.setattr("app.server.open_trace", lambda file: opened.append(file.name))
    open_first_trace()
    assert opened == ["demo"]


def ask(answer: Callable[[Request], Awaitable[Response]], sent: list[Message]) -> None:
    app = Starlette(
        routes=[Route("/", answer)], middleware=MIDDLEWARE, exception_handlers=dict(ON_ERROR)
    )
    with ThreadPoolExecutor(1) as another:  # this one may have a loop, of a browser test
        another.submit(asyncio.run, get(app, sent)).result()


async def get(app: Starlette, sent: list[Message]) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
    await app(scope | {"headers": [(b"host", OWN.encode())]}, receive, send)
