"""What the clusters of a map are called, and where."""

import numpy as np

from analysis.map_labels import cluster_words, middles


def test_a_cluster_is_called_by_the_words_that_tell_it_from_the_others() -> None:
    words = [0] * 15 + [1] * 15 + [0] * 15 + [2] * 15  # 0 is in both
    cluster_P = np.repeat([0, 1], 30)
    table = cluster_words(cluster_P, np.array(words), np.arange(60) % 6)
    assert table[["cluster", "place"]].to_numpy().tolist() == [[0, 1], [1, 2]]
    assert table.lift.tolist() == [2, 2]


def test_a_word_of_one_text_or_of_few_points_is_no_name() -> None:
    word_P = np.array([0] * 12 + [1] * 12 + [2] * 9 + [3] * 30)
    cluster_P = np.repeat([0, 1], [33, 30])
    unit_P = np.where(word_P == 0, 5, np.arange(63) % 4)
    table = cluster_words(cluster_P, word_P, unit_P)
    assert table[table.cluster == 0].place.tolist() == [1]


def test_noise_has_no_name() -> None:
    word_P, cluster_P = np.repeat([0, 1], 20), np.repeat([-1, 0], 20)
    table = cluster_words(cluster_P, word_P, np.arange(40) % 5)
    assert table[["cluster", "place"]].to_numpy().tolist() == [[0, 1]]
    assert cluster_words(np.full(40, -1), word_P, np.arange(40)).empty


def test_a_label_stands_on_a_point_of_its_cluster() -> None:
    cluster_P = np.array([1, 0, 0, 0, -1])
    places_2P = np.array([[9, 0, 4, 100, 4], [9, 0, 1, 0, 1]], dtype=np.uint16)
    assert middles(cluster_P, places_2P).tolist() == [2, 0]  # the median of cluster 0 is (4, 0)
