"""The page Overview: experts by domain."""

import pandas as pd

from app.views.overview import figures as domains
from app.views.overview import panels
from app.views.shared.theme import LIGHT
from data.labels import ANY


def counts_table() -> pd.DataFrame:
    """Three of four experts prefer math, one no domain."""
    table = pd.DataFrame(
        {
            "domain": ["math", "too little data", "none", ANY],
            "experts": [3, 0, 1, 3],
            "share": [0.75, 0.0, 0.25, 0.75],
            "median_lift": pd.array([2.468, None, None, 2.468], "Float64"),
            "median_share": pd.array([0.412, None, None, 0.412], "Float64"),
        }
    )
    counts = {"above_half": 1, "significant": 2, "not_enough": 1}
    none = {name: pd.array([count, None, None, count], "Int64") for name, count in counts.items()}
    return table.assign(**none, null=None)


def test_experts_per_domain_shows_counts_beside_the_article() -> None:
    table = counts_table()
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert list(figure.data[0].x) == [0.75, 0.25]
    first, second = (
        [annotation.text for annotation in figure.layout.annotations if annotation.y == row]
        for row in (0, 1)
    )
    assert first == ["<b>3</b>", "75.0%", "14.8%", "41%", "2"]
    assert second[2:] == ["", "", ""]  # no domain: not tested, not in the article
    math, none = figure.data[0].text  # the total is no bar, and no expert has too little data
    assert math == (
        "3 experts, math<br>the median of them: 41% of its choices, lift 2.47×; 1 with more than "
        "half<br>2 significant; 1 not enough independent texts to say"
    )
    assert none == "1 experts, none"


def test_bars_of_domains_are_readable_beside_a_long_one_of_none() -> None:
    table = counts_table().assign(domain=["law", "too little data", "none", ANY])
    table = table.assign(share=[0.04, 0.0, 0.96, 0.04])
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert figure.layout.xaxis.range == (0, 0.05)  # 1.25 times the bar of law
    written = [annotation.text for annotation in figure.layout.annotations]
    assert written.count("»") == 1
    assert domains.ARTICLE not in written  # it says nothing of law
    assert not domains.cut_at(counts_table())


def test_experts_of_too_little_data_are_a_row_of_their_own() -> None:
    table = counts_table().assign(experts=[3, 2, 1, 3])
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert list(figure.layout.yaxis.ticktext) == ["math", "too little data", "none"]


def test_the_answer_says_what_the_counted_experts_give_their_domain() -> None:
    told = panels._experts_answer(counts_table().assign(null=0.4))
    assert "3 of 4 experts (75%) prefer one domain: they are chosen at least 1.5 times" in told
    assert "gives that domain 41% of its choices, 1 of 3 more than half." in told
    assert "With labels shuffled over groups of texts 0 would." in told
    assert "too little data" not in told
    some = panels._experts_answer(counts_table().assign(experts=[3, 2, 1, 3]))
    assert some.startswith("3 of 6 experts")
    assert some.endswith("Of 2 there is too little data to say.")


def test_the_answer_where_no_expert_prefers_a_domain() -> None:
    told = panels._experts_answer(counts_table().assign(experts=[0, 0, 4, 0]))
    assert told.startswith("No expert of 4 prefers a domain")
    few = panels._experts_answer(counts_table().assign(experts=[0, 4, 0, 0]))
    assert few == "Of 4 experts there is too little data to say which domain they prefer."


def test_the_counts_of_experts_carry_their_interval_and_null() -> None:
    table = pd.DataFrame({"domain": ["math"], "experts": [3], "share": [0.75], "layer_id": 0})
    table = table.assign(median_share=None)
    table = table.assign(significant=4, not_enough=0, low=2.0, high=5.0, null=0.25, p=0.01, q=0.02)
    told = (
        "3 experts, math<br>95 % interval: 2 to 5<br>with labels shuffled over "
        "groups of texts: 0.2<br>"
    )
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert figure.data[0].text[0] == f"{told}p 0.01, q 0.02"
    by_layer = domains.domains_by_layer(table.assign(note="why"), LIGHT)
    assert by_layer.data[0].customdata[0] == f"{told}p 0.01, q 0.02<br>why"


def test_bars_of_58_layers_fit_the_window_without_numbers() -> None:
    rows = [(layer, domain, 4) for layer in range(58) for domain in ("math", "none")]
    table = pd.DataFrame(rows, columns=["layer_id", "domain", "experts"])
    figure = domains.domains_by_layer(table, LIGHT)
    assert figure.layout.height == 540
    assert figure.data[0].text is None
    every_second = tuple(range(0, 58, 2))  # 460 / 58 is 8 pixels a layer, a line takes 15
    assert figure.layout.yaxis.tickvals == every_second
