"""What was noticed while a trace was written, said by every command that reads it."""

import sys

from duckdb import DuckDBPyConnection

from analysis.queries import findings
from data.routing import FATAL


def print_findings(con: DuckDBPyConnection) -> None:
    for finding in findings(con):
        if finding.severity == FATAL:
            print(f"warning: {finding.in_words()}", file=sys.stderr)
