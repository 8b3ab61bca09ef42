"""What the tokens of a text may be coloured by, and what is known for it of a trace."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries, specialization
from analysis.domain_counts import compared_layers
from analysis.expert_clusters import MAX_TOKENS, Clusters, layer_clusters
from app import stored
from app.trace import BY_IDENTITY, Trace
from app.views.prompts import meanings
from app.views.prompts.meaning import Meaning
from app.views.prompts.meanings import CLUSTER, DOMAIN, ENTROPY, EXPERT, LOSS
from app.views.shared.layer_names import names_of
from app.views.shared.theme import Palette

CHOICES = [DOMAIN, EXPERT, CLUSTER, ENTROPY, LOSS]


def source(reference: Trace, shown: Trace) -> Trace:
    """Where it is read what experts are: the trace in the sidebar, if it is of the model that the
    text was run through and of all its layers, otherwise the text's own."""
    models = reference.info.model_sha256, shown.info.model_sha256
    alike = models[0] == models[1] != "" and reference.info.layers == shown.info.layers
    return reference if reference == shown or alike else shown


def suggested(trace: Trace, layer_id: int) -> str:
    """Domains, if an expert of the layer has one; else clusters, if there are any."""
    label_LE = _labels(trace)
    if label_LE is not None and (label_LE[layer_id] < len(trace.domains)).any():
        return DOMAIN
    return EXPERT if _clusters(trace, layer_id).reason else CLUSTER


def meaning(
    by: str, here: pd.DataFrame, palette: Palette, *, trace: Trace, where: str, layer_id: int
) -> Meaning:
    """`here`: the first choices of a text in the layer; `where`: how the source is called."""
    name, sizes = names_of(trace)[layer_id], tuple(trace.info.layer_sizes.tolist())
    layer = meanings.Layer(layer_id, name, sizes, where)
    if by == DOMAIN:
        return meanings.by_domain(here, palette, layer, _labels(trace), domains=trace.domains)
    if by == CLUSTER:
        return meanings.by_cluster(here, palette, layer, _clusters(trace, layer_id))
    if by == EXPERT:
        return meanings.by_expert(here, palette, layer)
    if by == ENTROPY:
        return meanings.by_entropy(here, palette, layer)
    return meanings.by_loss(here, palette)


@st.cache_data(max_entries=64, show_spinner="Finding clusters of experts…", hash_funcs=BY_IDENTITY)
def _clusters(trace: Trace, layer_id: int) -> Clusters:
    """Typical tokens with their text."""
    with trace.cursor() as con:
        choices = queries.token_id_choices(con, layer_id, tokens=MAX_TOKENS)
        found = layer_clusters(choices, trace.info.layers[layer_id].num_experts)
        if not found.reason:
            texts = queries.token_ids(con).set_index("token_id").text
            found.typical["text"] = texts[found.typical.token_id].to_numpy()
    return found


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def _labels(trace: Trace) -> np.ndarray | None:
    """label_LE, places in label_names(), "none" in layers that have nothing to compare. None: the
    trace does not tell domains apart."""
    tokens_LEG = stored.domain_tokens(trace)
    if np.count_nonzero(np.nansum(tokens_LEG, (0, 1))) < 2:
        return None
    label_LE = np.full(tokens_LEG.shape[:2], specialization.NO_DOMAIN)
    layers_L = compared_layers(tokens_LEG)
    label_LE[layers_L] = specialization.expert_domain(tokens_LEG[layers_L])
    label_LE[label_LE == specialization.NO_SUCH] = specialization.NO_DOMAIN
    return label_LE % (tokens_LEG.shape[-1] + 2)
