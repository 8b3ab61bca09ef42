"""Which importer reads which files."""

from collections.abc import Sequence
from importlib import import_module
from typing import cast

from data.importers.source import DumpFile, Importer

MODULES = (  # asked in this order: the stricter first
    "sglang_recorder",
    "sglang_csv",
    "megatron",
    "mcore_npz",
    "esft",
    "olmoe",
    "colibri",
    "policylang",
    "gptoss_json",
    "llamacpp_csv",
    "llamacpp_profile",
    "mbolt",
    "parquet_export",
    "arrays",
    "responses",
)


def importers() -> list[Importer]:
    """All there are. Imported when they are asked for: some take a moment."""
    return [cast(Importer, import_module(f"{__package__}.{name}")) for name in MODULES]


def named(name: str) -> Importer:
    """ValueError: there is none of that name."""
    known = {importer.NAME: importer for importer in importers()}
    if name not in known:
        raise ValueError(f"there is no format {name!r:.80}; give one of {', '.join(known)}")
    return known[name]


def recognized(
    files: Sequence[DumpFile], *, folder: bool
) -> tuple[Importer, list[DumpFile], list[DumpFile]]:
    """The importer of the files, those that it reads, and those of a folder that none reads.

    ValueError: no importer knows a file, or they are of several formats.
    """
    of_format: dict[str, list[DumpFile]] = {}
    unknown: list[DumpFile] = []
    known = importers()
    for file in files:
        head = file.head()
        name = next((one.NAME for one in known if one.recognizes(file, head)), None)
        if name is None:
            unknown.append(file)
        else:
            of_format.setdefault(name, []).append(file)
    if not of_format or (unknown and not folder):
        names = ", ".join(one.NAME for one in known)
        raise ValueError(
            f"{unknown[0].name} ({_shown(unknown[0])}) is of no format that is known: {names}; "
            "docs/formats.md shows them, --format takes one by name"
        )
    if len(of_format) > 1:
        first = "; ".join(f"{name}: {found[0].name}" for name, found in of_format.items())
        raise ValueError(
            f"these files are of {len(of_format)} formats ({first}); import one at a time, or say "
            "--format"
        )
    [(name, found)] = of_format.items()
    return next(one for one in known if name == one.NAME), found, unknown


def _shown(file: DumpFile) -> str:
    head = file.head()[:24]
    return f"it begins with {head!r}" if head else "it is empty"
