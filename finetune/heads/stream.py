"""Decode bins as they come: the state between two bins is kept, and nothing of the future is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

import numpy as np
import torch

from finetune.heads.head import LAGS, RATES, Head, HeadError
from foundation.common.errors import ConfigError
from foundation.data.reading.decoded_blocks import COUNTS_MODALITY, VALUES_MODALITY
from foundation.embedding.population_tokens import check_causal
from foundation.evaluation.metrics import CLASSES
from foundation.models import EIT
from foundation.models.parts.attention import Phases, phases, rotary_angles
from foundation.models.parts.population_stream import population_places
from foundation.models.parts.tokens import scaled_counts, scaled_values

AGAIN = "fit one with `foundation finetune --windows.causal true`"


class HeadStream:
    """A causal head at work.

    A step takes the activity of every unit in one token: the events in ``head.windows.token_seconds``, or the mean of
    sampled values. What comes out is what `decode` says of the same token, to rounding: a model reads the last
    ``head.windows.tokens`` tokens, and the readout its own lags of them, since the start or the last `reset`.

    Args:
        head: of labels over time, causal.
        models: what `head_models` found.

    Raises:
        HeadError: if the head reads the future, whole trials or single units.
    """

    def __init__(self, head: Head, models: Mapping[str, EIT] | None = None) -> None:
        if head.population is None:
            what = "units one by one" if head.of_units else "averages over the whole recording"
            raise HeadError(f"head {head.name} reads {what}: expected a head over time of one population")
        if head.windows.whole or any(b.reading != LAGS or max(b.lags) > 0 for b in head.blocks):
            raise HeadError(f"head {head.name} reads the future of a bin: expected a causal head; {AGAIN}")
        self.head, self.n_units = head, len(head.population.unit_ids)
        self._counts = head.windows.activity != "values"
        self._models: dict[str, _CausalModel] = {}
        for source in head.sources - {RATES}:
            model = (models or {})[source]
            try:
                check_causal(model, head.population.recording)
            except ConfigError as error:
                raise HeadError(f"head {head.name} cannot be streamed: {error}") from error
            self._models[source] = _CausalModel(head, model, self.n_units, self._counts)
        self._weights = [
            block.weight_LFK.transpose(1, 0, 2).reshape(len(block.mean_F), -1).astype(np.float64)
            for block in head.blocks
        ]
        self._places = [-np.array(block.lags) for block in head.blocks]  # in what is to come; each lag stands once
        self._ahead = 1 - min(min(b.lags) for b in head.blocks)
        self._place = {identity: k for k, identity in enumerate(head.population.unit_ids)}
        self.reset()

    def reset(self) -> None:
        """Forget what came before, as at the start of a trial or after a gap."""
        self._coming_AK = np.zeros((self._ahead, len(self.head.columns)))
        for model in self._models.values():
            model.reset()

    def step(self, x_N: np.ndarray) -> np.ndarray:
        """Return ``(K,)`` values, or probabilities of the classes, of the next token.

        Args:
            x_N: ``(N,)`` activity of the head's units in the token, in the order of ``head.population.unit_ids``.

        Raises:
            HeadError: if there are not N numbers, or one is not finite or not a count.
        """
        x_N = np.asarray(x_N, dtype=np.float32)
        if x_N.shape != (self.n_units,):
            raise HeadError(f"a bin has shape {x_N.shape}: expected {self.n_units} numbers, one for each unit")
        if not np.isfinite(x_N).all() or (self._counts and (x_N < 0).any()):
            kind = "counts" if self._counts else "values"
            raise HeadError(f"a bin holds {x_N.min():g} to {x_N.max():g}: expected finite {kind}")
        features = {source: model.step(x_N) for source, model in self._models.items()}
        for block, weight_FX, places in zip(self.head.blocks, self._weights, self._places, strict=True):
            x_F = features[block.source] if block.source != RATES else x_N
            if block.source == RATES and block.features.startswith("square roots"):
                x_F = np.sqrt(x_F)
            out_LK = (block.standardised(x_F[None]).astype(np.float64) @ weight_FX).reshape(len(block.lags), -1)
            self._coming_AK[places] += out_LK
        out_K = self._coming_AK[0] + self.head.bias_K
        self._coming_AK = np.concatenate([self._coming_AK[1:], np.zeros((1, len(out_K)))])
        return self.head.probabilities(out_K[None])[0] if self.head.kind == CLASSES else out_K

    def decode(self, bins: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield what `step` says of each bin."""
        return (self.step(x_N) for x_N in bins)

    def by_id(self, activity: Mapping[Any, float]) -> np.ndarray:
        """Return ``(N,)`` activity from unit id -> activity; units that are not named had none.

        Raises:
            HeadError: if the head does not know a unit.
        """
        x_N = np.zeros(self.n_units, dtype=np.float32)
        for identity, value in activity.items():
            place = self._place.get(int(identity))
            if place is None:
                raise HeadError(f"unit {identity} is not one of the {self.n_units} units of head {self.head.name}")
            x_N[place] = value
        return x_N


