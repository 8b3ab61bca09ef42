"""How tests run programs."""

import pytest

from app.studies.programs.runner import CodeLimits, run_program
from app.studies.programs.sandbox import missing_namespaces

LIMITS = CodeLimits(seconds=60)  # so that a busy machine ends none
needs_namespaces = pytest.mark.skipif(
    missing_namespaces() is not None, reason="this system gives us no namespaces"
)
hides_files = pytest.mark.parametrize("system", ["namespaces", "landlock"], indirect=True)


def outcome(program: str, tests: str, *, prompt: str = "") -> str:
    return run_program(program, tests, LIMITS, prompt=prompt)


def denied(statement: str) -> str:
    """A program that tells whether a statement raised one of these."""
    return f"denied = False\ntry:\n  {statement}\nexcept (OSError, RuntimeError): denied = True\n"
