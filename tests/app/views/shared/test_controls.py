"""What every page is framed with."""

from app.views.shared.controls import unmarked


def test_text_in_markdown_is_unmarked() -> None:
    assert unmarked("![a](b) :red[x] $y$ math") == r"\!\[a\]\(b\) \:red\[x\] \$y\$ math"
