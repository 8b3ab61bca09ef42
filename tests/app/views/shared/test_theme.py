"""Colours of domains, and text that is drawn as it is."""

import pytest

from app.views.shared import theme
from app.views.shared.theme import DARK, LIGHT, domain_colors, literal, visible
from data.routing import DOMAINS
from tests.app.markup import MARKUP


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_domain_has_one_colour_of_its_own(palette: theme.Palette) -> None:
    colors = domain_colors([*DOMAINS, "law", "unlabelled"], palette)
    assert len({colors[name] for name in (*DOMAINS, "law", "none")}) == len(DOMAINS) + 2
    assert colors["math"] == theme.DOMAIN_COLORS["math"]


def test_text_in_a_figure_is_literal() -> None:
    assert literal(MARKUP) == '&lt;b&gt;x&lt;/b&gt; &lt;a href="javascript:alert(1)"&gt;c&lt;/a&gt;'


def test_blanks_of_a_token_are_visible() -> None:
    assert [visible(text) for text in ("  ", "\n", "a\tb", " a")] == ["␣␣", "⏎", "a⇥b", " a"]
