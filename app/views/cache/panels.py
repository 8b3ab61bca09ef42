"""How often a cache of experts hits, which policy does it, and what a token costs."""

from dataclasses import dataclass

import pandas as pd

from analysis.offload.caches import Setting
from analysis.offload.table import with_costs
from app.studies.offload import in_words, unsure
from app.trace import Trace
from app.views.cache.figures import (
    PREDICTORS,
    RATE,
    TITLES,
    hit_rate_lines,
    layer_heatmap,
    points,
    pool_lines,
    prediction_dots,
)
from app.views.cache.replayed import Replayed, both_kinds, by_layer, replayed
from app.views.shared.intervals import DASH
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

METHOD = ("hit_rate_table", "prediction_table", "with_costs", "judging_half")
COLUMNS = {  # of the table of costs, as people read them
    "policy": "policy",
    "estimate": "hit_rate",
    "low": "hit_rate_low",
    "high": "hit_rate_high",
    "gain": "points_over_LRU",
    "misses": "misses_a_token",
    "ahead": "ahead_a_token",
    "megabytes": "MB_a_token",
    "wait_ms": "ms_for_misses",
    "transfer_ms": "ms_for_all",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What loading costs: bytes of an expert (None: unknown), bytes a second."""

    expert_bytes: int | None
    bandwidth: float


def panels(trace: Trace, palette: Palette, *, setting: Setting, costs: Costs) -> list[Panel]:
    """Of one kind and size of cache."""
    found = replayed(trace, per_layer=setting.per_layer, cold=setting.cold)
    return [
        hit_rates(trace, palette, found, setting),
        policies(found, setting, costs),
        pools(trace, palette, setting),
        layers(trace, palette, found, setting),
        predictions(palette, found),
    ]


def headline(found: Replayed, setting: Setting, costs: Costs) -> list[tuple[str, str, str]]:
    """Of the best policy that loads on demand; beside it the best that loads ahead."""
    rows = _of_size(found, setting, costs).set_index("policy")
    best, ahead = _best_on_demand(rows), _best_ahead(rows)
    cards = [
        (
            "Best hit rate on demand",
            RATE.text(best.estimate),
            f"{TITLES[str(best.name)]}, {best.null:.0%} of the experts fit",
        ),
        ("Belady's bound", RATE.text(rows.estimate.belady), "without loading ahead"),
        ("Misses a token", f"{best.misses:.1f}", f"prefetching {ahead.misses:.1f}"),
    ]
    if costs.expert_bytes:
        least = _milliseconds(ahead.wait_ms).split()[0]  # if all arrives in time
        cards += [
            (
                "Loaded a token",
                _megabytes(best.megabytes),
                f"prefetching {_megabytes(ahead.megabytes)}",
            ),
            (
                f"Waiting a token at {costs.bandwidth / 1e9:g} GB/s",
                _milliseconds(best.wait_ms),
                f"prefetching {least}{DASH}{_milliseconds(ahead.transfer_ms)}",
            ),
        ]
    return cards


def hit_rates(trace: Trace, palette: Palette, found: Replayed, setting: Setting) -> Panel:
    rows, why = found.curve[found.curve.slots == setting.slots], unsure(found.curve)
    rows = rows.set_index("policy")
    return Panel(
        name="cache_hit_rates",
        table=found.curve,
        answer=_answer(rows, setting),
        figure=hit_rate_lines(
            found.curve, palette, slots=setting.slots, most=int(trace.info.layer_sizes.sum())
        ),
        alt="Lines: hit rate of every policy by the number of slots",
        note=(
            f"{in_words(found.counts, trace.info.num_documents, whole=found.whole)} "
            f"{f'No intervals: {why}.' if why else 'Bars: 95 % intervals over groups of texts.'} "
            "Belady's bound knows the future; over the replay from its start no policy that loads "
            "only what is asked for can hit more often. Dashed: the share of all experts that "
            "fits, what a set drawn at random would hit. Dotted: the size chosen above."
        ),
    )


def policies(found: Replayed, setting: Setting, costs: Costs) -> Panel:
    rows = _of_size(found, setting, costs)
    shares = ["estimate", "low", "high", "gain"]
    shown = rows.assign(**(100 * rows[shares]))[list(COLUMNS)].rename(columns=COLUMNS)
    return Panel(
        name="cache_policies",
        title=f"What a token costs with {setting.slots:,} slots",
        table=rows,
        preview=shown.assign(policy=shown.policy.map(TITLES)),
        note=(
            "ms for misses: what a token waits for, if what is loaded ahead arrives while others "
            "compute. ms for all: if nothing does. Gains over LRU are paired: the same texts, the "
            "same tokens."
            + (
                ""
                if costs.expert_bytes
                else " The model's configuration does not say how large an expert is: give its "
                "megabytes above to see bytes and times."
            )
        ),
    )


def pools(trace: Trace, palette: Palette, setting: Setting) -> Panel:
    """One pool beside slots by layer, as many of them."""
    kinds, least = both_kinds(trace, cold=setting.cold)
    lru = [rows[(rows.slots == setting.slots) & (rows.policy == "lru")] for rows in kinds.values()]
    answer = ""
    if setting.slots < least:
        answer = (
            "This many slots hold one layer's experts of a token, but not those of every layer: "
            f"that takes {least:,}."
        )
    elif all(len(rows) for rows in lru):
        one, divided = (_with_interval(rows.iloc[0]) for rows in lru)
        answer = (
            f"With {setting.slots:,} slots, LRU hits {one} in one pool and {divided} with slots by "
            "layer."
        )
    return Panel(
        name="cache_pools",
        title="One pool, or slots for every layer?",
        table=pd.concat(kinds.values(), ignore_index=True),
        answer=answer,
        figure=pool_lines(kinds, palette, slots=setting.slots),
        alt="Lines: hit rate in one pool and with slots by layer, by the number of slots",
        note=(
            "Solid: one pool. Dashed: the same number of slots, divided among the layers in "
            "proportion to their experts. One pool that does not hold a token's experts of all "
            "layers evicts each of them before its layer's turn comes again."
        ),
    )


def layers(trace: Trace, palette: Palette, found: Replayed, setting: Setting) -> Panel:
    table, names = by_layer(trace, setting, whole=found.whole), names_of(trace)
    lru = table[table.policy == "lru"].dropna(subset="estimate")
    worst, best = lru.iloc[int(lru.estimate.argmin())], lru.iloc[int(lru.estimate.argmax())]
    answer = (
        f"LRU hits least in {names[worst.layer_id]} ({RATE.text(worst.estimate)}) and most in "
        f"{names[best.layer_id]} ({RATE.text(best.estimate)})."
    )
    if worst.layer_id == best.layer_id or worst.estimate == best.estimate:
        answer = f"LRU hits {RATE.text(best.estimate)} in every layer."
    return Panel(
        name="cache_by_layer",
        title=f"By layer, with {setting.slots:,} slots",
        table=table,
        answer=answer,
        figure=layer_heatmap(table, palette, num_layers=trace.info.num_layers, names=names),
        alt="Heatmap: hit rate of every policy in every layer",
        note="Empty: no token chose an expert there." if table.estimate.isna().any() else "",
    )


def predictions(palette: Palette, found: Replayed) -> Panel:
    table = found.predictions
    rows = table[table.measure == "precision"].dropna(subset="estimate")
    return Panel(
        name="cache_predictions",
        title="Are the next layer's experts known in advance?",
        table=table,
        answer=predicted(rows),
        figure=prediction_dots(table, palette),
        alt="Dots: precision and recall of each prediction, with intervals and chance",
        note=(
            "As many experts are predicted as a token usually runs. Precision: of those predicted, "
            "the share that was chosen. Recall: of those chosen, the share that was predicted; the "
            "same where all tokens run as many. Diamond: as many of the layer's most chosen "
            "experts, for the same tokens; pointing at a dot shows the paired difference. "
            "Transitions and the most chosen are counted in other groups of texts."
        ),
    )


def predicted(rows: pd.DataFrame) -> str:
    """What rows of precision show."""
    if rows.empty:
        return "Nothing was predicted: no token follows another, and no layer another."
    shares = " and ".join(
        f"{row.estimate:.0%} {'of those' if place else 'of the experts predicted'} "
        f"{PREDICTORS[str(row.predictor)]}"
        for place, row in enumerate(rows.itertuples())
    )
    fitted = rows.most_chosen.notna().all()
    beside = "of the layer's most chosen" if fitted else "drawn at random"
    others = " and ".join(f"{share:.0%}" for share in (rows.most_chosen if fitted else rows.null))
    none = rows.gain_low.notna().all() and not (rows.gain_low > 0).any()
    first = "No prediction beats guessing the layer's most chosen experts. " if none else ""
    return f"{first}Tokens then choose {shares}; of as many {beside}, {others}."


def _with_interval(row: pd.Series) -> str:
    span = RATE.span(row.low, row.high)
    return RATE.text(row.estimate) + (f" ({span})" if span else "")


def _of_size(found: Replayed, setting: Setting, costs: Costs) -> pd.DataFrame:
    rows = found.curve[found.curve.slots == setting.slots].reset_index(drop=True)
    return with_costs(rows, expert_bytes=costs.expert_bytes, bandwidth=costs.bandwidth)


def _best_on_demand(rows: pd.DataFrame) -> pd.Series:
    """Of the policies that load what is asked for and need not know the future."""
    real = rows[~rows.index.str.startswith("prefetch")].drop(index="belady")
    return real.iloc[int(real.estimate.argmax())]


def _answer(rows: pd.DataFrame, setting: Setting) -> str:
    best = _best_on_demand(rows)
    where = "slots divided among the layers" if setting.per_layer else "slots in one pool"
    if rows.estimate.nunique() == 1:
        return (
            f"With {setting.slots:,} {where}, every policy hits as often as Belady's bound: "
            f"{RATE.text(best.estimate)} of what tokens ask for."
        )
    gain = "" if best.name == "lru" else f", {_gain(best)} over LRU"
    return (
        f"With {setting.slots:,} {where}, {TITLES[str(best.name)]} hits most often of what fetches "
        f"on demand: {RATE.text(best.estimate)} of what tokens ask for{gain}. Belady's bound is "
        f"{RATE.text(rows.estimate.belady)}.{_ahead(rows)}"
    )


def _best_ahead(rows: pd.DataFrame) -> pd.Series:
    """Of the policies that prefetch."""
    real = rows[rows.index.str.startswith("prefetch")]
    return real.iloc[int(real.estimate.argmax())]


def _ahead(rows: pd.DataFrame) -> str:
    """What prefetching would add, and what it loads for that."""
    best = _best_ahead(rows)
    if not best.ahead:
        return ""
    return (
        f" {TITLES[str(best.name)].capitalize()}: {RATE.text(best.estimate)} ({_gain(best)} over "
        f"LRU) if what it loads arrives in time; it loads {best.misses + best.ahead:.1f} experts a "
        f"token, LRU {rows.misses.lru:.1f}."
    )


def _gain(row: pd.Series) -> str:
    span = "" if pd.isna(row.gain_low) else f" ({points(row.gain_low, row.gain_high)})"
    return f"{100 * row.gain:+.1f} points{span}"


def _megabytes(amount: float) -> str:
    return _with_unit(amount, "MB")


def _milliseconds(time: float) -> str:
    return _with_unit(time, "ms")


def _with_unit(amount: float, unit: str) -> str:
    """On one line."""
    number = f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
    return f"{number}\N{NO-BREAK SPACE}{unit}"
