"""The page Redundancy in words and tables: what a threshold would take, and what that costs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from analysis.redundancy import SIMILARITIES, leaders, pair_rows
from app import workspace
from app.jobs import prompts
from app.jobs.queue import Job, all_jobs
from app.studies import compression, redundancy
from app.studies.reader import HELDOUT
from app.studies.redundancy import Redundancy
from app.views.redundancy.figures import cost_lines, left_lines
from app.views.shared import controls, progress

STEPS = np.round(np.linspace(0, 1, 101), 2)
MEANT = {
    "outputs": "Cosine of what two experts give for the same tokens, chosen or not.",
    "weights": "Cosine of all weights as they are stored.",
    "aligned": "Cosine of all weights under the best order and signs of the inner neurons.",
    "routing": "Correlation of being chosen: company, not likeness.",
}


def found() -> Redundancy:
    """Of the model of this workspace; stops the page while there is none."""
    folder = workspace.checkpoint()
    if not prompts.model_found(folder):
        st.info("There is no model here. Train one, then name its folder in ROUTESCOPE_MODEL:")
        st.code("routescope train runs/tiny --corpus corpus", language="bash")
        st.stop()
    if _pruned(folder):
        st.info("This model was pruned: several experts run the same weights. What it cost:")
        controls.table(_costs(), name="compression", trace="model")
        st.stop()
    try:
        known = _stored(str(folder), _identity())
    except ValueError as error:
        controls.refused("The similarities of this model cannot be read.", error)
        st.stop()
    if known is None:
        _measure()
        st.stop()
    return known


@st.cache_resource(show_spinner=False, max_entries=4)
def _stored(folder: str, identity: tuple[int, ...]) -> Redundancy | None:
    return redundancy.stored(workspace.checkpoint())


def _pruned(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get("expert_leaders") is not None


def _costs() -> pd.DataFrame:
    """What `routescope prune` or the benchmark left beside the weights; empty without."""
    path = workspace.checkpoint() / compression.FILE
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def _identity() -> tuple[int, ...]:
    files = (workspace.checkpoint() / name for name in ("config.json", redundancy.FILE))
    return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in files)


def _measure() -> None:
    key = f"redundancy|{workspace.checkpoint()}|{_identity()}"
    job = all_jobs().get(key) or all_jobs().start(key, "Comparing experts", _run, lane="model")
    if job.active:
        st.info("The experts of this model are compared for the first time: well under a minute.")
        progress.show(job, key="redundancy")
        return
    progress.outcome(job, failed="The experts could not be compared.")
    if st.button("Compare the experts", type="primary"):
        all_jobs().forget(key)
        st.rerun()


def _run(job: Job) -> None:
    tracer = prompts.tracer(workspace.checkpoint())

    def advance(done: int, total: int) -> None:
        job.checkpoint()
        job.advance(done, total=total, unit="layers")

    used = redundancy.calibration(tracer, HELDOUT)
    known = redundancy.measure(tracer, used, on_progress=advance)
    redundancy.store(workspace.checkpoint(), known)


@st.cache_data(show_spinner=False, max_entries=16)
def left(model_sha256: str, _found: Redundancy) -> pd.DataFrame:
    """by, threshold, experts: leaders in all layers; none where a layer would keep too few."""
    rows = []
    for by in SIMILARITIES:
        for threshold in STEPS.tolist():
            leader_LE = compression.leaders_by(_found, by, threshold=threshold, share=0)
            standing_L = _standing(leader_LE)
            enough = standing_L.min() >= _found.top_k
            experts = int(standing_L.sum()) if enough else None
            rows.append({"by": by, "threshold": threshold, "experts": experts})
    return pd.DataFrame(rows).astype({"experts": "Int64"})


def _standing(leader_LE: np.ndarray) -> np.ndarray:
    """Experts of each layer that keep weights of their own."""
    return (leader_LE == np.arange(leader_LE.shape[1])).sum(1)


def layer_leaders(known: Redundancy, by: str, layer_id: int, *, threshold: float) -> np.ndarray:
    similarity_EE, tokens_E = known.similarity(by)[layer_id], known.tokens_LE[layer_id]
    return leaders(similarity_EE, tokens_E, threshold=threshold)


def sentence(known: Redundancy, by: str, *, threshold: float) -> str:
    leader_LE = compression.leaders_by(known, by, threshold=threshold, share=0)
    standing_L = _standing(leader_LE)
    gone = leader_LE.size - int(standing_L.sum())
    highest, layer = known.highest(by)
    null = known.null(by).mean()
    alike = f"the most alike are at {highest:.3f} (layer {layer}), unrelated ones at {null:.3f}"
    if not gone:
        return f"By {by} no two experts reach {threshold:.2f}, so none would go: {alike}."
    freed = gone * known.expert_parameters
    text = (
        f"From {threshold:.2f} by {by}, {gone:,} of {leader_LE.size:,} experts would run another's "
        f"weights, {freed / known.parameters:.1%} of the model's parameters; {alike}."
    )
    if standing_L.min() < known.top_k:
        text += (
            f" That is too many: layer {standing_L.argmin()} would keep {standing_L.min()}, and a "
            f"token chooses {known.top_k}."
        )
    return text


def headline(known: Redundancy, by: str, *, threshold: float) -> list[tuple[str, str, str]]:
    leader_LE = compression.leaders_by(known, by, threshold=threshold, share=0)
    stand = int(_standing(leader_LE).sum())
    freed = (leader_LE.size - stand) * known.expert_parameters
    highest, layer = known.highest(by)
    return [
        ("Experts left", f"{stand:,}", f"of {leader_LE.size:,}"),
        ("Parameters gone", f"{freed / 1e6:.2f} M", f"of {known.parameters / 1e6:.1f} M"),
        ("Most alike", f"{highest:.3f}", f"in layer {layer}"),
        ("Unrelated experts", f"{known.null(by).mean():.3f}", "mean of the layers"),
    ]


def pairs(known: Redundancy, by: str, layer_id: int, leader_E: np.ndarray) -> pd.DataFrame:
    """Every pair of the layer, the most alike first; an empty leader: each runs its own weights."""
    frame = pd.DataFrame(pair_rows(known.similarity(by)[layer_id], leader_E))
    frame.insert(0, "layer_id", layer_id)
    frame = frame.assign(null=float(known.null(by)[layer_id])).astype({"leader": "Int64"})
    return frame.sort_values("similarity", ascending=False, ignore_index=True)


def show_left(known: Redundancy, *, threshold: float) -> None:
    table = left(known.model_sha256, known)
    controls.chart(
        left_lines(table, controls.palette(), threshold=threshold),
        alt="Experts left in the whole model at every threshold, by each similarity",
        key="left",
    )
    controls.note(
        "All layers together. Dotted: the threshold chosen above. A line ends where a layer would "
        f"keep fewer experts than the {known.top_k} that a token chooses."
    )
    controls.download(table, name="experts_left", trace="model")


def show_costs(known: Redundancy) -> None:
    table = _costs()
    if table.empty:
        st.info("No smaller model was measured here. Make one and look at it in its own folder:")
        st.code(
            "routescope prune data/checkpoint --out runs/small --by saliency --share 0.125",
            language="bash",
        )
        return
    domains = sorted(table.domain.unique(), key=lambda name: name != "all")
    domain = controls.choice("Texts", domains, key="domain")
    shown = table[table.domain == domain]
    controls.chart(
        cost_lines(shown, controls.palette(), most=known.tokens_LE.size),
        alt="Bits per byte lost against the share of experts gone, by every rule",
        key="costs",
    )
    removed = shown[shown.experts < known.tokens_LE.size]
    if not removed.empty:
        controls.answer(cost_sentence(removed, most=known.tokens_LE.size))
    controls.note(
        "Bars: 95 % of other texts, paired. Solid: a group keeps its most used expert; dotted: its "
        "mean weighted by use. Saliency closes the least salient experts, random as many by lot; "
        "the gate chooses others. Thresholds of similarities were chosen to take as many."
    )
    controls.preview(shown if removed.empty else removed, name="compression")
    controls.download(table, name="compression", trace="model")


def cost_sentence(removed: pd.DataFrame, *, most: int) -> str:
    """Of the rules that take the same share of the experts, the cheapest and the dearest."""
    alike = (
        removed[removed.share == removed.share.min()] if removed.share.notna().any() else removed
    )
    ordered = alike.sort_values("change")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    text = (
        f"With {first.experts:,} of {most:,} experts left the cheapest rule is {first.by}, "
        f"{first.how}: {first.change:+.3f} bits per byte on {first.before:.3f}"
    )
    if len(alike) == 1:
        return f"{text}."
    return f"{text}; the dearest is {last.by}, {last.how}: {last.change:+.3f}."
