"""The article's three diagnostics of a conventional MoE, from the figures of a trace's layers."""

import pandas as pd

LOW_RESOURCE = frozenset({"bn", "sw", "tl", "km", "dz", "eu", "gl", "ny", "om", "ur", "gd"})
DECLARATIONS = "udhr/"  # one text each of hundreds of languages
ENGLISH = "udhr/eng"

DISTINCT, BUSIEST = "distinct experts", "three busiest"
SPREAD = "spread on low-resource languages"
MEASURED = {  # diagnostic: the metric that it is
    DISTINCT: "distinct_share",
    BUSIEST: "busiest_share",
    SPREAD: "coefficient_of_variation",
}
ARTICLE = {DISTINCT: 0.38, BUSIEST: 0.51, SPREAD: 0.47}  # of a conventional MoE


def is_low_resource(origin: str) -> bool:
    """Of a document's `origin`, source/language: a language with little text in the corpus."""
    if origin.startswith(DECLARATIONS):
        return origin != ENGLISH
    _, _, language = origin.partition("/")
    return language in LOW_RESOURCE


def diagnostics(
    whole: pd.DataFrame,
    low_resource: pd.DataFrame | None,
    *,
    sample: tuple[int, int],
    low_sample: tuple[int, int],
) -> pd.DataFrame:
    """diagnostic, estimate, low, high, null, article, n_documents, n_groups, note: means over the
    layers.

    Both are tables of metric_intervals.metric_table, of all texts and of those in low-resource
    languages; None: there are none. A sample is its numbers of documents and of groups.
    """
    rows = [_row(name, whole, sample) for name in (DISTINCT, BUSIEST)]
    if low_resource is None:
        note = "no text of a low-resource language: no origin names one"
        unknown = {"article": ARTICLE[SPREAD], "n_documents": 0, "n_groups": 0, "note": note}
        rows.append({"diagnostic": SPREAD, **unknown})
    else:
        rows.append(_row(SPREAD, low_resource, low_sample))
    numbers = ("estimate", "low", "high", "null", "article")
    table = pd.DataFrame(rows, columns=["diagnostic", *numbers, "n_documents", "n_groups", "note"])
    return table.astype(dict.fromkeys(numbers, "Float64"))


def _row(name: str, table: pd.DataFrame, sample: tuple[int, int]) -> dict[str, object]:
    metric = table[table.metric == MEASURED[name]]
    means = metric[["estimate", "low", "high", "null"]].mean()
    return {
        "diagnostic": name,
        **{str(key): value for key, value in means.items()},
        "article": ARTICLE[name],
        "n_documents": sample[0],
        "n_groups": sample[1],
        "note": "; ".join(sorted({note for note in metric.note if note})),
    }
