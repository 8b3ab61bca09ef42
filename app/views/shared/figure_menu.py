"""What can be taken of a figure, in one menu: an image, its table, the link to the page."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from app.views.shared import controls
from app.views.shared.theme import DARK
from data.file_names import file_name

HERE = Path(__file__).parent
IMAGES = {  # pixels of the layout, and how many of the file to each
    "Paper column": {"width": 420, "height": 300, "scale": 4},  # 12 pixels are 7 points in 3.35 in
    "Slide": {"width": 880, "height": 495, "scale": 3},
}
DARK_IMAGES = (
    "Images are dark like the page. For paper choose the light theme: menu at the top right, "
    "Settings."
)


def _script(name: str) -> str:
    return (HERE / f"{name}.js").read_text(encoding="utf-8")


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., object]:
    return st.components.v2.component(
        "routescope_figure_menu",
        html='<div class="menu" role="group" aria-label="the figure as an image"></div>',
        css=(HERE / "figure_menu.css").read_text(encoding="utf-8"),
        js="\n".join(map(_script, ("saving", "text_image", "figure_menu"))),
    )


def draw(table: pd.DataFrame, *, name: str, chart: str, subject: str) -> None:
    """`chart`: the key of the figure or the text on the page; `subject`: what files are named
    after."""
    with st.popover(
        "Save", key=f"save_{chart}", icon=":material/download:", type="tertiary", width="content"
    ):
        palette = controls.palette()
        _component()(
            key=f"images_{chart}",
            data={
                "chart": chart,
                "file": file_name(subject, name),
                "images": IMAGES,
                "ground": palette.ground,
                "note": DARK_IMAGES if palette is DARK else "",
            },
        )
        controls.download(table, name=name, trace=subject, key=chart)
