"""`routescope app`: the dashboard, for the browsers of this machine."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from app import hub

SCRIPT = Path(__file__).parents[1] / "streamlit_app.py"
ADDRESS = "127.0.0.1"


def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Instead of 8501 or the next that is free.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Folder of traces, instead of traces/.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of trainings, instead of runs/.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a model, instead of the shipped one.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of models to choose from, instead of models/.")
    ] = None,
    allow_hub: Annotated[
        bool, typer.Option("--allow-hub", help="Let pages download models of the Hugging Face hub.")
    ] = False,
) -> None:
    """Serve the dashboard to this machine's browsers until Ctrl-C.

    Example: routescope app --traces traces --port 8600
    """
    from click.exceptions import Abort
    from streamlit.web.cli import main as streamlit

    if model is not None and not (model / "config.json").is_file():
        raise ValueError(f"there is no model in {model}: config.json is missing")
    for option, folder in (("--traces", traces), ("--runs", runs), ("--models", models)):
        if folder is not None and not folder.is_dir():
            state = "is not a folder" if folder.exists() else "does not exist"
            raise ValueError(f"{option} {folder} {state}; make it or name another folder")
    named = {"TRACES": traces, "RUNS": runs, "MODEL": model, "MODELS": models}
    os.environ.update({f"ROUTESCOPE_{name}": str(at) for name, at in named.items() if at})
    os.environ[hub.ALLOWED] = str(int(allow_hub))
    arguments = ["run", str(SCRIPT), "--server.address", ADDRESS]
    if port is not None:
        require_free(port)
        arguments += ["--server.port", str(port)]
    with suppress(Abort):  # Ctrl-C is how it ends
        streamlit(arguments, standalone_mode=False)


def require_free(port: int) -> None:
    try:
        socket.create_server((ADDRESS, port)).close()
    except OSError as error:
        raise ValueError(f"port {port} cannot be used: {error.strerror}") from error
