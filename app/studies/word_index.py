"""The words of a trace, and what the most frequent of them choose, added up over all texts: a
search reads it where it would read a sample else.

W = words, L = MoE layers, E = routed experts.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries, word_rows
from analysis.queries import TraceInfo
from analysis.word_rows import DOCUMENTS
from app.studies.search import LONGEST
from app.word_kinds import MOST_CELLS

READ = 1 << 21  # choices of a word, in all layers, that a search reads
LARGE = 1 << 24  # choices of a trace in which a word may have more than that
AT_ONCE = 200_000  # tokens of the texts that are read together
SUMS = ("tokens", "squares", "by_length")


def is_wanted(info: TraceInfo, domain_k: pd.DataFrame) -> bool:
    """A search may read a sample of some words."""
    choices = int((domain_k.k * domain_k.tokens).sum())
    return not info.counts_only and (info.num_documents > DOCUMENTS or choices > LARGE)


def most_read(info: TraceInfo, domain_k: pd.DataFrame) -> int:
    """Occurrences of a word that a search reads: as many as make READ choices on average."""
    choices = int((domain_k.k * domain_k.tokens).sum())
    return max(READ * info.num_tokens // max(choices, 1), 1)


def frequent(words: pd.DataFrame, info: TraceInfo, domain_k: pd.DataFrame) -> pd.DataFrame:
    """Of word_counts() those of which a search would read a sample, as far as there is room."""
    sampled = (words.tokens > most_read(info, domain_k)) | (words.n_documents > DOCUMENTS)
    return words[sampled].head(MOST_CELLS // int(info.layer_sizes.sum()))


def counted_words(con: DuckDBPyConnection) -> pd.DataFrame:
    return word_rows.word_counts(con, longest=LONGEST)


def expert_sums(
    con: DuckDBPyConnection,
    info: TraceInfo,
    texts: list[str],
    *,
    tell: Callable[[int], None] = lambda tokens: None,
) -> pd.DataFrame:
    """text, layer_id, expert_id and the sums of WordSums; only what was chosen. `tell` is called
    with the tokens read so far."""
    sums_WLE = np.zeros((3, len(texts), info.num_layers, info.num_experts), np.int64)
    read = 0
    for batch in _batches(con) if texts else []:
        rows = word_rows.word_sums(con, texts, batch.doc_id.tolist(), batch.unit.tolist())
        place = rows["word"], rows["layer_id"], rows["expert_id"]
        for sum_WLE, name in zip(sums_WLE, SUMS, strict=True):
            sum_WLE[place] += rows[name]
        read += int(batch.tokens.sum())
        tell(read)
    cells = np.nonzero(sums_WLE[0])
    word, layer_id, expert_id = cells
    found = {"text": np.array(texts, object)[word], "layer_id": layer_id, "expert_id": expert_id}
    sums = {name: sum_WLE[cells] for name, sum_WLE in zip(SUMS, sums_WLE, strict=True)}
    return pd.DataFrame(found | sums)


def _batches(con: DuckDBPyConnection) -> Iterator[pd.DataFrame]:
    """doc_id, unit, tokens of whole groups that hold about AT_ONCE tokens together."""
    documents = queries.documents(con)[["doc_id", "unit", "tokens"]]
    documents = documents.sort_values(["unit", "doc_id"], ignore_index=True)
    before = (documents.tokens.cumsum() - documents.tokens).groupby(documents.unit).transform("min")
    for _, batch in documents.groupby(before // AT_ONCE):
        yield batch
