"""A server on hostile and plain traces, and a browser that tells on every error and request."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from model.checkpoint import save_model
from model.transformer import Transformer
from tests.browser.hostile import HOSTILE
from tests.models import small_config
from tests.serving import free_port, wait_until_healthy
from tests.tokenizers import cat_tokenizer
from tests.traces import write_tiny_trace

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces `plain`, `hostile` and `日本語`, and a model that reads bytes."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "traces").mkdir()
    for name in ("plain", "hostile", "日本語"):
        write_tiny_trace(folder / "traces" / f"{name}.duckdb")
    with duckdb.connect(str(folder / "traces" / "hostile.duckdb")) as con:
        con.execute("UPDATE document SET text = $1, domain = $1 WHERE doc_id = 0", [HOSTILE])
        con.execute("UPDATE token SET text = $1 WHERE doc_id = 0", [HOSTILE])
    model = Transformer(replace(small_config(), vocab_size=300, context_length=256))
    model.initialize(seed=0)
    save_model(model, folder / "model")
    cat_tokenizer().save(str(folder / "model" / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def server(workspace: Path) -> Iterator[str]:
    port = free_port()
    environment = os.environ | {
        "ROUTESCOPE_TRACES": str(workspace / "traces"),
        "ROUTESCOPE_MODEL": str(workspace / "model"),
    }
    command = [sys.executable, "-m", "streamlit", "run", "app", "--server.port", str(port)]
    with (workspace / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, process, workspace / "server.log")
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium found: install the system's chromium to run the browser tests")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A tab. Fails on a page error, an error in the console, or a request to another host."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 1600}, base_url=server, accept_downloads=True
    )
    tab = context.new_page()
    troubles: list[str] = []

    def watch_request(request: Request) -> None:
        if not request.url.startswith((server, "data:", "blob:")):
            troubles.append(f"request to {request.url}")

    def watch_console(message: ConsoleMessage) -> None:
        probing = "/_stcore/" in message.location.get("url", "")  # streamlit looks for its own root
        if message.type == "error" and not probing:
            troubles.append(f"console: {message.text}")

    tab.on("request", watch_request)
    tab.on("console", watch_console)
    tab.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
    yield tab
    context.close()
    assert troubles == []
