"""What every page is framed with."""

import pandas as pd

from app.views.shared.controls import _digits, unmarked


def test_text_in_markdown_is_unmarked() -> None:
    assert unmarked("![a](b) :red[x] $y$ math") == r"\!\[a\]\(b\) \:red\[x\] \$y\$ math"


def test_no_number_but_0_is_shown_as_0() -> None:
    assert _digits(pd.Series([0.0, 0.5])) == "%.3f"
    assert _digits(pd.Series([0.00006, 0.5])) == "%.4g"
