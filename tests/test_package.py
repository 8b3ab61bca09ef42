"""The wheel, built and installed where the repository cannot be imported from."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement

from routescope import __version__
from tests.serving import free_port, wait_until_healthy

ROOT = Path(__file__).parents[1]
FOLDERS = ("analysis", "app", "data", "model")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name != "PYTHONPATH" and not name.startswith("ROUTESCOPE_")
}
EVERY_PAGE = """
import json
from pathlib import Path
import routescope.app
from streamlit.testing.v1 import AppTest

script = Path(routescope.app.__file__).with_name("navigation.py")
shown = {}
for path in sorted(script.parent.glob("views/*/page.py")):
    name = path.parent.name
    app = AppTest.from_file(str(script), default_timeout=120)
    app = app.run() if name == "overview" else app.switch_page(f"views/{name}/page.py").run()
    text = " ".join(str(element.proto.body) for element in app.get("html"))
    shown[name] = {"error": [error.message for error in app.exception], "text": text}
print(json.dumps(shown))
"""


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_hosted_run_is_make_test() -> None:
    steps = read_yaml(".github/workflows/test.yml")["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test"]


def test_hooks_before_a_commit_fetch_nothing_and_run_make_check() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert "make check" in [hook["entry"] for hook in repository["hooks"]]


def test_make_knows_the_targets() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"app", "check", "test"} <= set(targets)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an environment: the wheel, and the dependencies that the tests run with."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options]
    subprocess.run([*command, str(wheel)], check=True, env=ENVIRONMENT)
    (site,) = folder.glob("lib/python*/site-packages")
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"routescope"}
    paths = sysconfig.get_paths()  # a .pth names folders; the .pth files in these are not read
    (site / "dependencies.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def elsewhere(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a trace of two texts that the installed command captured."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "two.txt").write_text("The sum of 12 and 30 is 42.\nThe cat sat on the mat.\n")
    (folder / "traces").mkdir()
    arguments = ["capture", "two.txt", "--out", "traces/two.duckdb", "--json"]
    output = run([installed / "routescope", *arguments], folder)
    assert json.loads(output)["documents"] == 2
    return folder


def run(command: list[Path | str], folder: Path) -> str:
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
    ).stdout.decode()


@pytest.mark.slow
def test_the_wheel_owns_one_name_and_holds_no_tests(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "routescope",
        f"routescope-{__version__}.dist-info",
    }
    assert {name.split("/")[1] for name in names if name.startswith("routescope/")} == {
        *FOLDERS,
        "docs",
        "__init__.py",
        "__main__.py",
        "importers.py",
        "traces.py",
    }
    assert not [name for name in names if name.endswith((".png", ".pyc")) or "_int8/" in name]


@pytest.mark.slow
def test_the_wheel_holds_what_lies_beside_the_code(wheel: Path) -> None:
    """SQL, styles, the configuration of Streamlit, the model and its texts, but no INT8 copy."""
    beside = [
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name not in ("__pycache__", "checkpoint_int8")
    ]
    missing = {f"routescope/{path.as_posix()}" for path in beside} - set(ZipFile(wheel).namelist())
    assert missing == set()


@pytest.mark.slow
def test_the_wheel_declares_what_requirements_txt_pins(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        metadata = archive.read(f"routescope-{__version__}.dist-info/METADATA").decode()
    declared = [Requirement(text) for text in re.findall(r"^Requires-Dist: (.+)$", metadata, re.M)]
    needed = {need.name: need.specifier for need in declared if need.marker is None}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line != "-e .")
    assert needed.keys() == pinned.keys()
    assert [name for name in pinned if pinned[name] not in needed[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_repository_cannot_be_imported_there(
    folder: str, installed: Path, tmp_path: Path
) -> None:
    code = f"import importlib.util, routescope.{folder} as inside\n"
    code += f"print(importlib.util.find_spec('{folder}'), inside.__file__)"
    outside, inside = run([installed / "python", "-c", code], tmp_path).split()
    assert outside == "None"
    assert Path(inside).is_relative_to(installed.parent)


@pytest.mark.slow
def test_every_page_of_the_wheel_shows_a_trace_that_it_captured(
    installed: Path, elsewhere: Path
) -> None:
    shown = json.loads(run([installed / "python", "-c", EVERY_PAGE], elsewhere))
    assert {name: page["error"] for name, page in shown.items() if page["error"]} == {}
    assert len(shown) == len(list((ROOT / "app" / "views").glob("*/page.py")))
    assert ", 2 texts" in shown["overview"]["text"]


@pytest.mark.slow
def test_the_dashboard_is_served_and_ends_at_ctrl_c(installed: Path, elsewhere: Path) -> None:
    port = free_port()
    command = [str(installed / "routescope"), "app", "--port", str(port)]
    log = elsewhere / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=elsewhere, env=ENVIRONMENT, stdout=file, stderr=file)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        second = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (2, "")
        assert re.fullmatch(rf"error: port {port} cannot be used: [^\n]+\n", second.stderr)
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_nothing_is_written_beside_the_code(installed: Path, elsewhere: Path) -> None:
    (package,) = installed.parent.glob("lib/python*/site-packages/routescope")
    assert not (package / "traces").exists()
    assert not (package / "runs").exists()
    assert (elsewhere / "traces" / "two.duckdb").is_file()
