"""What did training do to loss, balance and routing?"""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import controls, training_record, workspace
from app.figures.training import bits_bars, layer_lines, loss_lines

controls.title("When did the experts settle, and was it worth it?")
try:
    record = training_record.read(workspace.checkpoint())
except ValueError as error:
    st.info("There is no training record. `routescope train` writes one beside the weights.")
    st.code(str(error), language=None)
    st.stop()
palette = controls.palette()
log = record.log
controls.headline(training_record.headline(record))
controls.answer(training_record.sentence(record))


def panel(title: str, figure: go.Figure, table: pd.DataFrame, name: str) -> None:
    with panels[len(drawn) % 2]:
        drawn.append(title)
        st.markdown(f"**{title}**")
        controls.show(figure, alt=f"{title} by training step", key=name)
        controls.download(table, name=name, trace="training")


panels, drawn = st.columns(2, gap="large"), list[str]()
if record.saturation is not None:
    null = record.saturation.null.mean()
    figure = layer_lines(
        record.saturation,
        palette,
        value="saturation",
        title="share of final choices",
        reference=null,
        label=f"chance {null:.0%}",
    )
    panel("Router saturation", figure, record.saturation, "router_saturation")
if record.bits is not None:
    panel("Held-out text", bits_bars(record.bits, palette), record.bits, "bits_per_byte")
panel("Loss", loss_lines(log, record.dense_log, palette), log, "training_log")
figure = layer_lines(
    record.violation, palette, value="max_violation", title="MaxVio", reference=0, label="balanced"
)
panel("Balance", figure, record.violation, "max_violation")
if record.saturation is None:
    with panels[len(drawn) % 2]:
        st.markdown("**Router saturation**")
        st.info("No routing was recorded along this training: snapshots.safetensors is missing.")
controls.method(
    *("router_saturation", "saturation_null", "max_violation"),
    compared=("router saturation", "MaxVio"),
)
