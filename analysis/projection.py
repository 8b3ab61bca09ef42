"""Maps of tokens, prompts and experts: points that are routed alike lie together.

P = points, F = routing features, S = components of the truncated SVD, L = MoE layers, E = routed
experts, G = domains. The square root of a distribution makes Euclidean distance the Hellinger
distance.
"""

import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection
from scipy.sparse import csr_matrix
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors

from analysis import arrays, queries
from analysis.agreement import agreement
from analysis.domain_counts import compared_layers
from analysis.halves import judging_half
from analysis.queries import TraceInfo
from analysis.specialization import NO_DOMAIN, NO_SUCH, expert_domain, label_names
from data.labels import NONE, TOO_LITTLE
from data.routing import NO_EXPERT

MAX_TOKENS = 20_000  # points of the map of tokens, shared evenly by the domains
MAX_COMPONENTS = 32
CLUSTER_DIMENSIONS = 5  # of the UMAP that is clustered
NEIGHBORS = 15
MIN_POINTS = 10  # fewer have no neighbourhoods: they keep the SVD's picture
ALIKE = 1e-6  # points within this distance are one point, and keep it too
NOISE = -1  # the cluster of points that HDBSCAN leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What will be laid out: a row of the frame is a point, and so is a row of reduced_PS."""

    frame: pd.DataFrame
    reduced_PS: np.ndarray
    groups_P: np.ndarray | None  # whose domains are shuffled together; None: no comparison
    min_cluster_size: int
    seed: int
    parameters: dict[str, object]


def project_tokens(con: DuckDBPyConnection, info: TraceInfo, *, seed: int) -> Points:
    """doc_id, position, domain, unit (its group), text, and expert_<layer_id>: the expert of
    largest weight."""
    tokens = queries.tokens_by_domain(con)
    sample = _stratified(tokens, MAX_TOKENS, seed)
    choices = queries.token_choices(con, sample)
    known = choices.weight.fillna(1.0)  # where its source gives ids only, all count alike
    weights = _root_share(known, [choices.point, choices.layer_id])
    features_PF = csr_matrix(
        (weights, (choices.point, _expert_index(choices, info))),
        shape=(len(sample), info.num_layers * info.num_experts),
    )
    unit = queries.documents(con).set_index("doc_id").unit.loc[sample.doc_id].to_numpy()
    texts = queries.token_texts(con, sample)
    first_choices = _first_choices(choices, sample, num_layers=info.num_layers)
    frame = sample.assign(unit=unit, text=texts, **first_choices)
    return _points(
        frame, features_PF, groups_P=unit, seed=seed, total=len(tokens), smallest_share=1 / 100
    )


def project_prompts(con: DuckDBPyConnection, info: TraceInfo, *, seed: int) -> Points:
    """doc_id, domain, group, unit, origin, tokens, text: by the share of each expert in each
    layer."""
    frame = queries.documents(con).query("tokens > 0").reset_index(drop=True)
    load = queries.document_load(con)
    weights = _root_share(load.tokens, [load.doc_id, load.layer_id])
    point = pd.Index(frame.doc_id).get_indexer(pd.Index(load.doc_id))
    features_PF = csr_matrix(
        (weights, (point, _expert_index(load, info))),
        shape=(len(frame), info.num_layers * info.num_experts),
    )
    return _points(
        frame,
        features_PF,
        groups_P=frame.unit.to_numpy(),
        seed=seed,
        total=info.num_documents,
        smallest_share=1 / 50,
    )


def project_experts(con: DuckDBPyConnection, info: TraceInfo, *, seed: int) -> Points:
    """layer_id, expert_id, tokens, domain (that it prefers): by the documents it is chosen in.

    The domain is that of one half of the groups, the place that of the other; where a domain has
    one group only, both are of all documents and nothing is compared.
    """
    experts = queries.expert_tokens(con)[["layer_id", "expert_id", "tokens"]]
    load, documents = queries.document_load(con), queries.documents(con)
    labelling = _labelling_half(documents[documents.doc_id.isin(load.doc_id)], seed=seed)
    of_labels = load if labelling is None else load[load.doc_id.isin(labelling)]
    of_places = load if labelling is None else load[~load.doc_id.isin(labelling)]
    domain = _expert_domains(of_labels.merge(documents[["doc_id", "domain"]], on="doc_id"), info)
    expert = _expert_index(of_places, info)
    document, columns = pd.factorize(of_places.doc_id)
    features_EF = csr_matrix(
        (_root_share(of_places.tokens, expert), (expert, document)),
        shape=(info.num_layers * info.num_experts, len(columns)),
    )[_expert_index(experts, info)]
    placed = np.diff(features_EF.indptr) > 0  # who was not chosen has nothing to be laid out by
    frame = experts.assign(domain=domain[_expert_index(experts, info)])[placed]
    frame = frame.reset_index(drop=True)
    return _points(
        frame,
        features_EF[placed],
        groups_P=None if labelling is None else np.arange(len(frame)),
        seed=seed,
        total=len(experts),
        smallest_share=1 / 50,
    )


def svd_map(points: Points) -> tuple[pd.DataFrame, dict[str, object]]:
    """x, y from the SVD, at once; nothing is clustered yet. For too few points this is all."""
    # The first component of a table that is not centred is near its mean: the next two tell more.
    xy_P2 = np.hstack([points.reduced_PS[:, 1:3], np.zeros((len(points.frame), 2))])[:, :2]
    frame = points.frame.assign(x=xy_P2[:, 0], y=xy_P2[:, 1], cluster=NOISE)
    return frame, points.parameters | {"method": "svd", "clusters": None}


