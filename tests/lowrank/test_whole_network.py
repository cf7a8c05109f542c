"""A speedup is of everything that multiplies, and of the network that is handed over."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.lowrank.small import Called, Pair, linear_only, reasons
from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank import decompose as decomposing
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.rebuild import rebuild
from trp_search.lowrank.tracing import layer_by_layer
from trp_search.records import Energy, Speedup
from trp_search.training.regulariser import TrainedRankPruning

decompose = partial(decomposing.decompose, layers="all")

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class ReadsWeight(Pair):
    def forward(self, x):
        found = functional.conv2d(self.first(x), self.second.weight, padding=1)
        return found.mean((2, 3))


class ReadsInTraining(Pair):
    def forward(self, x):
        if self.training:
            return functional.conv2d(self.first(x), self.second.weight, padding=1).mean((2, 3))
        return self.second(self.first(x)).mean((2, 3))


class ReadsPrecision(Pair):
    def forward(self, x):
        return self.second(self.first(x.to(self.second.weight.dtype))).mean((2, 3))


class ReadsShape(Pair):
    def forward(self, x):
        return self.second(self.first(x)).mean((2, 3)) / self.second.out_channels


class Held(Pair):
    def forward(self, x):
        return self.held[0](self.first(x)).mean((2, 3))


class Checks(Pair):
    def forward(self, x):
        if not isinstance(self.second, nn.Conv2d):
            raise TypeError("no convolution")
        return self.second(self.first(x)).mean((2, 3))


class Folds(Pair):
    """Patches on the batch axis."""

    def forward(self, x):
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 4, 4)
        return self.second(self.first(patches)).mean((2, 3)).view(len(x), -1, 16).mean(1)


class Tokens(nn.Module):
    def __init__(self, *, first):
        super().__init__()
        torch.manual_seed(0)
        self.first = first
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).permute((2, 0, 1) if self.first else (0, 2, 1))
        return (tokens + self.down(self.up(tokens).relu())).mean(0 if self.first else 1)


class Encoder(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.batch_first = batch_first

    def forward(self, x):
        order, axis = ((0, 2, 1), 1) if self.batch_first else ((2, 0, 1), 0)
        return self.encoder(self.patches(x).flatten(2).permute(order)).mean(axis)


def multiply_adds(network):
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(IMAGES)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        Called,
        ReadsShape,
        Folds,
        lambda: Tokens(first=True),
        lambda: Tokens(first=False),
        lambda: Encoder(batch_first=True),
        lambda: Encoder(batch_first=False),
        linear_only,
    ],
    ids=["called", "shape", "folds", "first", "second", "encoder", "encoder-first", "linear"],
)
def test_the_network_handed_over_is_as_much_faster_as_was_asked(make, images):
    network = make().eval()
    cut = decompose(network, IMAGES[:images], keep=Speedup(1.05))
    assert multiply_adds(network) >= 1.05 * multiply_adds(cut.network)
    with torch.no_grad():
        assert cut.network(IMAGES).isfinite().all()


@pytest.mark.parametrize("make", [Called, Folds, lambda: Tokens(first=True)])
def test_what_layers_cost_is_what_they_multiply_for_an_image(make):
    network = make().eval()
    cut = decompose(network, IMAGES, keep=Energy(0.5))
    assert 2 * sum(layer.dense_macs for layer in cut.layers) == multiply_adds(network)
    assert 2 * sum(layer.macs for layer in cut.layers) == multiply_adds(cut.network)


@pytest.mark.parametrize("make", [ReadsWeight, Held])
def test_what_cannot_be_cut_counts_with_what_it_costs(make):
    why = r"8\d% of the multiply-adds stay dense \("
    best = r"^speedup: 1\.5x cannot be reached; the best is 1\.16x"
    with pytest.raises(InputError, match=f"{best}; {why}"):
        decompose(make(), IMAGES, keep=Speedup(1.5), layers="all")
    with pytest.raises(InputError, match=r"speedup: 1\.5x cannot be reached; the best is 1\.16x$"):
        TrainedRankPruning(make(), IMAGES, Speedup(1.5), layers="all")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (ReadsWeight, "the network reads its weight directly"),
        (ReadsInTraining, "the network reads its weight in training"),
        (ReadsPrecision, "the network reads its weight directly"),
        (ReadsShape, "the network reads its out_channels directly"),
        (Held, "the network would not call what stands in its place"),
        (Checks, "the network needs it: TypeError: no convolution"),
    ],
)
def test_a_layer_that_the_network_needs_itself_stays_and_the_rest_is_cut(make, reason):
    network = make()
    cut = decompose(network, IMAGES, keep=Energy(0.5))
    assert reasons(cut) == {"first": None, "second": reason}
    assert cut.network.train()(IMAGES).shape == cut.network.eval()(IMAGES).shape == (2, 16)
    assert type(network.second) is nn.Conv2d


@pytest.mark.parametrize("scheme", ["tucker", "channel"])
def test_every_scheme_leaves_it(scheme):
    cutter = Cutter(ReadsPrecision(), IMAGES[:1], macs=10**7, samples=None)
    cut = cutter.cut(records.Cut(scheme=scheme, keep=records.Energy(0.5)))
    assert reasons(cut)["second"] == "the network reads its weight directly"


class Masked(Encoder):
    """Tells its encoder that the last tokens are padding, which it may then leave out."""

    def __init__(self):
        super().__init__(batch_first=True)
        layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).permute(0, 2, 1)
        padding = torch.arange(16).expand(len(x), 16) >= 12
        return self.encoder(tokens, src_key_padding_mask=padding)[:, :12].mean(1)


@pytest.mark.parametrize("make", [lambda: Encoder(batch_first=True), Masked])
def test_the_fused_path_of_torchs_encoder_refuses_no_layer(make):
    assert torch.backends.mha.get_fastpath_enabled()
    cut = decompose(make().eval(), IMAGES, keep=Energy(0.5))
    assert reasons(cut)["encoder.layers.0.linear1"] is None
    again = make().eval()
    rebuild(again, cut.layers)
    again.load_state_dict(cut.network.state_dict())
    with torch.no_grad():
        fused = [one(IMAGES) for one in (cut.network, again)]
        with layer_by_layer():
            plain = cut.network(IMAGES)
    assert torch.equal(*fused)
    torch.testing.assert_close(fused[0], plain)
    assert cut.network.train()(IMAGES).requires_grad


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # of the dense network
def test_the_fused_path_answers_as_the_layers_at_full_rank_do():
    network = Masked().eval()
    cut = decompose(network, IMAGES, keep={"encoder.layers.1.linear1": 16, "patches": 16})
    with torch.no_grad():
        torch.testing.assert_close(cut.network(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_encoder_is_cut_whether_or_not_it_would_take_its_fused_path(batch_first):
    network = Encoder(batch_first=batch_first).eval()
    cut = decompose(network, IMAGES, keep=Energy(0.5))
    assert {reason for reason in reasons(cut).values() if "save" not in str(reason)} == {None}
    dense = {layer.name: layer.dense_macs for layer in cut.layers}
    assert dense["encoder.layers.0.linear1"] == 16 * 64 * 16


def test_a_cut_that_costs_other_than_it_reports_is_refused_by_its_count():
    class Twice(Called):
        """Runs its second layer again wherever it was cut."""

        def forward(self, x):
            x = self.first(x)
            for _ in range(1 + 3 * isinstance(self.second, nn.Sequential)):
                found = self.second(x)
            return found.mean((2, 3))

    for keep in (Speedup(1.5), Energy(0.5), {"second": 2}):
        with pytest.raises(
            InputError,
            match=r"^layer 'second': [\d,]+ multiply-adds for an image once cut, not "
            r"[\d,]+; no speedup can be stated: [\d,]+ multiply-adds counted for an image of the "
            r"cut network, not [\d,]+$",
        ):
            decompose(Twice(), IMAGES, keep=keep)


def test_a_network_without_a_layer_has_no_speedup():
    with pytest.raises(InputError, match=r"speedup: 1\.5x cannot be reached; the best is 1\.00x"):
        decompose(nn.Sequential(nn.Flatten(), nn.LayerNorm(768)), IMAGES, keep=Speedup(1.5))


def test_an_empty_batch_and_an_input_that_does_not_fit_are_one_line():
    with pytest.raises(InputError, match=r"^example_input: its batch is empty$"):
        decompose(Called(), IMAGES[:0], keep=Energy(0.5))
    with pytest.raises(InputError, match=r"^network: it does not run on the example input: Runti"):
        decompose(Called(), torch.zeros(1, 5, 8, 8), keep=Energy(0.5))
