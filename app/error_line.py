"""An error that a user can cause, in one line: for the command line, for pages and for jobs."""

import zlib

import duckdb
import safetensors

FORESEEN = (  # what files, disks, memory and options of a user can cause
    ValueError,
    OSError,
    MemoryError,
    zlib.error,
    duckdb.Error,
    safetensors.SafetensorError,
)

FULL = "No space left on device"  # as the system says it, and DuckDB and Arrow repeat it
MAKE_ROOM = "free some space, or write elsewhere"


def is_foreseen(error: Exception) -> bool:
    """What has a line; anything else is a bug, and has a traceback."""
    return isinstance(error, FORESEEN) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """torch has no type of its own for the memory of the CPU."""
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    )


def line_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        places = [str(place) for place in (error.filename, error.filename2) if place is not None]
        text = ": ".join([" -> ".join(places), error.strerror] if places else [error.strerror])
    elif isinstance(error, MemoryError) or is_out_of_memory(error):
        text = f"not enough memory: {text}"
    if FULL in text and MAKE_ROOM not in text:
        text += f"; {MAKE_ROOM}"
    return " ".join(text.split())
