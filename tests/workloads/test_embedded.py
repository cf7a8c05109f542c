import torch
from sklearn.datasets import load_digits

from trp_search.workloads.embedded import Digits


def test_the_digits_are_those_of_scikit_learn():
    known, digits = load_digits(), Digits()
    pixels = (torch.from_numpy(known.images) * (255 / 16)).round().byte()
    read = digits.read(torch.arange(len(known.images)))[:, 0]
    assert sorted(zip(read.flatten(1).tolist(), digits.labels.tolist(), strict=True)) == sorted(
        zip(pixels.flatten(1).tolist(), known.target.tolist(), strict=True)
    )
