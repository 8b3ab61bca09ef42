from dataclasses import asdict

from analysis import projection
from app.views.domain_clusters import points


def test_agreement_has_its_null_and_the_reason_why_there_is_no_interval() -> None:
    found = projection.agreement(["a", "a", "b", "b"], [0, 0, 0, -1], seed=0)
    table = points.agreement_table({"agreement": asdict(found), "points": 4})
    assert table.measure.tolist() == ["NMI", "ARI", "purity"]
    assert table.clusters[2] == 0.75  # 2 of 3, and the one that is noise
    assert table.domains_shuffled[2] == found.shuffled_purity
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {points.UNTESTED}
