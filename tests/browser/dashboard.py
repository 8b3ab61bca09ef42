"""A dashboard to visit: its traces and model, its server, and the browser that visits."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
from playwright.sync_api import Page

from data.store import TraceStore
from model.checkpoint import save_model
from model.transformer import Transformer
from tests.browser.hostile import HOSTILE
from tests.models import small_config
from tests.routing_batches import description, random_document
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


WAIT = 180_000  # milliseconds, on a busy machine


QUIET = """(since) => {
  const app = document.querySelector("[data-testid=stApp]");
  const busy = app?.dataset.testScriptState !== "notRunning"
    || document.querySelector("[data-testid=stSkeleton], [data-stale=true]");
  if (busy || !(window.quietSince > since)) window.quietSince = performance.now();
  return !busy && performance.now() - window.quietSince >= 300;
}"""


def settled(page: Page) -> None:
    """The last action is answered and all of the answer is drawn: for a while the script does not
    run, also not once more, and nothing stands in for what is still to come. A browser fetches the
    code of each kind of element when it first meets one, which may be after the script has run."""
    page.wait_for_timeout(300)  # the script may not have begun yet
    page.wait_for_function(QUIET, arg=page.evaluate("performance.now()"), polling=50)


def write_workspace(folder: Path) -> None:
    """Traces `plain`, `hostile`, `日本語` and `wide`, and a model that reads bytes."""
    (folder / "traces").mkdir(parents=True)
    for name in ("plain", "hostile", "日本語"):
        write_tiny_trace(folder / "traces" / f"{name}.duckdb")
    with duckdb.connect(str(folder / "traces" / "hostile.duckdb")) as con:
        con.execute("UPDATE document SET text = $1, domain = $1 WHERE doc_id = 0", [HOSTILE])
        con.execute("UPDATE token SET text = $1 WHERE doc_id = 0", [HOSTILE])
    wide = description(layers=24, experts=128, top_k=4)
    with TraceStore.create(folder / "traces" / "wide.duckdb", wide) as store:
        for doc_id in range(4):
            store.write(random_document(doc_id, tokens=200, layers=24, experts=128, top_k=4))
    model = Transformer(replace(small_config(), vocab_size=300, context_length=256))
    model.initialize(seed=0)
    save_model(model, folder / "model")
    cat_tokenizer().save(str(folder / "model" / "tokenizer.json"))


@contextmanager
def served(workspace: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address and the process of a server on that workspace, which logs into server.log."""
    port = free_port()
    environment = os.environ | {
        "ROUTESCOPE_TRACES": str(workspace / "traces"),
        "ROUTESCOPE_MODEL": str(workspace / "model"),
        "ROUTESCOPE_MODELS": str(workspace / "models"),
        "ROUTESCOPE_RUNS": str(workspace / "runs"),
    }
    command = [sys.executable, "-m", "streamlit", "run", "app", "--server.port", str(port)]
    with (workspace / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, process, workspace / "server.log")
        yield url, process
    finally:
        process.terminate()
        process.wait(20)
