"""What is mapped: tokens, prompts and experts, by whom they are routed to.

P = points, F = routing features, S = components of the truncated SVD, L = MoE layers, E = routed
experts, G = domains.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.decomposition import TruncatedSVD

from analysis import arrays, queries
from analysis.domain_counts import compared_layers
from analysis.halves import judging_half
from analysis.queries import TraceInfo
from analysis.routed_features import (
    Rows,
    document_features,
    document_parts,
    expert_features,
    expert_index,
    first_choices,
    reduced_parts,
    token_features,
)
from analysis.specialization import NO_DOMAIN, NO_SUCH, expert_domain, label_names
from data.labels import NONE

LANDMARKS = 10_000  # points of a map that UMAP lays out and a page shows, as many of every domain
MOST_TOKENS = 4_000_000  # of a map; of more, whole texts
FITTED_DOCUMENTS = 2_000  # whose features, dense ones, the SVD is fitted to
MAX_COMPONENTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What will be laid out: a row of `frame`, then of `rest`, is a point, and so is a row of
    reduced_PS."""

    frame: pd.DataFrame  # the landmarks
    rest: pd.DataFrame  # all others; may lack columns
    reduced_PS: np.ndarray
    components_SF: np.ndarray
    groups_P: np.ndarray | None  # whose domains are shuffled together; None: no comparison
    min_cluster_size: int  # in landmarks
    seed: int
    parameters: dict[str, object]


def project_tokens(con: DuckDBPyConnection, info: TraceInfo, *, seed: int) -> Points:
    """doc_id, position, domain, unit (its group), text, and of landmarks expert_<layer_id>: the
    expert of largest weight. The others have no place yet: with_all_tokens()."""
    documents = queries.documents(con)
    tokens = queries.tokens_by_domain(con, doc_ids=_texts_to_map(documents, seed))
    unit = documents.set_index("doc_id").unit.astype(np.uint32)
    tokens.insert(3, "unit", unit.loc[tokens.doc_id].to_numpy())
    chosen = _stratified(tokens, LANDMARKS, seed)
    frame = tokens[chosen].reset_index(drop=True)
    points = token_points(frame, queries.token_choices(con, frame), info, seed=seed)
    return replace(points, rest=tokens[~chosen].reset_index(drop=True))


def token_points(frame: pd.DataFrame, choices: Rows, info: TraceInfo, *, seed: int) -> Points:
    features_PF = token_features(choices, choices["point"], len(frame), info)
    return _points(
        frame.assign(**first_choices(choices, len(frame), info)),
        features_PF,
        groups_P=frame.unit.to_numpy(),
        seed=seed,
        total=info.num_tokens,
        smallest_share=1 / 100,
    )


def with_all_tokens(
    con: DuckDBPyConnection,
    info: TraceInfo,
    points: Points,
    *,
    tell: Callable[[int], None] = lambda placed: None,
) -> Points:
    """The rest too, told how many so far."""
    reduced_PS = np.empty((len(points.rest), len(points.components_SF)), np.float32)
    components_FS = np.ascontiguousarray(points.components_SF.T)
    for here, part_PS in reduced_parts(con, points.rest, info, components_FS):
        reduced_PS[here] = part_PS
        tell(here.stop)
    return _with(points, points.rest, reduced_PS, points.rest.unit)


def project_prompts(
    con: DuckDBPyConnection, info: TraceInfo, *, seed: int, most: int | None = None
) -> Points:
    """doc_id, domain, group, unit, origin, tokens, text: by the share of each expert in each
    layer. `most`: of so many texts, as many of every domain."""
    documents = with_tokens(queries.documents(con), most, seed)
    chosen = _stratified(documents, LANDMARKS, seed)
    frame = documents[chosen].reset_index(drop=True)
    rng = np.random.default_rng(seed)
    fitted = np.sort(rng.permutation(len(frame))[:FITTED_DOCUMENTS])
    parts = document_parts(con, frame.doc_id.to_numpy()[fitted], info)
    points = _points(
        frame,
        vstack([document_features(rows, ids, info) for ids, rows in parts], format="csr"),
        groups_P=frame.unit.to_numpy(),
        seed=seed,
        total=info.num_documents,
        smallest_share=1 / 50,
    )
    if len(fitted) == len(documents):
        return points
    parts = document_parts(con, documents.doc_id.to_numpy(), info)
    components_FS = points.components_SF.T.copy()
    reduced = [document_features(rows, ids, info) @ components_FS for ids, rows in parts]
    reduced_PS, rest = np.concatenate(reduced).astype(np.float32), documents[~chosen]
    points = replace(points, reduced_PS=reduced_PS[chosen])
    return _with(points, rest.reset_index(drop=True), reduced_PS[~chosen], rest.unit)


