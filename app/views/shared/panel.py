"""The answer to one question: what a page draws, a report prints, a comparison sets side by side.

Every page has a `panels.py` with a function `panels(subject, palette, ...)` that returns its panels
for a choice of its controls. A panel knows nothing of Streamlit; drawing.py puts
it on a page.
"""

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    name: str  # of its file; on the page the key of its chart
    table: pd.DataFrame  # what the figure shows, as it leaves
    title: str = ""  # empty where the question of the page is enough
    answer: str = ""  # the sentence that says what is seen
    figure: go.Figure | None = None
    alt: str = ""  # the figure for who cannot see it
    note: str = ""  # how to read it
    preview: pd.DataFrame | None = None  # the rows worth seeing beside the figure
    preview_title: str = ""
