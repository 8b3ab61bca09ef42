"""Whether experts follow the word or the subject of a text."""

import pandas as pd

from analysis.conditional import PERMUTATIONS
from analysis.significance import MAX_Q
from analysis.vocabulary import MIN_OCCURRENCES
from analysis.vocabulary_tests import DEALS
from app.trace import Trace
from app.views.shared.intervals import Measure
from app.views.shared.layer_chooser import LayerFigure
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.panel import Panel, of_layers
from app.views.shared.sampled import sampled
from app.views.shared.theme import Palette, visible
from app.views.vocabulary import tables
from app.views.vocabulary.figures import information_bars, vocabulary_lines

METHOD = (
    "vocabulary_specialization",
    "mean_vocabulary_share",
    "corrected_specialization",
    "conditional_information",
)
COMPARED = ("vocabulary specialization",)
NO_FREQUENT_IDS = f"No token id occurs {MIN_OCCURRENCES} times in this layer."


def panels(trace: Trace, palette: Palette, *, layer_id: int = 0) -> list[Panel]:
    """What follows the word, then what follows the subject, where that was computed."""
    return [
        _by_layer(trace, palette, layer_id),
        *_token_ids(trace, layer_id),
        *_information(trace, palette),
    ]


def layer_figure(trace: Trace) -> LayerFigure | None:
    """The corrected share of every layer, as soon as it is known."""
    if not tables.is_whole(trace):
        return None
    corrected = tables.summary(trace).corrected.astype(float)
    return LayerFigure(Measure("vocabulary specialization", ".0%"), corrected.tolist())


def definitions_panel(trace: Trace, layer_id: int) -> Panel:
    """Every metric as others define it: slow, so only when asked for."""
    table = tables.definitions(trace, layer_id)
    return Panel(
        name="definitions",
        table=table,
        note=(
            f"Figures of {names_of(trace)[layer_id]} as the paper defines them, as the code "
            "released with it computes them, and as RouteScope computes them. Where a value is "
            "missing, the table gives the reason."
        ),
        preview=table,
    )


def token_ids_title(trace: Trace, layer_id: int) -> str:
    return f"Token ids that {names_of(trace)[layer_id]} mostly sends to one expert"


def _by_layer(trace: Trace, palette: Palette, layer_id: int) -> Panel:
    table, names = tables.summary_with(trace, layer_id), names_of(trace)
    row = table.iloc[layer_id]
    return Panel(
        name="vocabulary_by_layer",
        table=table,
        answer=_layer_answer(row, names[layer_id]),
        figure=vocabulary_lines(table, palette, marked=layer_id, names=names),
        alt="Lines: vocabulary specialization by layer: plain, expected by chance, and corrected",
        names=of_layers,
        note=(
            f"Frequent: {MIN_OCCURRENCES} occurrences or more. A rare id belongs to one expert by "
            "chance (an id that occurs once always does), so the plain figure is high for any "
            "router. Vertical line: 95 % interval over groups of texts. p: the rank among "
            f"{DEALS} random permutations of the words within each text."
            + sampled(trace.info, {name: int(row[name]) for name in ("n_documents", "n_tokens")})
        ),
    )


def _layer_answer(row: pd.Series, layer: str) -> str:
    if pd.isna(row.corrected):
        return f"Whether {layer} follows words cannot be determined: {row.reason}."
    return (
        f"In {layer}, the most frequent first expert of a token id takes {row.share:.0%} "
        f"of its occurrences; the layer's load alone would give {row.expected:.0%}. That is "
        f"{row.corrected:.0%} of the way from chance to one expert per word. It does not mean that "
        "the expert knows the word, only that the word is routed to it."
    )


def _token_ids(trace: Trace, layer_id: int) -> list[Panel]:
    """Empty where no id is frequent."""
    table = tables.token_table(trace, layer_id)
    if table.empty:
        return []
    table = table.assign(text=[visible(text) for text in table.text])
    return [
        Panel(
            name="token_id_specialization",
            table=table,
            title=token_ids_title(trace, layer_id),
            preview=table.drop(columns="layer_id"),
        )
    ]


def _information(trace: Trace, palette: Palette) -> list[Panel]:
    table = tables.information(trace) if len(trace.domains) > 1 else None
    return [] if table is None else [information_panel(table, palette, names_of(trace))]


def information_panel(table: pd.DataFrame, palette: Palette, names: LayerNames = NUMBERED) -> Panel:
    """Of a table of information_rows; without a figure where no layer has a number."""
    name, title = "information_beyond_token", "Beyond the word"
    rows = table[table.beyond.notna()]
    if rows.empty:
        note = f"This cannot be computed: {table.reason.iloc[0]}."
        return Panel(name=name, table=table, title=title, note=note)
    without = table[table.beyond.isna()]
    unknown = zip(without.layer_id.tolist(), without.reason, strict=True)
    reasons = [f" {names.first(layer_id)}: {reason}." for layer_id, reason in unknown]
    significant = rows[(rows.q < MAX_Q) & (rows.beyond > 0)]
    return Panel(
        name=name,
        table=table,
        title=title,
        answer=(
            f"In {len(significant)} of {len(table)} layers, the choice of experts depends on the "
            f"subject of the text beyond the token itself (q < {MAX_Q}). This does not tell style "
            "from topic: both count as subject."
        ),
        figure=information_bars(rows, palette, names=names),
        alt="Bars: information about the domain by layer, alone and beyond the token",
        names=of_layers,
        note=(
            "Nats per choice, minus what the same groups of texts give when they are assigned to "
            "domains at random; negative values are shown as 0. Vertical line: 95 % bootstrap "
            "interval over groups of texts; it reaches far up because the correction may subtract "
            f"too much. p: the rank among {PERMUTATIONS} random assignments; q: over layers."
            + "".join(reasons)
        ),
        preview=table,
    )
