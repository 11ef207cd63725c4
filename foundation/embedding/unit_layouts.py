"""Positions of units in the plane, from their embeddings."""

from __future__ import annotations

import numpy as np

MAX_NEIGHBOURS = 4000  # maximum number of units for t-SNE, which takes minutes for more


def unit_layouts(z_ND: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return positions of units in the plane by method: principal components, and neighbours if there are few units.

    Embeddings are standardised first. Principal components keep distances as well as a plane can, and their name
    contains the share of the variance that they keep; neighbours (t-SNE, van der Maaten and Hinton 2008) show which
    units are similar, but not distances.

    Args:
        z_ND: ``(N, D)`` an embedding of each unit.
        seed: of t-SNE.

    Returns:
        Name -> ``(N, 2)`` float32.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> layouts = unit_layouts(rng.normal(size=(12, 4)))
        >>> [name[:10] for name in layouts], layouts["neighbours (t-SNE)"].shape
        (['principal ', 'neighbours'], (12, 2))
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    z_ND = np.asarray(z_ND, dtype=np.float64)
    scaled_ND = StandardScaler().fit_transform(z_ND) if len(z_ND) else z_ND
    kept = min(50, *scaled_ND.shape)
    if kept < 2:
        first_N = scaled_ND[:, 0] if kept else np.zeros(len(z_ND))
        return {"principal components": np.stack([first_N, np.zeros(len(z_ND))], axis=1).astype(np.float32)}
    with np.errstate(invalid="ignore"):
        axes = PCA(kept, svd_solver="full").fit(scaled_ND)
    scores_NC = axes.transform(scaled_ND)
    share = float(np.nan_to_num(axes.explained_variance_ratio_)[:2].sum())
    found = {f"principal components ({share:.0%} of the variance)": scores_NC[:, :2].astype(np.float32)}
    if 8 <= len(z_ND) <= MAX_NEIGHBOURS and share > 0:
        perplexity = min(30.0, (len(z_ND) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        found["neighbours (t-SNE)"] = tsne.fit_transform(scores_NC).astype(np.float32)
    return found
