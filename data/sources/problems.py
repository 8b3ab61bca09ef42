"""Problems made by generators, each run by the interpreter of an environment of its own."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from data.sources.source import Folders, Package, Text

REASONING_GYM = Package("venv", "reasoning-gym")
MATHEMATICS_DATASET = Package("venv", "mathematics-dataset", ("sympy==1.5.1", "numpy==1.23.5"))


def worksheets(
    package: Package, worker: str, *generators: str, megabytes: float
) -> Callable[[Folders], Iterator[Text]]:
    """Reader of about so many megabytes of worksheets; `worker` is a file of this folder."""

    def read(folders: Folders) -> Iterator[Text]:
        python = folders[package.name] / "env" / "bin" / "python"
        script = Path(__file__).with_name(worker)
        with tempfile.TemporaryDirectory() as folder:
            sheets = Path(folder) / "sheets.jsonl"
            arguments = [str(int(megabytes * 1e6)), str(sheets), *generators]
            command = [str(python), "-P", str(script), *arguments]
            environment = {**os.environ, "PYTHONHASHSEED": "0"}  # some generators iterate over sets
            # -P: modules of this folder must not stand in for those of the standard library
            subprocess.run(command, check=True, capture_output=True, env=environment)
            with sheets.open(encoding="utf-8") as lines:
                for sheet in map(json.loads, lines):
                    yield Text(sheet["topic"], sheet["text"], sheet["task"])

    return read
