"""The models of the paper's comparison in figures and words."""

import pandas as pd

from analysis.comparison import BETTER, UNDECIDED, WORSE
from app.views.comparison import paper
from app.views.comparison.figures import change_lines, difference_rows
from app.views.comparison.paper import Comparison
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

VERDICTS = {BETTER: "better than", WORSE: "worse than", UNDECIDED: "not distinguishable from"}
FIRST, LONG = ("question", "verdict"), "reason"  # columns of the questions, on the page
HEADLINE = ("Dense", "GShard", "DeepSeekMoE", "GShard ×1.5", "Dense ×16, the bound")


def panels(comparison: Comparison, palette: Palette, *, domain: str = "all") -> list[Panel]:
    """Differences on a domain, the paper's questions, and two measures of redundancy."""
    return [
        differences(comparison, palette, domain=domain),
        questions(comparison),
        *redundancy(comparison, palette),
    ]


def differences(comparison: Comparison, palette: Palette, *, domain: str) -> Panel:
    table = paper.of_domain(comparison, domain)
    tokens = comparison.runs.tokens.iloc[0] / 1e6
    return Panel(
        name="bits_less_those_of_gshard",
        answer=_answer(comparison),
        figure=difference_rows(table, palette, reference="GShard"),
        alt="Bits per byte of every model minus GShard's, with intervals",
        note=(
            "Bar: paired 95 % interval over groups of texts; none where too few of them decide. "
            "Band: two standard deviations of such a difference "
            "from seed to seed; a single-seed difference inside the band decides "
            "nothing. Right: bits per byte, over all seeds of a model. A difference is between "
            "trainings of the same seeds: where GShard has more, it is not the difference of the "
            f"numbers printed. All models were trained on the same {tokens:.0f} M tokens and "
            "activate equally many parameters unless marked ×n."
        ),
        table=comparison.differences,
    )


def questions(comparison: Comparison) -> Panel:
    rest = [name for name in comparison.questions if name not in {*FIRST, LONG}]
    return Panel(
        name="questions",
        table=comparison.questions,
        preview=comparison.questions[[*FIRST, *rest, LONG]],
        note=(
            "Difference in bits per byte, first minus second: below 0 the first is better. A "
            "verdict needs an interval that excludes 0 and a difference of more than two standard "
            "errors over the seeds (the spread of one seed over the root of their number); reason "
            "says which of the two a difference lacks. Column paper: what arXiv 2401.06066 found "
            "with 2 B parameters and 100 B tokens."
        ),
    )


def redundancy(comparison: Comparison, palette: Palette) -> list[Panel]:
    """Loss with the best experts of a token masked, and with fewer experts activated."""
    masked, fewer = paper.masked(comparison), paper.activated(comparison)
    return [
        Panel(
            name="masked",
            title="The best experts of each token masked",
            figure=change_lines(masked, palette, title="routed experts masked", percent=True),
            alt="Loss against the share of top experts masked",
            table=masked,
        ),
        Panel(
            name="activated",
            title="Fewer experts activated",
            figure=change_lines(fewer, palette, title="routed experts activated", percent=False),
            alt="Loss against the number of activated experts",
            table=fewer,
        ),
    ]


def headline(comparison: Comparison, *, domain: str) -> list[tuple[str, str, str]]:
    """Bits per byte of the models that the paper compares."""
    rows = paper.of_domain(comparison, domain).set_index("model")
    return [
        (
            name,
            f"{rows.bits[name]:.3f}",
            "the reference" if name == "GShard" else _against(rows.loc[[name]].iloc[0]),
        )
        for name in HEADLINE
    ]


def _against(row: pd.Series) -> str:
    against = "vs same seed" if row.seeds == 1 else "vs GShard"
    return f"{row.difference:+.4f} {against}"


def _answer(comparison: Comparison) -> str:
    asked = comparison.questions
    mine = asked[asked["first"] == "DeepSeekMoE"].set_index("second")
    main, more = (mine.loc[[name]].iloc[0] for name in ("GShard", "GShard ×1.5"))
    return (
        f"At this scale DeepSeekMoE is {_verdict_clause(main, 'GShard')}, and it is "
        f"{_verdict_clause(more, 'GShard with 1.5 times the expert parameters')}. This is what "
        "these trainings did, not what more tokens would do."
    )


def _verdict_clause(row: pd.Series, other: str) -> str:
    """The verdict with its number, and with its reason where there is none."""
    because = f": {row.reason}" if row.reason else ""
    return (
        f"{VERDICTS[str(row.verdict)]} {other} ({row.estimate:+.4f} bits per byte over {row.seeds} "
        f"seeds, {row.low:+.4f} to {row.high:+.4f} over groups of texts{because})"
    )


def redundancy_answer(comparison: Comparison) -> str:
    changed = comparison.interventions
    one = changed[(changed.variant == "masked") & (changed.value == 1)].set_index("model").change
    mine, other = one["DeepSeekMoE"], one["GShard ×1.5"]
    less = "less" if mine < other else "more"
    shared = changed[(changed.model == "DeepSeekMoE") & (changed.variant == "shared replaced")]
    return (
        f"With a sixteenth of its experts masked, DeepSeekMoE loses {less} than GShard ×1.5 "
        f"({mine:+.2f} against {other:+.2f} bits per byte); the paper found that it loses more and "
        "concluded that its experts are less redundant. Replacing its shared expert by a routed "
        f"one costs {shared.change.iloc[0]:+.2f} bits per byte."
    )
