"""The recipes by name: from waveforms to units.

`pca`: principal components of spikes divided by their amplitude, with a mixture of Gaussians. `pca_uv`, `isosplit`,
`spc`: components of spikes in µV, with a mixture, ISO-SPLIT or superparamagnetic clustering. `v0`, `v1`, `v2`: the
autoencoders of the CS482/682 report. `v3`: ours, noise-whitened features with a mixture of known spread. `idec`,
`vade`: published deep clustering. `contrastive`: an encoder trained by InfoNCE, with a mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from foundation.common.errors import ConfigError, SourceError
from foundation.common.lazy import optional_package
from ingest.sorting.clustering.cluster_settings import RECIPES, ClusterSettings
from ingest.sorting.clustering.clusters import NOISE, ClusterModel, Clusters, FeatureClusterer, SpikeEncoder
from ingest.sorting.clustering.labelled import LabelledWaveforms, joined_classes
from ingest.sorting.clustering.mixtures import GaussianUnits, choose_mixture, draw_spikes, joined_mixture
from ingest.sorting.clustering.noise_mixture import NoiseMixture
from ingest.sorting.clustering.noise_whitening import MIN_BACKGROUND, WhitenedSpikes
from ingest.sorting.clustering.principal_components import PrincipalComponents
from ingest.sorting.spikes.waveforms import Waveforms

MIN_SPIKES = 2
TRAINED = ("v0", "v1", "contrastive")  # recipes whose encoder can be trained once and used for many recordings
LABELS = ("v1", "contrastive")  # recipes that learn from labelled spikes
SIMULATED_SECONDS, SIMULATED_UNITS = 120.0, (4, 8, 12)  # labelled sessions where none are given
MIN_SPC = 20  # spikes; superparamagnetic clustering takes 11 neighbours of each
FEATURES_UV = 6  # components of spikes in µV


class NoUnits:
    """Labels every spike as noise: the model of a recording with too few spikes."""

    n_units = 0

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return no feature."""
        return np.zeros((len(x_NCT), 0))

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return noise, with certainty."""
        return np.full(len(z_NF), NOISE, dtype=np.int64), np.ones(len(z_NF), dtype=np.float32)


@dataclass(frozen=True)
class TrainedNetwork:
    """A recipe's encoder, trained before it sees the recording to sort.

    Args:
        encoder_for: returns the encoder for a recording.
    """

    encoder_for: Callable[[Waveforms], SpikeEncoder]


def train_recipe(
    recipe: str,
    unlabelled: Sequence[Waveforms],
    labelled: Sequence[LabelledWaveforms],
    seed: int = 0,
    settings: ClusterSettings | None = None,
) -> TrainedNetwork:
    """Train the encoder of a recipe on some recordings, to be used on others.

    Args:
        recipe: `v0` (on all spikes, without labels), `v1` or `contrastive`.
        unlabelled: recordings whose units are not known.
        labelled: recordings whose units are known.
        seed: of weights and batches.
        settings: options of the recipes.

    Raises:
        ConfigError: if the recipe has no such encoder, or lacks labelled recordings.
    """
    from ingest.sorting.clustering.autoencoders import train_dense, train_semi_supervised
    from ingest.sorting.clustering.contrastive import ContrastiveEncoder, recording_whitening, train_contrastive

    settings = settings or ClusterSettings()
    if recipe not in TRAINED:
        raise ConfigError(f"recipe is {recipe!r}: expected one that trains an encoder: {', '.join(TRAINED)}")
    if recipe in LABELS and not labelled:
        raise ConfigError(f"labelled is empty: expected labelled spikes for recipe {recipe}, such as simulated ones")
    if recipe == "contrastive":
        network = train_contrastive(unlabelled, labelled, seed, settings)
        return TrainedNetwork(lambda waveforms: ContrastiveEncoder(network, recording_whitening(waveforms)))
    parts = [w.x_NCT for w in unlabelled]
    if recipe == "v0":
        x_NCT = np.concatenate([*parts, *(r.waveforms.x_NCT for r in labelled)])
        encoder = train_dense(x_NCT, seed, settings)
    else:
        labelled_MCT, class_M = joined_classes(labelled)
        x_NCT = np.concatenate(parts) if parts else labelled_MCT[:0]
        encoder = train_semi_supervised(x_NCT, labelled_MCT, class_M, seed, settings)
    return TrainedNetwork(lambda waveforms: encoder)


def cluster_waveforms(
    waveforms: Waveforms,
    *,
    recipe: str = "v3",
    n_units: int | None = None,
    labelled: Sequence[LabelledWaveforms] = (),
    trained: TrainedNetwork | None = None,
    seed: int = 0,
    settings: ClusterSettings | None = None,
) -> Clusters:
    """Return a unit for each spike, and a model that labels further spikes.

    Args:
        waveforms: spikes of one electrode or one neighbourhood of channels.
        recipe: its name; see the module.
        n_units: number of units; None: the recipe finds it.
        labelled: recordings of known units, with windows of the same shape, for `v1` and `contrastive`. They train on
            the given waveforms too. Empty: spikes of one electrode are simulated.
        trained: an encoder of `train_recipe`, for `v0`, `v1` and `contrastive`; None: it is trained on the given
            waveforms.
        seed: random seed; the same seed gives the same units.
        settings: options of the recipes.

    Raises:
        ConfigError: if the recipe is unknown, n_units is below 1, or the recipe lacks labelled spikes.
        SourceError: if a waveform is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shape_2T = np.stack([np.sin(np.arange(39) / 6), np.cos(np.arange(39) / 6)])
        >>> x_NCT = (shape_2T[np.arange(200) % 2] + rng.normal(0, 0.05, (200, 39)))[:, None]
        >>> waveforms = Waveforms(x_NCT, np.full(200, 80.0), np.arange(200) * 0.1, np.zeros(200, int), 19500.0)
        >>> cluster_waveforms(waveforms, recipe="pca").n_units
        2
    """
    settings = settings or ClusterSettings()
    if recipe not in RECIPES:
        raise ConfigError(f"recipe is {recipe!r}: expected one of {', '.join(RECIPES)}")
    if n_units is not None and n_units < 1:
        raise ConfigError(f"n_units is {n_units}: expected at least 1, or null to estimate it")
    bad_N = ~(np.isfinite(waveforms.x_NCT).all(axis=(1, 2)) & np.isfinite(waveforms.amplitude_N))
    if bad_N.any():
        raise SourceError(f"spike {int(bad_N.argmax())} is not finite: expected voltage without NaN and infinity")
    if len(waveforms) < MIN_SPIKES:
        return _clusters(waveforms, NoUnits(), NoUnits())
    if not np.ptp(waveforms.x_NCT, axis=0).any() and not np.ptp(waveforms.amplitude_N):
        n_units = 1  # equal spikes, such as of a test signal: nothing to separate
    if recipe in TRAINED:
        if recipe in LABELS and not labelled and trained is None:
            labelled = simulated_labels(recipe, waveforms.x_NCT.shape, seed)
        trained = trained or train_recipe(recipe, [waveforms], labelled, seed, settings)
        encoder = trained.encoder_for(waveforms)
        z_NF = encoder.encode(waveforms.x_NCT, waveforms.amplitude_N)
        return _clusters(waveforms, encoder, choose_mixture(z_NF, n_units, seed, settings).units)
    return _clusters(waveforms, *_UNTRAINED[recipe](waveforms, n_units, seed, settings))


def _clusters(waveforms: Waveforms, encoder: SpikeEncoder, clusterer: FeatureClusterer) -> Clusters:
    model = ClusterModel(encoder, clusterer)
    label_N, probability_N = model.assign(waveforms.x_NCT, waveforms.amplitude_N)
    return Clusters(label_N, probability_N, clusterer.n_units, model)


def simulated_labels(recipe: str, shape: tuple[int, ...], seed: int) -> list[LabelledWaveforms]:
    """Return labelled spikes of three simulated sessions of one electrode.

    Args:
        recipe: that needs them, for the message.
        shape: of the spikes that are to be clustered.
        seed: of the sessions.

    Raises:
        ConfigError: if spikes of one electrode have another shape.
    """
    from ingest.sorting.simulation.session_spikes import session_spikes
    from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

    session = SessionSettings(seconds=SIMULATED_SECONDS)
    found = [session_spikes(session, units, [seed], threshold=None) for units in SIMULATED_UNITS]
    simulated = found[0].waveforms.x_NCT.shape[1:]
    if shape[1:] != simulated:
        raise ConfigError(
            f"labelled is empty: recipe {recipe} learns from labelled spikes, and simulated ones have {simulated[0]} "
            f"channel x {simulated[1]} samples where these have {shape[1]} x {shape[2]}; give labelled spikes, or "
            "another recipe"
        )
    return [LabelledWaveforms(spikes.waveforms, spikes.true_N) for spikes in found]


Found = tuple[SpikeEncoder, FeatureClusterer]


def _pca(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    encoder = PrincipalComponents.fit(waveforms.x_NCT, settings.latent)
    z_NF = encoder.encode(waveforms.x_NCT, waveforms.amplitude_N)
    return encoder, choose_mixture(z_NF, n_units, seed, settings).units


def _pca_uv(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    encoder, z_NF = _microvolt_components(waveforms)
    return encoder, choose_mixture(z_NF, n_units, seed, settings).units


def _isosplit(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    """Return principal components and ISO-SPLIT 6, which always finds the number of units itself."""
    isosplit6 = optional_package("isosplit6", "the recipe isosplit", "bench")
    encoder, z_NF = _microvolt_components(waveforms)
    label_N = isosplit6.isosplit6(np.ascontiguousarray(z_NF, dtype=np.float64))
    return encoder, gaussians_of(z_NF, np.unique(label_N, return_inverse=True)[1])


def _spc(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    """Return principal components and superparamagnetic clustering at one temperature, as the first Wave_clus has it.

    It always finds the number of units itself. Spikes that it leaves without a cluster go to the most likely one. Fewer
    spikes than it needs for its neighbours are one unit.
    """
    spclustering = optional_package("spclustering", "the recipe spc", "bench")
    encoder, z_NF = _microvolt_components(waveforms)
    drawn_NF = np.ascontiguousarray(draw_spikes(z_NF, settings.max_fit, seed), dtype=np.float64)
    label_N = np.zeros(len(drawn_NF), dtype=np.int64)
    if len(drawn_NF) > MIN_SPC:
        label_N = spclustering.SPC(randomseed=seed).fit_WC1(drawn_NF, min_clus=min(60, len(drawn_NF) // 10))
    kept_N = label_N > 0 if (label_N > 0).any() else np.ones(len(label_N), dtype=bool)
    return encoder, gaussians_of(drawn_NF[kept_N], np.unique(label_N[kept_N], return_inverse=True)[1])


def _microvolt_components(waveforms: Waveforms) -> tuple[SpikeEncoder, np.ndarray]:
    scaled = InMicrovolts(PrincipalComponents.fit(_in_median(waveforms), FEATURES_UV), _median(waveforms))
    return scaled, scaled.encode(waveforms.x_NCT, waveforms.amplitude_N)


@dataclass(frozen=True)
class InMicrovolts:
    """Lets an encoder see spikes with their amplitude, in units of a recording's median amplitude.

    Args:
        encoder: of spikes as they are given.
        median: µV.
    """

    encoder: SpikeEncoder
    median: float

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return the encoder's features of spikes in units of the median amplitude."""
        return self.encoder.encode(x_NCT * (amplitude_N / self.median)[:, None, None], amplitude_N)


