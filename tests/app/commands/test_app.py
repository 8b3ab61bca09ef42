import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import hub
from app.cli import app
from app.commands.app import require_free, serve
from routescope import __version__


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"^port {port} cannot be used: [^\n]+$"):
            require_free(port)
    require_free(port)


def test_a_folder_without_a_model_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no model in .*: config.json is missing"):
        serve(model=tmp_path)


@pytest.mark.parametrize("option", ["traces", "runs", "models"])
def test_a_folder_that_is_none_is_refused_before_anything_is_served(
    tmp_path: Path, option: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"--{option} .*file is not a folder; make it or name"):
        serve(**{option: tmp_path / "file"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"--{option} .*absent does not exist; make it or name"):
        serve(**{option: tmp_path / "absent"})  # type: ignore[arg-type]


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.output, result.exit_code) == (f"routescope {__version__}\n", 0)


@pytest.mark.parametrize(("allow", "value"), [(False, "0"), (True, "1")])
def test_pages_may_download_only_where_the_server_was_started_so(
    allow: bool, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.ALLOWED, "1")  # whatever the shell says
    monkeypatch.setattr("streamlit.web.cli.main", lambda *arguments, **options: None)
    serve(allow_hub=allow)
    assert os.environ[hub.ALLOWED] == value
