"""Models of other families beside ours: what data/specialization/ holds.

Made by benchmarks/bench_specialization.py: the same held-out texts through each of them.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from app.folders import SHIPPED

FOLDER = SHIPPED / "data" / "specialization"
TITLES = {"deepseekmoe": "DeepSeekMoE (ours)", "qwen3_moe": "Qwen3-MoE", "olmoe": "OLMoE"}
MEASURE_COLUMNS = ("measure", "layer_id", "estimate", "low", "high", "null", "p", "note")
TABLES = ("models", "measures", "domains", "lifts", "controls")


@dataclass(frozen=True)
class Families:
    """Tables whose column `model` is a key of TITLES, in its order."""

    models: pd.DataFrame  # a row a model: shape, gate, parameters, tokens, bits per byte
    measures: pd.DataFrame  # MEASURE_COLUMNS; ALL_LAYERS, then layer by layer
    domains: pd.DataFrame  # experts that prefer a domain, over all layers, then by layer
    lifts: pd.DataFrame  # a row an expert: the domain of its highest lift
    controls: pd.DataFrame  # measures over all layers before the first step, and `proven`


def trace_path(model: str) -> Path:
    return FOLDER / f"{model}.duckdb"


def labels(families: Families) -> list[str]:
    """The domains, in the order shown."""
    preferred = set(families.lifts.domain)
    return [name for name in families.domains.domain.unique() if name in preferred]


@st.cache_data(show_spinner=False)
def load() -> Families:
    if missing := [name for name in TABLES if not (FOLDER / f"{name}.csv").is_file()]:
        raise ValueError(
            f"{FOLDER.name} has no {missing[0]}.csv; `python -m benchmarks.bench_specialization` "
            "writes it"
        )
    tables = {name: pd.read_csv(FOLDER / f"{name}.csv") for name in TABLES}
    tables["measures"] = tables["measures"].fillna({"note": ""})
    return Families(**tables)