def project_experts(
    con: DuckDBPyConnection, info: TraceInfo, *, seed: int, most: int | None = None
) -> Points:
    """layer_id, expert_id, tokens, domain (that it prefers): by the documents it is chosen in.
    `most`: by so many texts, as many of every domain.

    The domain is that of one half of the groups, the place that of the other; where a domain has
    one group only, both are of all documents and nothing is compared.
    """
    experts = queries.expert_tokens(con)[["layer_id", "expert_id", "tokens"]]
    documents = queries.documents(con)
    if most is None:
        documents = documents[documents.doc_id.isin(queries.routed_documents(con))]
    else:
        documents = with_tokens(documents, most, seed)
    doc_ids = documents.doc_id.to_numpy()
    labelling = _labelling_half(documents, seed=seed)
    of_labels = doc_ids if labelling is None else np.intersect1d(doc_ids, labelling)
    of_places = doc_ids if labelling is None else np.setdiff1d(doc_ids, labelling)
    _require_points(documents)
    domain = _expert_domains(con, info, of_labels, documents.set_index("doc_id").domain)
    features_EF = expert_features(con, info, of_places)[expert_index(experts, info)]
    placed = np.diff(features_EF.indptr) > 0  # who was not chosen has nothing to be laid out by
    frame = experts.assign(domain=domain[expert_index(experts, info)])[placed]
    frame = frame.reset_index(drop=True)
    _require_points(frame)
    chosen, features_PF = _stratified(frame, LANDMARKS, seed), features_EF[placed]
    points = _points(
        frame[chosen].reset_index(drop=True),
        features_PF[chosen],
        groups_P=None if labelling is None else np.flatnonzero(chosen),
        seed=seed,
        total=len(experts),
        smallest_share=1 / 50,
    )
    if chosen.all():
        return points
    rest, reduced_PS = frame[~chosen], features_PF[~chosen] @ points.components_SF.T
    return _with(points, rest.reset_index(drop=True), reduced_PS, np.flatnonzero(~chosen))


def _with(
    points: Points, rest: pd.DataFrame, reduced_PS: np.ndarray, groups: np.ndarray | pd.Series
) -> Points:
    """The landmarks and the rest, which has these places."""
    groups_P = points.groups_P
    if groups_P is not None:
        groups_P = np.concatenate([groups_P, np.asarray(groups)])
    all_PS = np.concatenate([points.reduced_PS, reduced_PS.astype(np.float32, copy=False)])
    parameters = points.parameters | {
        "points": len(all_PS),
        "groups": None if groups_P is None else len(np.unique(groups_P)),
    }
    return replace(points, rest=rest, reduced_PS=all_PS, groups_P=groups_P, parameters=parameters)


def _texts_to_map(documents: pd.DataFrame, seed: int) -> list[int] | None:
    """doc_ids of texts of MOST_TOKENS tokens, drawn at random; None: of all."""
    if documents.tokens.sum() <= MOST_TOKENS:
        return None
    shuffled = documents.sample(frac=1, random_state=seed)
    fit = shuffled.tokens.cumsum() <= MOST_TOKENS
    return shuffled.doc_id[fit | (np.arange(len(fit)) == 0)].tolist()


def with_tokens(documents: pd.DataFrame, most: int | None, seed: int) -> pd.DataFrame:
    """Those with tokens; of more than `most`, as many of every domain."""
    some = documents[documents.tokens > 0].reset_index(drop=True)
    _require_points(some)
    if most is None:
        return some
    return some[_stratified(some, most, seed)].reset_index(drop=True)


