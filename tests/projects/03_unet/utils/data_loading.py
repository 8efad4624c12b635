import os
from multiprocessing import Pool

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm_free import progress


def unique_mask_values(index):
    return np.unique(draw(index)[1])


def draw(index, size=24):
    """An image with a disk, and its mask."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:size, :size]
    cy, cx, r = rng.uniform(6, size - 6), rng.uniform(6, size - 6), rng.uniform(3, 6)
    mask = ((y - cy) ** 2 + (x - cx) ** 2 < r * r).astype(np.int64)
    return (mask + rng.normal(0, 0.6, mask.shape)).astype(np.float32), mask


class BasicDataset(Dataset):
    def __init__(self, ids, workers=None):
        self.ids = list(ids)
        workers = os.cpu_count() if workers is None else workers
        if workers:
            with Pool(workers) as p:
                unique = list(progress(p.imap(unique_mask_values, self.ids), total=len(self.ids)))
        else:
            unique = [unique_mask_values(i) for i in self.ids]
        self.mask_values = sorted(np.unique(np.concatenate(unique)).tolist())

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, idx):
        image, mask = draw(self.ids[idx])
        return {"image": torch.as_tensor(image)[None], "mask": torch.as_tensor(mask)}
