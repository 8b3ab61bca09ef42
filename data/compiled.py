"""Loops over arrays in machine code, which run beside each other and beside DuckDB."""

from collections.abc import Callable
from typing import Any

import numba

FAST = {"contract", "nsz"}  # of fastmath: sums in their order, a product and a sum rounded once


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit without the lock of the interpreter, kept for other processes where there is a
    folder to keep it in."""

    def compile_it(function: Callable[..., Any]) -> Any:
        settings = {"nogil": True, "error_model": "numpy", **options}
        try:
            return numba.njit(cache=True, **settings)(function)
        except RuntimeError:  # neither beside its file nor in the user's own
            return numba.njit(**settings)(function)

    return compile_it
