"""What came of leaving experts out, in sentences: pages and the command line say the same."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.cause_tests import CONFIRMED, INCOMPARABLE, Tally, tally
from analysis.causes import DOUBLE
from analysis.controls import BANDS, MIN_CONTROLS
from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q

RULE = (
    f"Confirmed (q < {MAX_Q}) means that without the expert the loss on its own domain rises, by "
    "more than on the other domains and by more than as many choices of comparable experts cost."
)


def headline(causes: pd.DataFrame) -> str:
    """Of a table with verdicts."""
    verdicts = _verdicts(causes)
    count, confirmed = len(verdicts), int((verdicts == CONFIRMED).sum())
    if count == 1:
        counted = f"The specialist left out is {'' if confirmed else 'not '}confirmed"
    else:
        are = "is" if confirmed == 1 else "are"
        counted = f"Of {count:,} specialists left out, {confirmed:,} {are} confirmed"
    return f"{counted}. {RULE}"


def undecided(causes: pd.DataFrame) -> str:
    """Why claims could not be judged; empty where all could."""
    verdicts = _verdicts(causes)
    parts = [
        (
            int((verdicts == INCOMPARABLE).sum()),
            f"fewer than {MIN_CONTROLS} comparable experts (within {BANDS[-1]:g} times its choices "
            "in the domain, without a claim on it)",
        ),
        (int((verdicts == NOT_ENOUGH).sum()), NOT_ENOUGH),
    ]
    reasons = [f"{count:,} for {why}" for count, why in parts if count]
    return f"Not judged: {'; '.join(reasons)}." if reasons else ""


def beside(causes: pd.DataFrame, controls: Mapping[str, Tally]) -> str:
    """How often the same rule confirms where there is little or nothing to confirm."""
    own, unclaimed = tally(causes, claimed=True), tally(causes, claimed=False)
    here = _rates(
        {
            "of the specialists judged": own,
            "of experts without a claim that are chosen as often": unclaimed,
        }
    )
    measured = _rates(controls)
    lines = [f"The same rule confirms {here}."] if here else []
    lines += [f"On the shipped model: {measured}."] if measured else []
    return " ".join(lines)


def _rates(tallies: Mapping[str, Tally]) -> str:
    """Of those of whom any were judged."""
    return ", ".join(
        f"{of.rate:.1%} ({of.confirmed:,} of {of.tested:,}) {whom}"
        for whom, of in tallies.items()
        if of.tested
    )


def _verdicts(causes: pd.DataFrame) -> pd.Series:
    return causes.verdict[causes.claimed & (causes.group == DOUBLE)]


def of_expert(causes: pd.DataFrame | None, *, layer_id: int, expert_id: int) -> str:
    """What leaving an expert out did to its own domains; empty where nothing was measured."""
    if causes is None or causes.empty:
        return ""
    own = causes[causes.claimed & (causes.group == "own")]
    own = own[(own.layer_id == layer_id) & (own.expert_id == expert_id)]
    return " ".join(_loss_change(row) for row in own.itertuples())


def _loss_change(row: Any) -> str:
    span = "" if pd.isna(row.low) else f" ({row.low:+.4f} to {row.high:+.4f})"
    choice = "" if pd.isna(row.per_choice) else f", {row.per_choice:+.4f} per choice"
    return (
        f"Without this expert, the loss on {row.domain} changes by {row.estimate:+.4f} nats per "
        f"token{span}{choice}: {row.verdict}."
    )
