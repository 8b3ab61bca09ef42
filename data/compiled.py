"""Loops over arrays in machine code, which run beside each other and beside DuckDB."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba

FAST = {"contract", "nsz"}  # of fastmath: sums in their order, a product and a sum rounded once


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit without the lock of the interpreter, kept for other processes where there is a
    folder to keep it in."""

    def compile_it(function: Callable[..., Any]) -> Any:
        made = numba.njit(nogil=True, error_model="numpy", **options)(function)
        with suppress(RuntimeError):  # neither beside its file nor in the user's own
            made.enable_caching()
        return made

    return compile_it
