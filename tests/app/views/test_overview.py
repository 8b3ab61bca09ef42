"""The page Overview: experts by domain."""

import pandas as pd

from app.views.overview import figures as domains
from app.views.shared.theme import LIGHT


def test_experts_per_domain_shows_counts_beside_the_article() -> None:
    table = pd.DataFrame({"domain": ["math", "none"], "experts": [3, 1], "share": [0.75, 0.25]})
    table = table.assign(
        significant=pd.array([4, None], "Int64"), not_enough=pd.array([2, None], "Int64")
    )
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert list(figure.data[0].x) == [0.75, 0.25]
    written = [annotation.text for annotation in figure.layout.annotations]
    assert written[:5] == ["<b>3</b>", "75.0%", "4", "2", "14.8%"]
    assert written[7:10] == ["", "", ""]  # no domain: not tested, not in the article
    assert list(figure.data[0].text) == ["3 experts, math", "1 experts, none"]


def test_the_counts_of_experts_carry_their_interval_and_null() -> None:
    table = pd.DataFrame({"domain": ["math"], "experts": [3], "share": [0.75], "layer_id": 0})
    table = table.assign(significant=4, not_enough=0, low=2.0, high=5.0, null=0.25, p=0.01, q=0.02)
    told = "3 experts, math<br>95 % interval: 2 to 5<br>with labels shuffled over texts: 0.2<br>"
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert figure.data[0].text[0] == f"{told}p 0.01, q 0.02"
    by_layer = domains.domains_by_layer(table.assign(note="why"), LIGHT)
    assert by_layer.data[0].customdata[0] == f"{told}p 0.01, q 0.02<br>why"
