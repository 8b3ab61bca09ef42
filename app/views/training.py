"""What did training do to loss, balance and routing?"""

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
log, null = record.log, record.saturation_null
controls.headline(training_record.headline(record))
controls.answer(training_record.sentence(record))
left, right = st.columns(2, gap="large")
with left:
    if record.saturation is not None:
        st.markdown("**Router saturation**")
        figure = layer_lines(
            record.saturation,
            palette,
            value="saturation",
            title="share of final choices",
            reference=null,
            label=f"chance {null:.0%}",
        )
        controls.show(
            figure, alt="Lines: router saturation by step, a layer each", key="saturation"
        )
        controls.download(record.saturation, name="router_saturation", trace="training")
    st.markdown("**Loss**")
    figure = loss_lines(log, record.dense_log, palette)
    controls.show(figure, alt="Lines: training loss by step", key="loss")
    controls.download(log, name="training_log", trace="training")
with right:
    if record.bits is not None:
        st.markdown("**Held-out text, MoE and dense twin**")
        controls.show(bits_bars(record.bits, palette), alt="Bits per byte by domain", key="bits")
        controls.download(record.bits, name="bits_per_byte", trace="training")
    st.markdown("**Balance**")
    figure = layer_lines(
        record.violation,
        palette,
        value="max_violation",
        title="MaxVio",
        reference=0,
        label="balanced",
    )
    controls.show(figure, alt="Lines: MaxVio by step, a layer each", key="violation")
    controls.download(record.violation, name="max_violation", trace="training")
controls.method("router_saturation", "saturation_null", "max_violation")
