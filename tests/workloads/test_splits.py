from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data
from trp_search.workloads.data import Splits, Test, Train, Validation

DIGITS = DataSpec(name="digits", validation=0.25)


def digits(
    spec: DataSpec = DIGITS, *, split_seed: int = 0, outside_weights: bool = False
) -> Splits:
    return data.load(spec, split_seed=split_seed, outside_weights=outside_weights, device="cpu")


def labels(part: Train | Validation | Test) -> Tensor:
    return torch.cat([found for _, found in part.images.plain(part.rows, 100)])


def assert_same(first: list[tuple[Tensor, Tensor]], second: list[tuple[Tensor, Tensor]]) -> None:
    assert len(first) == len(second)
    for (images, answers), (others, other_answers) in zip(first, second, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(answers, other_answers)


@settings(deadline=None)
@given(seed=st.integers(0, 5), outside_weights=st.booleans(), subset=st.sampled_from([None, 300]))
def test_no_image_is_in_two_splits(seed, outside_weights, subset):
    spec = DataSpec(name="digits", subset=subset, heldout_subset=subset)
    indices = digits(spec, split_seed=seed, outside_weights=outside_weights).indices()
    every = [number for part in indices.values() for number in part]
    assert len(set(every)) == len(every) == (1797 if subset is None else 600)


def test_validation_is_carved_from_the_training_images():
    splits = digits()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (973, 324, 500)
    indices = splits.indices()
    assert max(indices["train"] + indices["validation"]) < 1297
    assert indices["test"] == list(range(1297, 1797))


def test_with_weights_from_outside_nothing_is_chosen_on_what_they_may_have_seen():
    indices = digits(outside_weights=True).indices()
    assert indices["train"] == list(range(1297))
    assert len(indices["validation"]) == len(indices["test"]) == 250
    assert sorted(indices["validation"] + indices["test"]) == list(range(1297, 1797))


def test_the_split_follows_its_seed_and_the_held_out_images_do_not():
    first, same, other = (digits(split_seed=seed).indices() for seed in (0, 0, 1))
    assert first == same
    assert first["validation"] != other["validation"]
    assert first["test"] == other["test"]


@pytest.mark.parametrize("outside_weights", [False, True])
def test_every_split_has_the_classes_in_their_proportions(outside_weights):
    splits = digits(outside_weights=outside_weights)
    for part in (splits.train, splits.validation, splits.test):
        shares = labels(part).bincount(minlength=10) / len(part)
        assert ((shares - 0.1).abs() < 0.01).all()


def test_a_subset_is_balanced_and_no_larger():
    splits = digits(DataSpec(name="digits", subset=400, heldout_subset=100))
    assert len(splits.train) + len(splits.validation) == 400
    assert labels(splits.test).bincount().tolist() == [10] * 10


def test_the_last_training_joins_train_and_validation():
    splits = digits()
    joined = splits.train_and_validation()
    assert isinstance(joined, Train)
    assert len(joined) == 1297
    rows = torch.cat([splits.train.rows, splits.validation.rows])
    assert torch.equal(joined.rows, rows.sort().values)


def test_an_epoch_is_a_pure_function_of_seed_and_epoch():
    train = digits().train
    later = list(train.batches(64, seed=1, epoch=3))
    for epoch in range(3):
        list(train.batches(64, seed=1, epoch=epoch))
    assert_same(list(train.batches(64, seed=1, epoch=3)), later)
    for seed, epoch in ((1, 4), (2, 3)):
        other = next(train.batches(64, seed=seed, epoch=epoch))
        assert not torch.equal(other[0], later[0][0])


def test_an_epoch_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(digits().train.batches(64, seed=1, epoch=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_shows_each_image_once_and_drops_a_batch_that_is_not_full():
    plain = digits(DataSpec(name="digits", validation=0.25, augment=False)).train
    batches = list(plain.batches(100, seed=0, epoch=0))
    assert [len(images) for images, _ in batches] == [100] * 9
    seen = torch.cat([images for images, _ in batches]).flatten(1)
    every = torch.cat([images for images, _ in plain.images.plain(plain.rows, 500)]).flatten(1)
    shown, there = ((part[:, None] == every[None]).all(2).sum(0) for part in (seen, every))
    assert (shown <= there).all()  # a few digits are drawn twice in the set itself
    assert not torch.equal(seen, every[:900])


def test_a_batch_larger_than_the_training_images_is_refused():
    with pytest.raises(InputError) as caught:
        next(digits().train.batches(4096, seed=0, epoch=0))
    assert str(caught.value) == "training.batch_size: 4096 is more than the 973 training images"


def test_training_images_have_mean_0_and_deviation_1():
    train = digits(DataSpec(name="digits", augment=False)).train
    images = torch.cat(list(train.samples(len(train), batch_size=200)))
    assert abs(float(images.mean())) < 1e-4
    assert abs(float(images.std(correction=0)) - 1) < 1e-4


def test_samples_are_always_the_same_and_in_batches_of_nearly_one_size():
    train = digits().train
    first, second = (list(train.samples(200, batch_size=64)) for _ in range(2))
    assert [len(batch) for batch in first] == [50, 50, 50, 50]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert sum(len(batch) for batch in train.samples(9999, batch_size=64)) == 973
    for count in range(1, 200):
        sizes = [len(batch) for batch in train.samples(count, batch_size=8)]
        assert sum(sizes) == count
        assert min(sizes) > 1 or count == 1


def test_validation_and_test_show_all_their_images_in_order():
    splits = digits()
    for part in (splits.validation, splits.test):
        sizes = [len(images) for images, _ in part.batches(100)]
        assert sum(sizes) == len(part)
        assert_same(list(part.batches(100)), list(part.batches(100)))


def test_the_next_trial_finds_the_images_in_memory():
    assert digits() is digits()


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            DataSpec(name="digitz"),
            "workload.data: 'digitz' is not known; did you mean digits? "
            "There are digits, cifar10, cifar100, images and package.module:callable",
        ),
        (
            DataSpec(name="digits", subset=1298),
            "workload.data.subset: 1298 is more than the 1297 images there are",
        ),
        (
            DataSpec(name="digits", heldout_subset=501),
            "workload.data.heldout_subset: 501 is more than the 500 images there are",
        ),
        (
            DataSpec(name="digits", subset=1),
            "workload.data: 1 images are too few to set validation aside",
        ),
        (DataSpec(name="digits", channels=2), "workload.data.channels: 2 is not 1 or 3"),
        (
            DataSpec(name="digits", stream=True),
            "workload.data.stream: needs data images in colour and an image_size",
        ),
        (
            DataSpec(name="cifar10"),
            "workload.data.root: is missing; cifar10 needs the folder of its files",
        ),
    ],
)
def test_what_cannot_be_loaded_is_told_of_in_one_line(spec, problem):
    with pytest.raises(InputError) as caught:
        digits(spec)
    assert str(caught.value) == problem


def test_digits_can_be_brought_to_the_size_and_colour_of_a_larger_network():
    spec = DataSpec(name="digits", channels=3, image_size=32, subset=100, heldout_subset=20)
    splits = digits(spec)
    assert data.describe(spec) == splits.shape
    images, _ = next(splits.test.batches(5))
    assert images.shape == (5, 3, 32, 32)
    assert torch.equal(images[:, 0], images[:, 1])


def test_a_normalisation_that_is_given_is_used():
    given = digits(DataSpec(name="digits", augment=False, mean=(0.5,), std=(0.25,))).train
    own = digits(DataSpec(name="digits", augment=False)).train
    (ours,) = given.samples(50, batch_size=50)
    (theirs,) = own.samples(50, batch_size=50)
    kept = own.images.normalisation
    pixels = theirs * kept.std[0] + kept.mean[0]
    torch.testing.assert_close(ours, (pixels - 0.5) / 0.25, atol=1e-5, rtol=1e-5)


def test_a_normalisation_of_other_channels_is_refused():
    with pytest.raises(InputError, match=r"workload\.data\.mean: 3 numbers for 1 channels"):
        digits(DataSpec(name="digits", mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0)))
