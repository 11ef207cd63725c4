"""Scores of a sorting, against cases that are counted by hand."""

import numpy as np
import pytest

from ingest.sorting.sorting_score import match_times, notebook_score, score_sorting

# Unit 0: five spikes, four of them in cluster 7; unit 1: four spikes, three of them in cluster 3. One detection of no
# unit lies in cluster 7, and unit 1 has two spikes more that were not detected.
TRUE = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, -1])
LABEL = np.array([7, 7, 7, 7, 3, 3, 3, 3, -1, 7])


def test_scores_by_hand():
    scores = score_sorting(TRUE, LABEL, np.array([5, 6]))
    assert scores.cluster_U.tolist() == [7, 3]
    assert scores.accuracy.tolist() == pytest.approx([4 / 6, 3 / 7])
    assert scores.precision.tolist() == pytest.approx([4 / 5, 3 / 4])
    assert scores.recall.tolist() == pytest.approx([4 / 5, 3 / 6])
    assert scores.false_clusters == 0
    assert scores.means(np.array([False, True]))["recall"] == pytest.approx(0.5)


def test_unit_without_a_cluster_scores_zero_and_an_extra_cluster_is_false():
    scores = score_sorting(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 4, 4]), np.array([2, 3, 9]))
    assert scores.cluster_U.tolist() == [0, 4, -1]
    assert scores.accuracy[2] == scores.precision[2] == scores.recall[2] == 0
    assert score_sorting(np.array([0, 0, -1]), np.array([1, 1, 2]), np.array([2])).false_clusters == 1


def test_matching_is_globally_optimal():
    # Greedy matching would give cluster 0 to unit 0 (6 spikes) and leave unit 1 without one.
    true = np.repeat([0, 1], [11, 5])
    label = np.array([0] * 6 + [1] * 5 + [0] * 5)
    assert score_sorting(true, label).cluster_U.tolist() == [1, 0]


def test_notebook_definitions_by_hand():
    found = notebook_score(TRUE[:9], LABEL[:9])
    assert found["accuracy"] == pytest.approx(7 / 9)
    assert found["precision"] == pytest.approx((4 / 5 + 3 / 4) / 2)  # false positives do not count
    one_cluster = notebook_score(np.array([0, 0, 0, 1]), np.zeros(4, int))
    assert one_cluster == pytest.approx({"accuracy": 0.75, "precision": 0.5, "recall": 1.0})


def test_times_match_within_the_tolerance_and_once():
    found = np.array([0.1000, 0.2000, 0.3000, 0.4004])
    true_N, spikes_U = match_times(found, [np.array([0.1001, 0.1003, 0.5]), np.array([0.2009, 0.4])])
    assert true_N.tolist() == [0, -1, -1, 1]
    assert spikes_U.tolist() == [3, 2]


def test_detection_matches_the_nearer_spike():
    true_N, _ = match_times(np.array([1.0]), [np.array([1.0004]), np.array([1.0001])])
    assert true_N.tolist() == [1]


def test_nothing_found_and_nothing_true():
    assert match_times(np.zeros(0), [np.array([0.1])])[1].tolist() == [1]
    scores = score_sorting(np.zeros(0, int), np.zeros(0, int), np.array([4]))
    assert scores.accuracy.tolist() == [0.0]
    assert np.isnan(score_sorting(np.array([-1]), np.array([0]), np.zeros(0, int)).means()["accuracy"])
