"""The server as a foreign page, a foreign name and its own pages meet it."""

import http.client
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

pytestmark = pytest.mark.slow

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
ROUTES = [
    ("GET", "/"),
    ("GET", "/specialization"),
    ("GET", "/favicon.png"),
    ("GET", "/static/none.js"),
    ("GET", "/media/none.csv"),
    ("GET", "/component/none/index.html"),
    ("GET", "/_stcore/health"),
    ("GET", "/_stcore/host-config"),
    ("GET", "/_stcore/metrics"),
    ("PUT", "/_stcore/upload_file/session/file"),
    ("DELETE", "/_stcore/upload_file/session/file"),
    ("GET", "/_stcore/stream"),
    ("POST", "/"),
    ("GET", "/..%2f..%2fetc/passwd"),
]


def answer(
    server: str, method: str, path: str, host: str | None = None
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=20)
    connection.request(method, path, headers={"Host": host or urlsplit(server).netloc})
    return connection.getresponse()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_refuses_a_foreign_name_and_has_the_headers(
    server: str, method: str, path: str
) -> None:
    own, foreign = answer(server, method, path), answer(server, method, path, "evil.example")
    assert foreign.status == 403
    assert own.status != 403 or method in ("PUT", "DELETE")  # these want Streamlit's own token
    for response in (own, foreign):
        assert {name: response.getheader(name) for name in HEADERS} == HEADERS
        policy = response.getheader("Content-Security-Policy") or ""
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert "*" not in policy


@pytest.mark.parametrize(
    ("origin", "status"),
    [("own", 101), (None, 101), ("null", 403), ("http://127.0.0.1:1", 403), ("evil", 403)],
)
def test_a_websocket_is_for_pages_of_the_same_port(
    server: str, origin: str | None, status: int
) -> None:
    origin = {"own": server, "evil": "http://evil.example"}.get(origin or "", origin)
    url = server.replace("http", "ws") + "/_stcore/stream"
    try:
        with connect(
            url, origin=Origin(origin) if origin else None, subprotocols=[Subprotocol("streamlit")]
        ) as socket:
            response = socket.response
    except InvalidStatus as error:
        response = error.response
    assert response is not None
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def foreign(server: str, tmp_path: Path) -> Iterator[str]:
    """Another port, with a page that frames the dashboard, and beside it a page of its own."""
    frames = f'<iframe name="own" src="own.html"></iframe><iframe name="app" src="{server}">'
    (tmp_path / "index.html").write_text(frames)
    (tmp_path / "own.html").write_text("framed")
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()


def test_a_page_framed_by_another_origin_stays_blank(browser: Browser, foreign: str) -> None:
    page = browser.new_page()
    page.goto(foreign, wait_until="networkidle")
    framed = {frame.name: frame for frame in page.frames}
    assert framed["own"].locator("body").inner_text() == "framed"
    assert framed["app"].url == "chrome-error://chromewebdata/"
    assert framed["app"].locator("#root").count() == 0
    page.close()


def test_a_foreign_page_cannot_read_from_the_server(
    browser: Browser, server: str, foreign: str
) -> None:
    page = browser.new_page()
    page.goto(f"{foreign}/own.html")
    read = "url => fetch(url).then(answer => answer.status, error => 'refused')"
    assert page.evaluate(read, f"{server}/_stcore/host-config") == "refused"
    assert page.evaluate(read, f"{foreign}/own.html") == 200
    page.close()


def test_a_page_loads_nothing_foreign(browser: Browser, server: str, foreign: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto(f"{server}/?trace=plain")
    page.locator(".rs-question").wait_for()
    blocked = page.evaluate(
        """url => new Promise(resolve => {
            document.addEventListener("securitypolicyviolation", e => resolve(e.blockedURI));
            document.body.append(Object.assign(new Image(), {src: url}));
        })""",
        f"{foreign}/a.png",
    )
    assert blocked == f"{foreign}/a.png"
    assert [url for url in asked if not url.startswith((server, "data:", "blob:"))] == []
    page.close()