def _stratified(frame: pd.DataFrame, size: int, seed: int) -> np.ndarray:
    """As many rows of every domain, or all it has [P, bool]; all where they are no more."""
    _require_points(frame)
    if len(frame) <= size:
        return np.ones(len(frame), dtype=bool)
    domain_P, names = pd.factorize(frame.domain)
    shuffled = np.random.default_rng(seed).permutation(len(frame))
    order = shuffled[domain_P[shuffled].argsort(kind="stable")]
    size_G = np.bincount(domain_P)
    starts_G = np.cumsum(size_G) - size_G
    rank = np.arange(len(frame)) - np.repeat(starts_G, size_G)
    chosen = np.zeros(len(frame), dtype=bool)
    chosen[order[rank < max(1, size // len(names))]] = True
    return chosen


def _labelling_half(documents: pd.DataFrame, *, seed: int) -> np.ndarray | None:
    """doc_ids of half of the groups of every domain; None if a domain has one group only."""
    units = documents.groupby("unit").agg({"domain": "first", "tokens": "sum"})
    if units.empty or units.domain.value_counts().min() < 2:
        return None
    domain_id_N = pd.factorize(units.domain)[0]
    half = units.index[judging_half(units.tokens.to_numpy(), domain_id_N, seed=seed)]
    return documents.doc_id[documents.unit.isin(half)].to_numpy()


def _expert_domains(
    con: DuckDBPyConnection, info: TraceInfo, doc_ids: np.ndarray, domain_of: pd.Series
) -> np.ndarray:
    """The name of the domain each expert prefers in these documents, by expert_index(); places that
    are no expert have one too."""
    tokens_LEG = np.repeat(arrays.no_choices(info)[..., None], len(info.domains), axis=-1)
    for _, rows in document_parts(con, doc_ids, info):
        domains = pd.Index(domain_of.loc[rows["doc_id"]])
        domain_id = pd.Index(info.domains).get_indexer(domains)
        np.add.at(tokens_LEG, (rows["layer_id"], rows["expert_id"], domain_id), rows["tokens"])
    if not compared_layers(tokens_LEG).all():  # nothing to prefer
        return np.full(info.num_layers * info.num_experts, NONE, dtype=object)
    label = expert_domain(tokens_LEG).ravel()
    names = np.array(label_names(info.domains), dtype=object)
    return names[np.where(label == NO_SUCH, NO_DOMAIN, label)]


def _points(
    frame: pd.DataFrame,
    features_PF: csr_matrix,
    *,
    groups_P: np.ndarray | None,
    seed: int,
    total: int,
    smallest_share: float,
) -> Points:
    """The SVD is fitted to these features: those of the rows of the frame, or of some of them."""
    _require_points(frame)
    if features_PF.shape[1] < 2:  # one text gives all points their place
        features_PF = csr_matrix(hstack([features_PF, np.zeros((features_PF.shape[0], 1))]))
    components = max(1, min(MAX_COMPONENTS, features_PF.shape[0] - 1, features_PF.shape[1] - 1))
    svd = TruncatedSVD(components, random_state=seed)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # points that are all alike have no variance to explain
        reduced_PS = svd.fit_transform(features_PF).astype(np.float32)
    return Points(
        frame=frame,
        rest=frame.iloc[:0],
        reduced_PS=reduced_PS,
        components_SF=svd.components_.astype(np.float32),
        groups_P=groups_P,
        min_cluster_size=max(5, round(len(frame) * smallest_share)),
        seed=seed,
        parameters={
            "seed": seed,
            "points": len(frame),
            "groups": None if groups_P is None else len(np.unique(groups_P)),
            "points_in_trace": total,
            "svd_components": components,
            "svd_explained_variance": _finite_sum(svd.explained_variance_ratio_),
            "versions": {name: version(name) for name in ("scikit-learn", "umap-learn", "numpy")},
        },
    )


def _finite_sum(shares: np.ndarray) -> float:
    return float(shares[np.isfinite(shares)].sum())


def _require_points(frame: pd.DataFrame) -> None:
    if frame.empty:
        raise ValueError("this trace has no routed tokens; capture some first")