class _CausalModel:
    """The last tokens that a causal population stream reads; what they are before its trunk is kept.

    What a token's units add up to depends on no other token. So a step reads one token in, and runs the trunk over the
    last ones; a test holds it to the model's own forward.
    """

    def __init__(self, head: Head, model: EIT, n_units: int, counts: bool) -> None:
        assert head.population is not None  # checked by `HeadStream`
        assert model.population is not None
        self._stream, config = model.eval().population, model.config
        first = population_places(config)[head.population.recording][0]
        self._most, self._counts = head.windows.tokens, counts
        self._transform = config.count_transform if counts else config.value_transform
        dt_B = torch.tensor([head.windows.bin_width], dtype=torch.float32)
        modality_B = torch.tensor([COUNTS_MODALITY if counts else VALUES_MODALITY])
        with torch.inference_mode():
            rows = self._stream.rows(first + torch.arange(n_units)[None])
            self._read_in_ND = rows.read_in_BND[0] * math.sqrt(config.dim / n_units)
            self._about_D = self._stream.about(dt_B * config.population_patch, modality_B)[0]
            seconds_BT = torch.arange(self._most) * dt_B[:, None] * config.population_patch
            pairs = int(config.dim // config.heads * config.rotary_share) // 2
            self._turn = phases(rotary_angles(seconds_BT, pairs, config.rotary_shortest, config.rotary_longest))
        self._p_1TD = torch.zeros(1, self._most, config.dim)
        self._tokens = 0

    def reset(self) -> None:
        self._tokens = 0

    @torch.inference_mode()
    def step(self, x_N: np.ndarray) -> np.ndarray:
        """Return ``(D,)`` the model's output for the newest token.

        Args:
            x_N: ``(N,)`` float32 events in the token, or the mean of sampled values.
        """
        given_N = torch.from_numpy(x_N)
        scale = scaled_counts if self._counts else scaled_values
        activity_N = scale(given_N, self._transform)
        if self._tokens == self._most:
            self._p_1TD = self._p_1TD.roll(-1, dims=1)
        else:
            self._tokens += 1
        self._p_1TD[0, self._tokens - 1] = activity_N @ self._read_in_ND + self._about_D
        p_1TD = self._p_1TD[:, : self._tokens]  # what the trunk reads
        full = self._tokens == self._most
        turn = self._turn if full else Phases(*(part[:, : self._tokens] for part in self._turn))
        *before, last = self._stream.trunk
        for block in before:
            p_1TD = block(p_1TD, None, turn)
        newest: np.ndarray = self._stream.norm(last.newest(p_1TD, turn)[0, -1]).numpy()
        return newest


def run_lines(head: Head, models: Mapping[str, EIT], lines: Iterable[str], out: TextIO) -> None:
    """Decode bins that come as JSON lines; print a line for each as soon as it is decoded.

    A line is a list of the activity of the head's units, or an object with ``counts``: such a list, or unit id ->
    activity. ``"reset": true`` in it forgets what came before. The answer has ``bin`` (from 0, since the last reset),
    ``time`` (seconds at its middle), and ``values`` with ``uncertainty``, or ``class`` with ``probabilities``.

    Args:
        head: causal.
        models: what `head_models` found.
        lines: of JSON; empty ones are passed over.
        out: where answers go.

    Raises:
        HeadError: naming the line that cannot be decoded; those before it have been answered.
    """
    stream, place = HeadStream(head, models), 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            given = given if isinstance(given, dict) else {"counts": given}
            if given.get("reset"):
                stream.reset()
                place = 0
            counts = given["counts"]
            x_N = stream.by_id(counts) if isinstance(counts, dict) else np.array(counts, dtype=np.float32)
            out_K = stream.step(x_N)
        except (ValueError, TypeError, KeyError, HeadError) as error:
            what = "it has no counts" if isinstance(error, KeyError) else str(error)
            raise HeadError(f"line {number} of the input cannot be decoded: {what}") from error
        out.write(json.dumps(_answer(head, place, out_K)) + "\n")
        out.flush()
        place += 1


def _answer(head: Head, place: int, out_K: np.ndarray) -> dict[str, Any]:
    line: dict[str, Any] = {"bin": place, "time": round((place + 0.5) * head.windows.token_seconds, 9)}
    if head.kind == CLASSES:
        probabilities = {name: round(float(p), 6) for name, p in zip(head.classes, out_K, strict=True)}
        return line | {"class": head.classes[int(out_K.argmax())], "probabilities": probabilities}
    values = {name: float(value) for name, value in zip(head.value_names, out_K, strict=True)}
    return line | {"values": values, "uncertainty": dict(zip(head.value_names, head.spread_K, strict=True))}
