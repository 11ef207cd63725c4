import numpy as np
import torch

from foundation.data import pad_windows


def test_a_window_with_units_and_bins_taken_out_keeps_its_end():
    rng = np.random.default_rng(0)
    x = [rng.poisson(1.0, (n, 8)) for n in (9, 2, 8)]
    batch = pad_windows(x, bin_widths=[0.1] * 3, starts=[0.0] * 3, modalities=[0] * 3, bins_per_token=4)
    batch.mask_BN[0, :5] = False
    batch.mask_BT[2, :4] = False
    for rows, part in batch.buckets():
        for k, row in enumerate(rows.tolist()):
            assert part.mask_BN[k].sum() == batch.mask_BN[row].sum()
            assert part.mask_BT[k].sum() == batch.mask_BT[row].sum()
            assert torch.equal(part.x_BNT[k, : len(x[row])], batch.x_BNT[row, : len(x[row])])
