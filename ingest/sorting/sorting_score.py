"""Scores of a sorting against the truth: units matched by the Hungarian method, then counted spike by spike.

Two sets of definitions stand beside each other. `score_sorting` is the field's (SpikeForest: Magland et al. 2020):
detection counts, and a unit's accuracy is hits / (hits + misses + false positives). `notebook_score` is what the
notebooks behind the report compute: spikes at their true times, accuracy as the share of spikes in the right cluster,
and precision as the mean over classes of that share, in which false positives do not count.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

TOLERANCE = 0.0005  # seconds between a true spike and its detection


@dataclass(frozen=True)
class UnitScores:
    """Scores of U true units, each matched with one cluster at most.

    Args:
        hits_U, spikes_U, found_U: spikes in the matched cluster that are the unit's, all of the unit's true spikes
            whether detected or not, and all spikes of the matched cluster.
        cluster_U: the matched cluster; -1 for none.
        false_clusters: clusters without a unit.
        ari, ami: adjusted Rand index and adjusted mutual information, over detected spikes of true units.
    """

    hits_U: np.ndarray
    spikes_U: np.ndarray
    found_U: np.ndarray
    cluster_U: np.ndarray
    false_clusters: int
    ari: float
    ami: float

    @property
    def accuracy(self) -> np.ndarray:
        """Return ``(U,)`` hits / (hits + misses + false positives)."""
        return self.hits_U / np.maximum(self.spikes_U + self.found_U - self.hits_U, 1)

    @property
    def precision(self) -> np.ndarray:
        """Return ``(U,)`` hits / (hits + false positives); 0 for a unit without a cluster."""
        return self.hits_U / np.maximum(self.found_U, 1)

    @property
    def recall(self) -> np.ndarray:
        """Return ``(U,)`` hits / (hits + misses)."""
        return self.hits_U / np.maximum(self.spikes_U, 1)

    def means(self, chosen_U: np.ndarray | None = None) -> dict[str, float]:
        """Return mean accuracy, precision and recall over units, NaN without units.

        Args:
            chosen_U: bool, the units to include, such as ``snr_U > 4``; None: all.
        """
        chosen_U = np.ones(len(self.hits_U), dtype=bool) if chosen_U is None else chosen_U
        values = {"accuracy": self.accuracy, "precision": self.precision, "recall": self.recall}
        return {name: float(v[chosen_U].mean()) if chosen_U.any() else float("nan") for name, v in values.items()}

    def plain(self) -> dict[str, object]:
        """Return JSON values."""
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(self).items()}


def score_sorting(true_N: np.ndarray, label_N: np.ndarray, spikes_U: np.ndarray | None = None) -> UnitScores:
    """Return scores of each true unit after matching clusters to units.

    The matching maximises the sum of the units' accuracies, as `compare_sorter_to_ground_truth` of SpikeInterface does.

    Args:
        true_N: unit of each detected spike, 0 to U - 1; -1 for a detection of no unit.
        label_N: cluster of each detected spike; -1 for none.
        spikes_U: all true spikes of each unit, detected or not; None: those of ``true_N``.

    Example:
        >>> scores = score_sorting(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 7, 7, 7]))
        >>> scores.accuracy.round(3).tolist(), scores.precision.round(3).tolist()
        ([0.667, 0.667], [1.0, 0.667])
    """
    spikes_U = np.bincount(true_N[true_N >= 0]) if spikes_U is None else np.asarray(spikes_U)
    clusters = np.unique(label_N[label_N >= 0])
    count_UK = _counts(true_N, label_N, len(spikes_U), clusters)
    found_K = np.array([(label_N == k).sum() for k in clusters], dtype=np.int64)
    accuracy_UK = count_UK / np.maximum(spikes_U[:, None] + found_K - count_UK, 1)
    unit, column = linear_sum_assignment(-accuracy_UK)
    kept = count_UK[unit, column] > 0
    unit, column = unit[kept], column[kept]
    hits_U, found_U = np.zeros(len(spikes_U), dtype=np.int64), np.zeros(len(spikes_U), dtype=np.int64)
    cluster_U = np.full(len(spikes_U), -1, dtype=np.int64)
    hits_U[unit], found_U[unit], cluster_U[unit] = count_UK[unit, column], found_K[column], clusters[column]
    real_N = true_N >= 0
    ari, ami = _agreement(true_N[real_N], label_N[real_N])
    return UnitScores(hits_U, spikes_U, found_U, cluster_U, len(clusters) - len(unit), ari, ami)


def notebook_score(true_N: np.ndarray, label_N: np.ndarray) -> dict[str, float]:
    """Return the report's measures as its notebooks define them, for spikes at their true times.

    Args:
        true_N: unit of each spike, 0 to U - 1.
        label_N: cluster of each spike.

    Returns:
        ``accuracy``: share of spikes in the cluster that is matched with their unit, the matching maximising it.
        ``precision``: the mean over units of the unit's own share. ``recall``: share over units, weighted by spikes, of
        those that have a cluster.

    Example:
        >>> found = notebook_score(np.array([0, 0, 0, 0, 1, 1]), np.array([5, 5, 5, 7, 7, 7]))
        >>> {name: round(value, 3) for name, value in found.items()}
        {'accuracy': 0.833, 'precision': 0.875, 'recall': 0.833}
    """
    if len(true_N) == 0:
        return dict.fromkeys(("accuracy", "precision", "recall"), float("nan"))
    clusters = np.unique(label_N)
    count_UK = _counts(true_N, label_N, int(true_N.max()) + 1, clusters)
    unit, column = linear_sum_assignment(-count_UK)
    spikes_U = count_UK.sum(axis=1)
    hits_U = np.zeros(len(spikes_U))
    hits_U[unit] = count_UK[unit, column]
    present_U = spikes_U > 0
    matched_U = present_U & (hits_U > 0)
    return {
        "accuracy": float(hits_U.sum() / spikes_U.sum()),
        "precision": float((hits_U[present_U] / spikes_U[present_U]).mean()),
        "recall": float(hits_U[matched_U].sum() / max(spikes_U[matched_U].sum(), 1)),
    }


def match_times(
    found_N: np.ndarray, times: list[np.ndarray], tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit of each detection, -1 for none, and each unit's number of true spikes.

    Each true spike takes the nearest detection within the tolerance, and a detection belongs to the nearest true spike.

    Args:
        found_N: seconds, sorted.
        times: seconds of each unit's true spikes.
        tolerance: seconds.
    """
    time_M = np.concatenate([*times, np.zeros(0)])
    unit_M = np.repeat(np.arange(len(times)), [len(t) for t in times])
    true_N = np.full(len(found_N), -1, dtype=np.int64)
    spikes_U = np.array([len(t) for t in times], dtype=np.int64)
    if len(found_N) == 0 or len(time_M) == 0:
        return true_N, spikes_U
    right_M = np.clip(np.searchsorted(found_N, time_M), 0, len(found_N) - 1)
    left_M = np.maximum(right_M - 1, 0)
    near_M = np.where(np.abs(found_N[left_M] - time_M) <= np.abs(found_N[right_M] - time_M), left_M, right_M)
    far_M = np.abs(found_N[near_M] - time_M)
    for m in np.argsort(-far_M, kind="stable"):  # nearest last, so that it stays
        if far_M[m] <= tolerance:
            true_N[near_M[m]] = unit_M[m]
    return true_N, spikes_U


def _counts(true_N: np.ndarray, label_N: np.ndarray, units: int, clusters: np.ndarray) -> np.ndarray:
    count_UK = np.zeros((units, len(clusters)), dtype=np.int64)
    both_N = (true_N >= 0) & np.isin(label_N, clusters)
    np.add.at(count_UK, (true_N[both_N], np.searchsorted(clusters, label_N[both_N])), 1)
    return count_UK


def _agreement(true_N: np.ndarray, label_N: np.ndarray) -> tuple[float, float]:
    if len(true_N) == 0:
        return float("nan"), float("nan")
    return float(adjusted_rand_score(true_N, label_N)), float(adjusted_mutual_info_score(true_N, label_N))
