"""Makes the wheel hold one package, `routescope`, with the folders of the repository inside it.

`app`, `model`, `analysis` and `data` lie side by side here, but a wheel must not own such names. So
the imports between them are rewritten: `from app.cli import main` becomes
`from routescope.app.cli import main`. An editable install runs the repository as it is.
"""

import ast
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "routescope"
MOVED = ("analysis", "app", "data", "model")  # pyproject.toml says where to


class RewrittenImports(BuildHookInterface):
    """Adds the Python files; pyproject.toml selects all others."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory(prefix="routescope-wheel-")
        for name in (PACKAGE, *MOVED):
            for path in sorted(Path(self.root, name).rglob("*.py")):
                relative = path.relative_to(self.root)
                copy = Path(self.folder.name, relative)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(rewritten(path.read_bytes(), relative))
                build_data["force_include"][str(copy)] = str(relative)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.folder.cleanup()


def rewritten(source: bytes, path: Path) -> bytes:
    """The same lines, every import of a moved folder now one from the package."""
    lines = source.split(b"\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(map(is_moved, (name.name for name in node.names))):
            raise ValueError(f"{path}:{node.lineno}: write `from … import …`, to be rewritten")
        if isinstance(node, ast.ImportFrom) and node.level == 0 and is_moved(node.module or ""):
            line, start = lines[node.lineno - 1], node.col_offset  # in bytes
            assert line.startswith(b"from ", start), f"{path}:{node.lineno}"
            end = start + len(b"from ")
            lines[node.lineno - 1] = line[:end] + f"{PACKAGE}.".encode() + line[end:]
    return b"\n".join(lines)


def is_moved(module: str) -> bool:
    return module.split(".")[0] in MOVED