def _median(waveforms: Waveforms) -> float:
    return max(float(np.median(waveforms.amplitude_N)), 1e-9)


def _in_median(waveforms: Waveforms) -> np.ndarray:
    scaled: np.ndarray = waveforms.x_NCT * (waveforms.amplitude_N / _median(waveforms))[:, None, None]
    return scaled.astype(np.float32)


def gaussians_of(z_NF: np.ndarray, label_N: np.ndarray) -> GaussianUnits:
    """Return the Gaussian of each cluster, so that further spikes can be labelled.

    Args:
        z_NF: features.
        label_N: cluster of each, 0 to K - 1.
    """
    weight_K = np.bincount(label_N) / len(label_N)
    whole_FF = np.atleast_2d(np.cov(z_NF.T))
    factors, prior = [], z_NF.shape[1] + 1  # spikes by which a cluster's covariance is held to that of all
    for k in range(len(weight_K)):
        mine_NF = z_NF[label_N == k] - z_NF[label_N == k].mean(axis=0)
        covariance_FF = (mine_NF.T @ mine_NF + 0.01 * prior * whole_FF) / (len(mine_NF) + 0.01 * prior)
        covariance_FF = covariance_FF + 1e-9 * np.eye(len(covariance_FF))
        factors.append(np.linalg.cholesky(np.linalg.inv(covariance_FF)))
    means = [z_NF[label_N == k].mean(axis=0) for k in range(len(weight_K))]
    return GaussianUnits(weight_K, np.stack(means), np.stack(factors))


