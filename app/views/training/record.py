"""What a training left in its folder so far: log, evaluation, routing snapshots."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from app.workspace import Training
from data.snapshots import RoutingSnapshots, read_snapshots
from data.strict_json import read_object
from data.training_folder import file_identity
from data.training_log import (
    Line,
    domains_table,
    is_number,
    layers_table,
    read_log,
    steps_table,
)

REMEDY = "restore it or train again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    name: str
    state: str
    log: pd.DataFrame  # steps_table()
    layers: pd.DataFrame  # layers_table()
    domain_loss: pd.DataFrame  # domains_table(), nats per token
    domain_share: pd.DataFrame  # domains_table(), of the drawn sequences
    dense_log: pd.DataFrame | None
    bits: pd.DataFrame | None  # domain, moe, perhaps dense
    snapshots: RoutingSnapshots | None
    snapshots_identity: str
    num_steps: int  # of the whole schedule
    stages: tuple[tuple[str, int], ...]  # name, last step

    def tokens_at(self, steps: pd.Series) -> pd.Series:
        """Tokens read by any step: between the lines of the log, and beyond, in proportion."""
        if self.log.empty:
            return pd.Series(np.nan, index=steps.index)
        last = self.log.iloc[-1]
        read = np.interp(steps, [0, *self.log.step], [0, *self.log.tokens])
        return pd.Series(np.where(steps > last.step, last.tokens * steps / last.step, read))

    def stage_at(self, step: int) -> str:
        """Empty where the training has no stages."""
        return next((name for name, last in self.stages if step <= last), "")


def read(training: Training) -> TrainingRecord:
    return _read(training.folder.identity, training.state, _training=training)


@st.cache_data(max_entries=32, show_spinner=False)
def _read(identity: str, state: str, *, _training: Training) -> TrainingRecord:
    folder, lines = _training.folder, _lines(_training)
    num_steps, stages = _schedule(folder.settings)
    return TrainingRecord(
        name=_training.name,
        state=state,
        log=steps_table(lines),
        layers=layers_table(lines),
        domain_loss=domains_table(lines, "domain_loss"),
        domain_share=domains_table(lines, "domain_share"),
        dense_log=steps_table(read_log(folder.dense.log)) if folder.dense.log.is_file() else None,
        bits=_bits(folder.evaluation),
        snapshots=read_snapshots(folder.snapshots) if folder.snapshots.is_file() else None,
        snapshots_identity=file_identity(folder.snapshots),
        num_steps=num_steps,
        stages=stages,
    )


def _lines(training: Training) -> list[Line]:
    log = training.folder.log
    lines = read_log(log)
    if not lines and training.state != "running":
        raise ValueError(
            f"{log} has no lines, so no step was ever logged; start the training again"
        )
    return lines


def _schedule(path: Path) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Number of steps, and the last step of every stage."""
    if not path.is_file():
        raise ValueError(f"{path} not found; it is written when `routescope train` begins")
    config = read_object(path, remedy=REMEDY)
    try:
        stages = tuple((str(name), int(last)) for name, last in config.get("stage_ends") or [])
        steps = stages[-1][1] if stages else int(config["steps"])
        if not 0 < steps < 2**63:
            raise ValueError(steps)
        return steps, stages
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} has no valid number of steps ({error!r}); train again") from error


def _bits(path: Path) -> pd.DataFrame | None:
    """Of a model beside its dense twin as shipped, or of one alone as `routescope train` writes."""
    if not path.is_file():
        return None
    bits = read_object(path, remedy=REMEDY)
    models = bits if "moe" in bits else {"moe": bits}
    for values in models.values():
        if not isinstance(values, dict) or not all(map(is_number, values.values())):
            raise ValueError(f"{path} holds no bits per byte by domain; {REMEDY}")
    return pd.DataFrame(models).rename_axis("domain").reset_index()