def umap_map(points: Points) -> tuple[pd.DataFrame, dict[str, object]]:
    """x, y from UMAP; clusters from HDBSCAN in a UMAP of more dimensions, not in the picture."""
    num_points, components = points.reduced_PS.shape
    alike = np.ptp(points.reduced_PS, 0).max() < ALIKE
    if num_points < MIN_POINTS or components < 2 or alike:
        return svd_map(points)
    neighbors = _neighbors(points.reduced_PS)
    xy_P2 = _umap(points.reduced_PS, neighbors, dimensions=2, min_dist=0.1, seed=points.seed)
    dense_PC = _umap(
        points.reduced_PS,
        neighbors,
        dimensions=min(CLUSTER_DIMENSIONS, components),
        min_dist=0.0,
        seed=points.seed,
    )
    density = HDBSCAN(min_cluster_size=points.min_cluster_size, min_samples=5, copy=True)
    cluster_P = density.fit_predict(dense_PC)
    frame = points.frame.assign(x=xy_P2[:, 0], y=xy_P2[:, 1], cluster=cluster_P)
    compared, known_P = None, (frame.domain != TOO_LITTLE).to_numpy()
    if points.groups_P is not None and frame.domain[known_P].nunique() > 1:
        groups = points.groups_P[known_P]
        agreed = agreement(frame.domain[known_P], cluster_P[known_P], groups, seed=points.seed)
        compared = asdict(agreed)
    return frame, points.parameters | {
        "method": "umap",
        "n_neighbors": neighbors[0].shape[1],
        "cluster_dimensions": dense_PC.shape[1],
        "min_cluster_size": points.min_cluster_size,
        "clusters": len(set(cluster_P) - {NOISE}),
        "noise_share": float((cluster_P == NOISE).mean()),
        "agreement": compared,
    }


def _stratified(tokens: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """As many tokens of every domain, or all it has; in the order of the trace."""
    _require_points(tokens)
    shuffled = tokens.sample(frac=1, random_state=seed)
    share = size // tokens.domain.nunique()
    return shuffled.groupby("domain").head(share).sort_index().reset_index(drop=True)


def _first_choices(
    choices: pd.DataFrame, sample: pd.DataFrame, *, num_layers: int
) -> dict[str, pd.Series]:
    """The expert of largest weight in each layer, a column a layer."""
    first = choices[choices["rank"] == 0].pivot(
        index="point", columns="layer_id", values="expert_id"
    )
    first = first.reindex(index=sample.index, columns=range(num_layers))
    first = first.fillna(NO_EXPERT).astype(np.int16)
    return {f"expert_{layer_id}": first[layer_id] for layer_id in first}


def _root_share(values: pd.Series, groups: list[pd.Series] | np.ndarray) -> pd.Series:
    return (values / values.groupby(groups).transform("sum")).pow(0.5)


def _expert_index(frame: pd.DataFrame, info: TraceInfo) -> np.ndarray:
    """One number for layer and expert."""
    return frame.layer_id.to_numpy(np.int64) * info.num_experts + frame.expert_id.to_numpy(np.int64)


def _labelling_half(documents: pd.DataFrame, *, seed: int) -> np.ndarray | None:
    """doc_ids of half of the groups of every domain; None if a domain has one group only."""
    units = documents.groupby("unit").agg({"domain": "first", "tokens": "sum"})
    if units.empty or units.domain.value_counts().min() < 2:
        return None
    domain_id_N = pd.factorize(units.domain)[0]
    half = units.index[judging_half(units.tokens.to_numpy(), domain_id_N, seed=seed)]
    return documents.doc_id[documents.unit.isin(half)].to_numpy()


def _expert_domains(load: pd.DataFrame, info: TraceInfo) -> np.ndarray:
    """The name of the domain each expert prefers, by _expert_index; places that are no expert have
    one too."""
    tokens = load.groupby(["layer_id", "expert_id", "domain"])[["tokens"]].sum().reset_index()
    tokens_LEG = arrays.domain_array(tokens, info)
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
    _require_points(frame)
    if features_PF.shape[1] < 2:
        raise ValueError(
            "this trace has one text, so there is nothing that its points differ in; a map needs "
            "two texts or more"
        )
    components = max(1, min(MAX_COMPONENTS, features_PF.shape[0] - 1, features_PF.shape[1] - 1))
    svd = TruncatedSVD(components, random_state=seed)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # points that are all alike have no variance to explain
        reduced_PS = svd.fit_transform(features_PF).astype(np.float32)
    return Points(
        frame=frame,
        reduced_PS=reduced_PS,
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


def _neighbors(reduced_PS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact, indices and distances: UMAP's own search would compile for half a minute first."""
    neighbors = min(NEIGHBORS, len(reduced_PS) - 1)
    search = NearestNeighbors(n_neighbors=neighbors, algorithm="brute").fit(reduced_PS)
    distances_PN, indices_PN = search.kneighbors(reduced_PS)
    return indices_PN, distances_PN.astype(np.float32)


def _umap(
    reduced_PS: np.ndarray,
    neighbors: tuple[np.ndarray, np.ndarray],
    *,
    dimensions: int,
    min_dist: float,
    seed: int,
) -> np.ndarray:
    from umap import UMAP  # takes seconds to import

    layout = UMAP(
        n_neighbors=neighbors[0].shape[1],
        n_components=dimensions,
        min_dist=min_dist,
        init="pca",
        random_state=seed,
        n_jobs=1,
        precomputed_knn=neighbors,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precomputed_knn")  # no points are added later
        return layout.fit_transform(reduced_PS)
