import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

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


@pytest.mark.parametrize("option", ["traces", "runs"])
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
