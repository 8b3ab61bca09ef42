"""Colours of domains, and text that is drawn as it is."""

from itertools import combinations

import numpy as np
import pytest

from analysis.expert_clusters import MAX_CLUSTERS
from app.views.shared import theme
from app.views.shared.theme import (
    DARK,
    EMPTY,
    LIGHT,
    domain_colors,
    ink,
    label,
    literal,
    shade,
    token_mark,
    unseen,
    visible,
)
from data.routing import DOMAINS
from tests.app.markup import MARKUP

VISION = {  # linear RGB as seen (Machado, Oliveira and Fernandes 2009, severity 1)
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(color: str, vision: str) -> np.ndarray:
    """CIELAB, as somebody with that vision sees it."""
    seen = np.clip(np.asarray(VISION[vision]) @ linear(color), 0, 1)
    white = XYZ.sum(1)
    x, y, z = np.cbrt(XYZ @ seen / white)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first: str, second: str) -> float:
    """WCAG's, 1 to 21."""
    low, high = sorted(float(XYZ[1] @ linear(color)) for color in (first, second))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_distinct_colours_are_told_apart_with_any_vision(
    palette: theme.Palette, vision: str
) -> None:
    colors = [*palette.distinct, palette.neutral]
    assert len(palette.distinct) == MAX_CLUSTERS
    apart = [
        np.linalg.norm(lab(first, vision) - lab(second, vision))
        for first, second in combinations(colors, 2)
    ]
    assert min(apart) > 18  # a just noticeable difference is about 2.3


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_on_every_shade_is_readable(palette: theme.Palette) -> None:
    shades = [shade(palette.sequential, part / 40) for part in range(41)]
    assert shades[0] == palette.sequential[0]
    assert shades[-1] == palette.sequential[-1]
    assert min(contrast(each, ink(each)) for each in shades) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_domain_has_one_colour_of_its_own(palette: theme.Palette) -> None:
    colors = domain_colors([*DOMAINS, "law", "unlabelled"], palette)
    assert len({colors[name] for name in (*DOMAINS, "law", "none")}) == len(DOMAINS) + 2
    assert colors["math"] == theme.DOMAIN_COLORS["math"]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_score_of_foreign_labels_are_seen_on_the_ground_and_none_has_the_colour_of_another(
    palette: theme.Palette,
) -> None:
    labels = [f"subject {place}" for place in range(3 * len(palette.foreign))]
    colors = [domain_colors(labels, palette)[label] for label in labels]
    assert len(set(colors)) == len(labels) == 21
    assert min(contrast(color, palette.ground) for color in colors) > 2


def test_text_in_a_figure_is_literal() -> None:
    assert literal(MARKUP) == '&lt;b&gt;x&lt;/b&gt; &lt;a href="javascript:alert(1)"&gt;c&lt;/a&gt;'


def test_blanks_of_a_token_are_visible() -> None:
    assert [visible(text) for text in ("  ", "\n", "a\tb", " a")] == ["␣␣", "⏎", "a⇥b", " a"]


def test_a_token_of_which_nothing_is_seen_has_a_mark() -> None:
    hidden = ["", "\u200b", "\x00", "\ufeff\u2060"]
    assert all(map(unseen, hidden))
    assert [token_mark(text) for text in hidden] == [EMPTY] * 4
    assert [token_mark(text) for text in ("a", " ", "\n", "\ufffd")] == ["a", "␣", "⏎", "\ufffd"]


def test_a_long_name_is_cut_on_an_axis() -> None:
    assert label("<b>") == "&lt;b&gt;"
    assert label("x" * 28) == "x" * 28
    assert label("x" * 29) == "x" * 27 + "…"
