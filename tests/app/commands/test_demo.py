"""The demo trace, as `routescope demo` makes it of what is shipped."""

from pathlib import Path

from data.routing import DOMAINS
from data.store import open_trace


def test_the_demo_is_large_and_balanced(demo_traces: Path) -> None:
    with open_trace(demo_traces / "demo.duckdb") as con:
        tokens = dict(
            con.execute(
                "SELECT domain, count(*) FROM token JOIN document USING (doc_id) GROUP BY domain"
            ).fetchall()
        )
        dead = con.execute(
            "SELECT count(*) FROM expert ANTI JOIN document_load USING (layer_id, expert_id)"
        ).fetchone()
    assert set(tokens) == set(DOMAINS)
    assert sum(tokens.values()) >= 100_000
    assert max(tokens.values()) < 1.1 * min(tokens.values())
    assert dead == (0,)
