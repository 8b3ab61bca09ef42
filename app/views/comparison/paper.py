"""The paper's comparison at our scale: what data/comparison/ holds, and the questions it answers.

Made by benchmarks/bench_comparison.py from models trained on the same tokens.
"""

import re
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.folders import SHIPPED

ARTICLE = "DeepSeek MoE: towards ultimate expert specialization"
FOLDER = SHIPPED / "data" / "comparison"
NAMES = {
    "mini-dense": "Dense",
    "mini-hash": "Hash",
    "mini-switch": "Switch",
    "mini-gshard": "GShard",
    "mini-deepseekmoe": "DeepSeekMoE",
    "mini-gshard-x1.5": "GShard ×1.5",
    "mini-dense-x16": "Dense ×16, the bound",
    "mini-deepseek-v3": "DeepSeek-V3 gate",
    "mini-deepseekmoe-m1": "DeepSeekMoE, m = 1",
    "mini-deepseekmoe-m2": "DeepSeekMoE, m = 2",
    "mini-deepseekmoe-m8": "DeepSeekMoE, m = 8",
    "mini-deepseekmoe-s0": "DeepSeekMoE, none shared",
    "mini-deepseekmoe-s2": "DeepSeekMoE, 2 shared",
    "mini-gshard-capacity": "GShard, capacity 1.25",
    "mini-switch-capacity": "Switch, capacity 1.25",
    "mini-dense-x1": "Dense ×1",
    "mini-hash-x1": "Hash ×1",
    "mini-switch-x1": "Switch ×1",
}
QUESTIONS = (  # (question, preset, against, what the paper found at 100 B tokens)
    ("Do experts beat a dense model of equal compute?", "gshard", "dense", "better"),
    ("Does a learned gate beat a hash?", "switch", "hash", "better"),
    ("Do two experts beat one twice as wide?", "gshard", "switch", ""),
    ("Is DeepSeekMoE better than GShard?", "deepseekmoe", "gshard", "better"),
    ("Is DeepSeekMoE at GShard ×1.5?", "deepseekmoe", "gshard-x1.5", "equal"),
    ("How far from the dense bound?", "deepseekmoe", "dense-x16", "equal"),
    ("Does one shared expert help whole experts?", "deepseekmoe-m1", "gshard", "better"),
    ("Does cutting in 2 help?", "deepseekmoe-m2", "deepseekmoe-m1", "better"),
    ("Does cutting in 4 rather than 2 help?", "deepseekmoe", "deepseekmoe-m2", "better"),
    ("Does cutting in 8 rather than 4 help?", "deepseekmoe-m8", "deepseekmoe", ""),
    ("Does a shared expert help small ones?", "deepseekmoe", "deepseekmoe-s0", ""),
    ("Do two shared experts beat one?", "deepseekmoe-s2", "deepseekmoe", "equal"),
    ("Does the gate of DeepSeek-V3 beat its own?", "deepseek-v3", "deepseekmoe", ""),
    ("What does a capacity cost GShard?", "gshard-capacity", "gshard", ""),
    ("What does a capacity cost Switch?", "switch-capacity", "switch", ""),
)
REDUNDANCY = ("GShard", "GShard ×1.5", "DeepSeekMoE")  # their redundancy was measured
TABLES = ("runs", "bits", "differences", "questions", "interventions", "diagnostics")


@dataclass(frozen=True)
class Comparison:
    """The tables of data/comparison/, as benchmarks/bench_comparison.py made them."""

    runs: pd.DataFrame  # one row per training
    bits: pd.DataFrame  # as of analysis.comparison.bits_table
    differences: pd.DataFrame  # a domain and model per row: bits per byte, difference from GShard
    questions: pd.DataFrame  # a row of QUESTIONS: names, difference, verdict, reason, paper
    interventions: pd.DataFrame  # model, variant, value, bits, change, low, high, n
    diagnostics: pd.DataFrame  # as of analysis.diagnostics, with preset


@st.cache_data(show_spinner=False)
def load() -> Comparison:
    if missing := [name for name in TABLES if not (FOLDER / f"{name}.csv").is_file()]:
        raise ValueError(
            f"{FOLDER.name} has no {missing[0]}.csv; `python benchmarks/bench_comparison.py pack` "
            "writes it"
        )
    tables = {name: pd.read_csv(FOLDER / f"{name}.csv") for name in TABLES}
    tables["questions"] = tables["questions"].fillna({"reason": "", "paper": ""})
    return Comparison(**tables)


def diagnosed() -> pd.DataFrame:
    """The diagnostics of the two models, with `model`; empty where they were not trained."""
    path = FOLDER / "diagnostics.csv"
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_csv(path, dtype={"note": str}).fillna({"note": ""})
    if "n_groups" not in table:  # of an earlier version
        table["n_groups"] = pd.NA
    table = table.astype({"n_groups": "Int64"})
    return table.assign(model=table.preset.map(NAMES)).drop(columns="preset")


def of_domain(comparison: Comparison, domain: str) -> pd.DataFrame:
    rows = comparison.differences[comparison.differences.domain == domain]
    return rows.reset_index(drop=True)


def masked(comparison: Comparison) -> pd.DataFrame:
    """x: the share of routed experts masked, from 0."""
    changed = comparison.interventions
    rows = changed[(changed.variant == "masked") & changed.model.isin(REDUNDANCY)]
    table = pd.concat([_as_it_is(rows).assign(value=0), rows])
    return table.assign(x=lambda t: t.value.astype(float) / 16).sort_values("x")


def activated(comparison: Comparison) -> pd.DataFrame:
    """x: routed experts activated, up to all that the model was trained with."""
    changed = comparison.interventions
    rows = changed[(changed.variant == "activated") & changed.model.isin(REDUNDANCY)]
    trained = comparison.runs[comparison.runs.seed == 0].assign(model=lambda t: t.preset.map(NAMES))
    top_k = trained.set_index("model").top_k
    whole = _as_it_is(rows).assign(value=lambda t: t.model.map(top_k))
    return pd.concat([rows, whole]).assign(x=lambda t: t.value.astype(float)).sort_values("x")


def _as_it_is(rows: pd.DataFrame) -> pd.DataFrame:
    """The end of each model's line where nothing is changed."""
    return rows.drop_duplicates("model").assign(
        bits=lambda t: t.bits - t.change, change=0.0, low=0.0, high=0.0
    )


def claims() -> str:
    """docs/article.md for a page: links into the repository lead nowhere there."""
    text = (SHIPPED / "docs" / "article.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