def _v2(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    from ingest.sorting.clustering.deep_clustering import train_deep_clustering

    return train_deep_clustering(waveforms.x_NCT, n_units, seed, settings)


def _whitening(waveforms: Waveforms, settings: ClusterSettings) -> tuple[WhitenedSpikes, np.ndarray]:
    x_NCT, amplitude_N = waveforms.x_NCT, waveforms.amplitude_N
    encoder = WhitenedSpikes.fit(
        x_NCT, amplitude_N, waveforms.background_SCT, settings.max_features, settings.min_variance
    )
    return encoder, encoder.encode(x_NCT, amplitude_N)


def _v3(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    """Return v3; without background windows the spread of a unit is unknown, and an ordinary mixture is used."""
    encoder, z_NF = _whitening(waveforms, settings)
    if waveforms.background_SCT is None or len(waveforms.background_SCT) < MIN_BACKGROUND:
        if n_units is not None:
            return encoder, joined_mixture(z_NF, n_units, seed, settings).units
        return encoder, choose_mixture(z_NF, None, seed, settings).units
    return encoder, NoiseMixture(z_NF, seed, settings).fit(n_units)


def _whitened(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    encoder, z_NF = _whitening(waveforms, settings)
    return encoder, choose_mixture(z_NF, n_units, seed, settings).units


def _idec(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    from ingest.sorting.clustering.rivals import train_idec

    encoder, centres = train_idec(_in_median(waveforms), n_units, seed, settings)
    return InMicrovolts(encoder, _median(waveforms)), centres


def _vade(waveforms: Waveforms, n_units: int | None, seed: int, settings: ClusterSettings) -> Found:
    from ingest.sorting.clustering.rivals import train_vade

    encoder, units = train_vade(_in_median(waveforms), n_units, seed, settings)
    return InMicrovolts(encoder, _median(waveforms)), units


_UNTRAINED: dict[str, Callable[[Waveforms, int | None, int, ClusterSettings], Found]] = {
    "pca": _pca,
    "pca_uv": _pca_uv,
    "isosplit": _isosplit,
    "spc": _spc,
    "whitened": _whitened,
    "v2": _v2,
    "v3": _v3,
    "idec": _idec,
    "vade": _vade,
}
