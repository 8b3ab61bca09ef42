"""Our model beside two of other families, in figures and words."""

from typing import Any

import pandas as pd

from analysis.domain_counts import ALL_LAYERS
from analysis.significance import MAX_Q
from app.views.comparison.families import TITLES, Families, labels
from app.views.comparison.family_figures import ROWS, Row, specialization_grid
from app.views.shared.intervals import Measure
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

OURS = "deepseekmoe"
BEYOND = Row(
    "beyond_the_token",
    "Domain beyond the token, nats a choice",
    Measure("", ".3f"),
    "chance",
)
SHOWN = [row for row in (*ROWS, BEYOND) if row.null]
METHOD = (
    "domain_counts",
    "lift_table",
    "information_share",
    "conditional_information",
    "max_violation",
    "gate_entropy_table",
)


def panels(families: Families, palette: Palette) -> list[Panel]:
    """What the models are, then how their experts specialize."""
    return [facts(families), specialization(families, palette)]


def facts(families: Families) -> Panel:
    rows = _by_model(families)
    return Panel(
        name="models_of_other_families",
        table=families.models,
        preview=_abreast({model: _facts(row) for model, row in rows.items()}),
        note=(
            "One training each, on texts of the same corpus, with the same tokenizer and "
            "optimizer: how far another seed would change a number is not known. Bits per byte: "
            "the whole held-out split; ours is of an earlier build of it, and of five times as "
            "many tokens, so they do not compare the families. " + _unfinished(rows)
        ),
    )


def _by_model(families: Families) -> dict[str, dict[Any, Any]]:
    return {str(row["model"]): row for row in families.models.to_dict("records")}


def _facts(row: dict[Any, Any]) -> dict[str, str]:
    dense = row["layers"] - row["moe_layers"]
    return {
        "layers": f"{row['moe_layers']} MoE" + (f", {dense} dense" if dense else ""),
        "experts": f"{row['experts']} routed, {row['shared_experts']} shared",
        "chosen for a token": f"{row['top_k']}",
        "scores of the gate": row["scoring"],
        "mixing weights": row["weighting"],
        "width, of an expert": f"{row['hidden_dim']}, {row['expert_dim']}",
        "parameters": f"{row['parameters'] / 1e6:.1f} M",
        "activated": f"{row['active_parameters'] / 1e6:.1f} M",
        "tokens trained on": f"{row['tokens_trained'] / 1e6:,.0f} M",
        "bits per byte": f"{row['bits_all']:.3f}",
    }


def _unfinished(rows: dict[str, dict[Any, Any]]) -> str:
    """Trainings that ended before their schedule did."""
    short = [
        f"{TITLES[model]} was stopped at step {row['steps']:,} of {row['planned_steps']:,}, before "
        "its learning rate had come down."
        for model, row in rows.items()
        if row["steps"] < row["planned_steps"]
    ]
    return " ".join(short)


def specialization(families: Families, palette: Palette) -> Panel:
    rows = _by_model(families)
    heads = {model: (TITLES[model], _head(row)) for model, row in rows.items()}
    means = families.measures[families.measures.layer_id == ALL_LAYERS]
    row = rows[OURS]
    return Panel(
        name="specialization_by_family",
        table=families.measures,
        answer=f"{answer(means)} {_by_chance(families)}".strip(),
        figure=specialization_grid(
            heads, families.measures, families.domains, families.lifts, palette
        ),
        alt="Small multiples: how experts of three models specialize, layer by layer",
        preview=_abreast(
            {
                model: {of.title: _text(_mean(means, model, of.name), of) for of in SHOWN}
                for model in heads
            }
        ),
        note=(
            f"The same {row['n_documents']} held-out texts in {row['n_groups']} groups, "
            f"{row['n_tokens']:,} tokens, through all three. Above a cell: over all layers, its "
            "95 % interval over groups of texts (of the information and MaxVio corrected for "
            "small-sample bias), and what chance or balance would give. Bar and line: interval; "
            "tick: labels shuffled over groups, an even load, or a gate that "
            "scores all experts alike. Coloured dot: an expert with q < 0.05 and a lift of 1.5 or "
            "more in the domain of that colour; grey: chance may explain its lift. "
            f"{_untrained(families.controls)} The models differ in several things at once (experts "
            "chosen and shared, how weights are scaled, tokens trained on), so a difference "
            "between them is not the effect of any one. The more experts a token chooses, the "
            "less selective each can be."
        ),
    )


def _untrained(controls: pd.DataFrame) -> str:
    """How many experts are proven where nothing was learned."""
    proven = controls[controls.measure == "proven"].set_index("model").estimate
    shares = ", ".join(f"{share:.0%} in {TITLES[str(model)]}" for model, share in proven.items())
    return f"Before the first step of training, experts proven to prefer a domain are {shares}."


def _head(row: dict[Any, Any]) -> str:
    shared = f", {row['shared_experts']} shared" if row["shared_experts"] else ""
    tokens = f"{row['tokens_trained'] / 1e6:,.0f} M tokens"
    return f"{row['top_k']} of {row['experts']} chosen{shared}; {tokens}"


def _text(one: pd.Series, of: Row) -> str:
    return of.text(one) + of.beside(one)


def _mean(means: pd.DataFrame, model: str, measure: str) -> pd.Series:
    return means[(means.model == model) & (means.measure == measure)].iloc[0]


def _abreast(columns: dict[str, dict[str, str]]) -> pd.DataFrame:
    """A row a fact, a column a model."""
    table = pd.DataFrame({TITLES[model]: facts for model, facts in columns.items()})
    return table.rename_axis("").reset_index()


def answer(means: pd.DataFrame) -> str:
    of = SHOWN[0]
    rows = {model: _mean(means, model, of.name) for model in TITLES}
    *others, last = [
        f"{of.measure.text(row.estimate)} ({of.measure.span(row.low, row.high)}) in {TITLES[model]}"
        for model, row in rows.items()
    ]
    nulls = [row["null"] for row in rows.values()]
    surely = all(row.low > row["null"] for row in rows.values())
    return (
        f"Experts that prefer a domain: {', '.join(others)} and {last}; with labels shuffled over "
        f"groups of texts {of.measure.span(min(nulls), max(nulls))} would"
        f"{', so experts specialize in all three' if surely else ''}. {_apart(rows)}"
    )


def _by_chance(families: Families) -> str:
    """Domains that in no model more experts prefer than with shuffled labels."""
    whole = families.domains[families.domains.layer_id == ALL_LAYERS]
    least = whole.groupby("domain").q.min()
    names = [name for name in labels(families) if least[name] >= MAX_Q]
    if not names:
        return ""
    preferred = " or ".join(names)
    return f"In none of the models do more experts prefer {preferred} than chance would explain."


def _apart(rows: dict[str, pd.Series]) -> str:
    """Which of the others differ from ours by more than their intervals."""
    ours, lines, alike = rows[OURS], [], []
    for model, row in rows.items():
        if model != OURS and ours.low <= row.high and row.low <= ours.high:
            alike.append(TITLES[model])
        elif model != OURS:
            more = "more" if row.estimate > ours.estimate else "fewer"
            lines.append(f"{TITLES[model]} has {more} than ours, by more than the texts explain.")
    if alike:
        lines.append(
            f"The intervals of {' and '.join(alike)} overlap that of ours, which does not say "
            "whether they differ."
        )
    return " ".join(lines)
