import numpy as np
import pytest
import torch

from foundation.data import pad_windows
from foundation.data.buckets import buckets


def windows(*sizes):
    rng = np.random.default_rng(0)
    x = [rng.poisson(1.0, size) for size in sizes]
    n = len(x)
    return pad_windows(x, bin_widths=[0.1] * n, starts=[0.0] * n, modalities=[0] * n, bins_per_token=4)


def test_window_with_masked_units_and_bins_keeps_its_end():
    batch = windows((9, 8), (2, 8), (8, 8))
    sizes = [9, 2, 8]
    batch.mask_BN[0, :5] = False
    batch.mask_BT[2, :4] = False
    for bucket in buckets(batch):
        part = bucket.windows
        for k, row in enumerate(bucket.rows_B.tolist()):
            assert part.mask_BN[k].sum() == batch.mask_BN[row].sum()
            assert part.mask_BT[k].sum() == batch.mask_BT[row].sum()
            assert torch.equal(part.x_BNT[k, : sizes[row]], batch.x_BNT[row, : sizes[row]])


def test_every_window_is_in_one_bucket():
    batch = windows(*[(n, t) for n in (3, 30, 4) for t in (8, 80)])
    rows = torch.cat([bucket.rows_B for bucket in buckets(batch)])
    assert sorted(rows.tolist()) == list(range(len(batch)))
    alike = buckets(windows(*[(5, 8)] * 4))
    assert [bucket.rows_B.tolist() for bucket in alike] == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("units", "bins", "out", "expected"),
    [
        ((5, 5), (8, 8), None, (True, True)),
        ((5, 6), (8, 8), None, (False, True)),
        ((5, 5), (7, 8), None, (True, False)),
        ((5, 5), (8, 8), "mask_BN", (False, True)),
        ((5, 5), (8, 8), "mask_BT", (True, False)),
    ],
)
def test_only_masks_that_hide_nothing_become_none(units, bins, out, expected):
    batch = windows(*zip(units, bins, strict=True))
    if out:
        getattr(batch, out)[1, 0] = False  # inside, so the window's end stays
    (bucket,) = buckets(batch, waste=1.0)
    for given in (bucket.model_inputs(), bucket.first().model_inputs()):
        assert (given["mask_BN"] is None, given["mask_BT"] is None) == expected
        assert given["x_BNT"].is_floating_point()
        for name in ("mask_BN", "mask_BT"):
            if given[name] is not None:
                assert torch.equal(given[name], getattr(batch, name)[bucket.rows_B[: len(given[name])]])
