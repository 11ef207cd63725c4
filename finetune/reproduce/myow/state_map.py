"""Map of states that an encoder finds without labels over hours of wake and sleep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.preprocessing import StandardScaler

from finetune.reproduce.myow.labelled_bins import STATES, Bins
from foundation.common.files.locks import write_whole
from foundation.common.output.pictures import COLOURS, drawing

CLUSTERS = 8
STATE_COLOURS = (COLOURS[1], COLOURS[0], COLOURS[2])


def draw_map(feature_MF: np.ndarray, bins: Bins, picture: Path | None, seed: int) -> dict[str, Any]:
    """Cluster all bins, compare clusters with states, and draw both.

    Args:
        feature_MF: features of all bins.
        bins: these bins.
        picture: an SVG file; None: no picture.
        seed: of the clusters.

    Returns:
        ``agreement``, adjusted mutual information of clusters and states (0 as by chance, 1 the same), and
        ``clusters``: for each cluster the bins of each state, from the largest cluster to the smallest.
    """
    scaled = StandardScaler().fit_transform(feature_MF)
    scaled = scaled[:, feature_MF.std(0) > 0]
    cluster_M = KMeans(CLUSTERS, n_init=4, random_state=seed).fit_predict(scaled)
    order = np.argsort(-np.bincount(cluster_M, minlength=CLUSTERS), kind="stable")
    cluster_M = np.argsort(order)[cluster_M]
    known = bins.scored_M
    table = np.zeros((CLUSTERS, len(STATES)), dtype=int)
    np.add.at(table, (cluster_M[known], bins.label_M[known]), 1)
    if picture is not None:
        write_whole(picture, _draw(PCA(2, random_state=seed).fit_transform(scaled), cluster_M, bins))
    agreement = adjusted_mutual_info_score(bins.label_M[known], cluster_M[known])
    return {"agreement": round(float(agreement), 4), "clusters": table.tolist()}


def _draw(place_M2: np.ndarray, cluster_M: np.ndarray, bins: Bins) -> bytes:
    with drawing(9, 6, dpi=110, text_size=9, kind="svg") as sheet:
        places = [["states", "clusters"], ["time", "time"]]
        axes: dict[str, Any] = sheet.figure.subplot_mosaic(places, height_ratios=[3, 1.3])
        thin = np.random.default_rng(0).permutation(len(bins))[:3000]  # as many as remain distinguishable
        low, high = np.percentile(place_M2, (0.5, 99.5), axis=0)
        for name in ("states", "clusters"):
            axes[name].set(xlabel="first principal component", ylabel="second", xlim=(low[0], high[0]))
            axes[name].set_ylim(low[1], high[1])
        for number, (state, colour) in enumerate(zip(STATES, STATE_COLOURS, strict=True)):
            rows = thin[bins.label_M[thin] == number]
            axes["states"].scatter(
                place_M2[rows, 0], place_M2[rows, 1], s=3, c=colour, label=state, linewidths=0, rasterized=True
            )
        axes["states"].legend(markerscale=4, frameon=False)
        axes["states"].set_title("states (labels, not seen in training)")
        axes["clusters"].scatter(
            place_M2[thin, 0],
            place_M2[thin, 1],
            s=3,
            c=cluster_M[thin],
            cmap="tab10",
            vmin=0,
            vmax=9,
            linewidths=0,
            rasterized=True,
        )
        axes["clusters"].set_title(f"{CLUSTERS} clusters (k-means of the features)")
        hours_M = (bins.start_M - bins.start_M[0]) / 3600
        label_M = bins.label_M.astype(float)
        label_M[~bins.scored_M] = np.nan
        axes["time"].scatter(hours_M, cluster_M + 1, s=1, c=cluster_M, cmap="tab10", vmin=0, vmax=9, rasterized=True)
        for number, colour in enumerate(STATE_COLOURS):
            rows = label_M == number
            axes["time"].scatter(hours_M[rows], np.full(rows.sum(), -0.5), s=8, c=colour, marker="|", rasterized=True)
        axes["time"].set_yticks([-0.5, *range(1, CLUSTERS + 1)], ["state", *map(str, range(1, CLUSTERS + 1))])
        axes["time"].set(xlabel="hours", xlim=(0, hours_M[-1]))
    return sheet.content
