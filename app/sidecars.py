"""What may lie beside a trace: the columns, the parameters and the command of every kind."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis import information_table, vocabulary_rows
from analysis.causes import AMOUNTS, DOUBLE, GROUPS
from app import cache_kinds, summary_kinds, word_kinds
from data.routing import NO_EXPERT
from data.sidecar_kind import (
    COUNT,
    COUNT_IF_ANY,
    FLAG,
    FLAG_IF_ANY,
    INT16,
    LARGEST,
    NUMBER_IF_ANY,
    SMALL_NUMBER,
    SMALL_NUMBER_IF_ANY,
    TEXT,
    TEXT_IF_ANY,
    UINT32,
    Column,
    Facts,
    Kind,
    whole,
)

AGREEMENT = dict.fromkeys(
    [f"{under}{name}" for name in ("nmi", "ari", "purity") for under in ("", "shuffled_")],
    float | int,
) | {"points": int}
MAP_PARAMETERS = {
    "method": frozenset({"svd", "umap"}),
    "seed": int,
    "points": int,
    "points_in_trace": int,
    "groups": int | None,
    "clusters": int | None,
    "noise_share": float | int | None,
    "agreement": (type(None), AGREEMENT),
}
PLACE = {
    "x": SMALL_NUMBER,
    "y": SMALL_NUMBER,
    "cluster": whole(least=-1, below=2**15, type=INT16),  # -1: noise
    "distance": SMALL_NUMBER_IF_ANY,  # of the first look none
}
CLAIM_ROW = ["layer_id", "expert_id", "domain", "claimed", "group"]


def _doc_id(trace: Facts) -> Column:
    return whole(below=trace.last_doc_id + 1)


def _layer(trace: Facts) -> Column:
    return whole(below=trace.num_layers)


def _token_columns(trace: Facts) -> Mapping[str, Column]:
    first_choice = whole(least=NO_EXPERT, below=trace.num_experts, type=INT16, optional=True)
    doc_id = whole(below=trace.last_doc_id + 1, type=UINT32)
    return {
        "doc_id": doc_id,
        "position": whole(below=LARGEST, type=UINT32),
        "domain": TEXT,
        "unit": doc_id,
        "text": TEXT,
        **{f"expert_{layer_id}": first_choice for layer_id in range(trace.num_layers)},
        **PLACE,
    }


def _prompt_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "doc_id": _doc_id(trace),
        "domain": TEXT,
        "group": TEXT_IF_ANY,
        "unit": _doc_id(trace),
        "origin": TEXT,
        "tokens": COUNT,
        "text": TEXT,
        **PLACE,
    }


def _expert_columns(trace: Facts) -> Mapping[str, Column]:
    expert_id = whole(below=trace.num_experts)
    return {
        "layer_id": _layer(trace),
        "expert_id": expert_id,
        "tokens": COUNT,
        "domain": TEXT,
        **PLACE,
    }


def _information_columns(trace: Facts) -> Mapping[str, Column]:
    known = {"layer_id": _layer(trace), **_SAMPLE, "reason": TEXT}
    return {name: known.get(name, NUMBER_IF_ANY) for name in information_table.COLUMNS}


def _vocabulary_columns(trace: Facts) -> Mapping[str, Column]:
    known = {"layer_id": _layer(trace), "token_ids": COUNT, **_SAMPLE, "reason": TEXT}
    columns = ("layer_id", *vocabulary_rows.COLUMNS)
    return {name: known.get(name, NUMBER_IF_ANY) for name in columns}


def _cause_columns(trace: Facts) -> Mapping[str, Column]:
    return {
        "layer_id": _layer(trace),
        "expert_id": whole(below=trace.num_experts),
        "domain": TEXT,
        "claimed": FLAG,
        "group": TEXT,
        **dict.fromkeys(AMOUNTS, NUMBER_IF_ANY),
        "n_groups": COUNT,
        "n_documents": COUNT,
        "n_tokens": COUNT,
        "n_choices": COUNT,
        "clear": FLAG_IF_ANY,
        "controls": TEXT,
        "n_controls": COUNT,
        "n_above": COUNT_IF_ANY,
        "control_choices": NUMBER_IF_ANY,
        "seed": whole(least=-(2**63), below=2**63),
    }


_SAMPLE = dict.fromkeys(("n_documents", "n_groups", "n_tokens"), COUNT)


def _row_a_layer(trace: Facts) -> tuple[int, int]:
    return trace.num_layers, trace.num_layers


def _every_layer_in_order(frame: pd.DataFrame, trace: Facts) -> bool:
    return frame.layer_id.tolist() == list(range(trace.num_layers))


def _experts_of_layers(frame: pd.DataFrame, trace: Facts) -> bool:
    return bool((frame.expert_id < trace.layer_sizes[frame.layer_id]).all())


def _whole_claims(frame: pd.DataFrame, trace: Facts) -> bool:
    """Every claim has the rows of all groups once, what was tested beside it that of one."""
    if not _experts_of_layers(frame, trace):
        return False
    if frame.duplicated(CLAIM_ROW).any() or not frame.group.isin(GROUPS).all():
        return False
    claims = frame[frame.claimed].groupby(["layer_id", "expert_id", "domain"]).size()
    return bool((claims == len(GROUPS)).all() and (frame[~frame.claimed].group == DOUBLE).all())


def _known_choices(frame: pd.DataFrame, trace: Facts) -> bool:
    """Of the tokens that are shown, not of the rest."""
    return bool(frame.filter(regex="^expert_").notna().all(axis=None))


_map = partial(
    Kind, command="routescope project", version=3, parameters=MAP_PARAMETERS, parted=True
)
_information = partial(Kind, command="routescope information", version=1, parameters={})

TOKENS = _map(
    name="tokens",
    columns=_token_columns,
    rows=lambda trace: (1, trace.num_tokens),
    agrees=_known_choices,
)
PROMPTS = _map(name="prompts", columns=_prompt_columns, rows=lambda trace: (1, trace.num_documents))
EXPERTS = _map(
    name="experts",
    columns=_expert_columns,
    rows=lambda trace: (1, int(trace.layer_sizes.sum())),
    agrees=_experts_of_layers,
)
INFORMATION = _information(
    name="information",
    columns=_information_columns,
    rows=_row_a_layer,
    agrees=_every_layer_in_order,
)
VOCABULARY = _information(
    name="vocabulary",
    columns=_vocabulary_columns,
    rows=_row_a_layer,
    agrees=_every_layer_in_order,
)
CAUSES = Kind(
    name="causes",
    command="routescope ablate --trace",
    version=3,
    columns=_cause_columns,
    rows=lambda trace: (1, LARGEST),
    parameters={"model_sha256": str},
    agrees=_whole_claims,
)
MAPS = {kind.name: kind for kind in (TOKENS, PROMPTS, EXPERTS)}
BY_INFORMATION = (VOCABULARY, INFORMATION)
KINDS = (
    *MAPS.values(),
    *summary_kinds.BY_SUMMARY,
    *BY_INFORMATION,
    *cache_kinds.BY_CACHE,
    *word_kinds.BY_INDEX,
    CAUSES,
)
