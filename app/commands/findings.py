"""What was noticed while a trace was written: said by every command that reads it, and in full by
those that write it."""

import sys
from collections.abc import Iterable

from duckdb import DuckDBPyConnection

from analysis.queries import findings
from data.routing import FATAL, Finding


def print_findings(con: DuckDBPyConnection) -> None:
    for finding in findings(con):
        if finding.severity == FATAL:
            print(f"warning: {finding.in_words()}", file=sys.stderr)


def print_report(found: Iterable[Finding]) -> None:
    """The integrity report: a line a finding, those first that matter most."""
    lines = [f"  {finding.severity}: {finding.kind}: {finding.in_words()}" for finding in found]
    if not lines:
        print("integrity: nothing was noticed", file=sys.stderr)
        return
    print("integrity:", *lines, sep="\n", file=sys.stderr)
