"""A picture of points before their map is made: the SVD of a part of the trace that does not grow
with it."""

from dataclasses import replace

import numpy as np
from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.layout import Map, svd_map
from analysis.projection import (
    Points,
    project_experts,
    project_prompts,
    token_points,
    with_tokens,
)
from analysis.queries import TraceInfo

TOKENS = 2_000  # at most, but one of every text read
FEWEST, MOST = 40, 400  # texts with which they begin: short ones are more, or there are few tokens
TEXTS, COUNTS = 2_000, 1_500_000  # at most, of the maps of prompts and experts


def first_look(con: DuckDBPyConnection, info: TraceInfo, what: str, *, seed: int) -> Map:
    """svd_map(); of `texts` texts, as many of every domain."""
    most = max(2, min(TEXTS, COUNTS // (info.num_layers * info.num_experts)))
    if what == "tokens":
        points = _tokens(con, info, seed)
        texts = points.frame.doc_id.nunique()
    elif what == "prompts":
        points = project_prompts(con, info, seed=seed, most=most)
        texts = len(points.frame)
    else:
        points = project_experts(con, info, seed=seed, most=most)
        texts = points.components_SF.shape[1]
    return svd_map(replace(points, parameters=points.parameters | {"texts": texts}))


def _tokens(con: DuckDBPyConnection, info: TraceInfo, seed: int) -> Points:
    """With which some texts begin."""
    wanted = TOKENS * info.num_documents // max(1, info.num_tokens)
    texts = with_tokens(queries.documents(con), int(np.clip(wanted, FEWEST, MOST)), seed)
    tokens = queries.tokens_by_domain(con, doc_ids=texts.doc_id.tolist())
    begins = tokens.groupby("doc_id").cumcount() < max(1, TOKENS // len(texts))
    frame = tokens[begins].reset_index(drop=True)
    frame.insert(3, "unit", texts.set_index("doc_id").unit.loc[frame.doc_id].to_numpy())
    parts = []
    for _, of_text in frame.groupby("doc_id"):  # the tokens of a text lie at one place
        part = queries.token_choices(con, of_text)
        parts.append(part | {"point": part["point"] + of_text.index[0]})
    choices = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return token_points(frame, choices, info, seed=seed)
