import pytest
import torch
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy
from trp_search.scoring.flops import count

IMAGE = torch.zeros(1, 3, 64, 64)


def by_torch(network, image):
    # The fused kernels are not counted there.
    torch.backends.mha.set_fastpath_enabled(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network.eval()(image)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() / 2


def test_one_multiply_add_counts_one():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 64 * 64, 5))
    assert count(network, IMAGE).macs == 3 * 8 * 9 * 64 * 64 + 8 * 64 * 64 * 5


def test_batch_norm_adding_pooling_and_activations_are_free():
    convolution = nn.Conv2d(3, 8, 3)
    network = nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert count(network, IMAGE).macs == count(nn.Sequential(convolution), IMAGE).macs


class Computed(nn.Module):
    """A convolution, and what is computed of its output."""

    def __init__(self, call):
        super().__init__()
        self.layer, self.call = nn.Conv2d(3, 8, 3), call

    def forward(self, x):
        return self.call(self.layer(x))


LAYER = 3 * 8 * 9 * 62 * 62


def test_an_operator_that_nobody_has_a_price_for_is_free_and_named():
    found = count(Computed(torch.fft.fft), IMAGE)
    assert (found.macs, found.note) == (LAYER, "with aten::fft_fft as free")


def test_what_torchs_counter_alone_has_a_price_for_is_counted_by_it():
    found = count(Computed(lambda x: torch.matrix_power(x[0], 2)), IMAGE)
    assert found.macs == LAYER + 8 * 62**3
    assert found.note == "by torch's counter: fvcore has no price for aten::linalg_matrix_power"


def test_a_network_that_cannot_be_traced_is_counted_by_torchs_counter():
    class Answer:
        """No tensor: a graph has no place for it."""

    class Untraceable(Computed):
        def forward(self, x):
            super().forward(x)
            return Answer()

    network = Untraceable(torch.relu)
    found = count(network, IMAGE)
    assert found.macs == LAYER
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert found.note.startswith("by torch's counter: fvcore cannot trace it: ")


RECURRENT = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_cost_their_matrices_at_every_step(name, fused):
    layer = getattr(nn, name)(5, 4, num_layers=2, bidirectional=True)
    steps, images = 3, 2
    matrices = RECURRENT[name] * 4 * 2 * ((5 + 4) + (8 + 4))
    given = torch.zeros(steps, images, 5)
    with torch.backends.mkldnn.flags(enabled=fused, allow_tf32=None):
        assert count(layer, given).macs == matrices * steps * images
        assert multiply_adds(layer, given) == matrices * steps * images


PRODUCTS = {
    "mv": lambda x: x[0, 0] @ x[0, 0, 0],
    "dot": lambda x: torch.dot(x[0, 0, 0], x[0, 0, 1]),
    "inner": lambda x: torch.inner(x[0, 0], x[0, 1]),
    "matmul": lambda x: x @ x[0],
    "tensordot": lambda x: torch.tensordot(x[0], x[0], dims=([0, 2], [0, 1])),
    "addbmm": lambda x: torch.addbmm(x[0, 0], x[0], x[0]),
    "baddbmm": lambda x: torch.baddbmm(x[0], x[0], x[0]),
    "addmv": lambda x: torch.addmv(x[0, 0, 0], x[0, 0], x[0, 0, 0]),
    "multi_dot": lambda x: torch.linalg.multi_dot([x[0, 0, :2], x[0, 0], x[0, 0], x[0, 0, :, :9]]),
    "einsum": lambda x: torch.einsum("bchw, bdhw -> bcd", x, x[:, :3]),
    "bilinear": lambda x: nn.functional.bilinear(x, x, torch.ones(5, 62, 62)),
    "transposed": lambda x: nn.functional.conv_transpose2d(x, torch.ones(8, 2, 3, 3), groups=4),
    "same": lambda x: nn.functional.conv2d(x, torch.ones(8, 4, 3, 3), padding="same", groups=2),
    "deformable": lambda x: deform_conv2d(x, torch.zeros(1, 18, 60, 60), torch.ones(8, 4, 3, 3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_cost_what_torchs_counter_says(name):
    network = Computed(PRODUCTS[name])
    found = count(network, IMAGE)
    assert found.note is None
    assert found.macs == multiply_adds(network, IMAGE) > LAYER


def test_a_parameter_that_a_module_is_called_with_stays_trainable():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.layer = nn.Parameter(torch.zeros(4, 12)), nn.Linear(12, 5)

        def forward(self, x):
            return self.layer(self.token) + x.mean()

    network = Token()
    assert multiply_adds(network, IMAGE) == 4 * 12 * 5
    assert network.token.requires_grad


def test_counting_leaves_the_network_in_its_mode():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    count(network, IMAGE)
    assert all(module.training for module in network.modules())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *(("mobilenet_v3_small", scheme) for scheme in SCHEMES),
        ("resnet18", "spatial"),
        ("densenet121", "channel"),
        ("googlenet", "decoupled"),
    ],
)
def test_the_speedup_agrees_with_torchs_own_counter(name, scheme):
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, **extra)
    cut = decompose(network, IMAGE, scheme=scheme, keep=Energy(0.4))
    ours = count(network, IMAGE).macs / count(cut.network, IMAGE).macs
    theirs = by_torch(network, IMAGE) / by_torch(cut.network, IMAGE)
    assert ours == pytest.approx(theirs, rel=0.01)
    saved = sum(layer.dense_macs - layer.macs for layer in cut.layers)
    assert count(network, IMAGE).macs - saved == count(cut.network, IMAGE).macs


def test_attention_is_counted():
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
    network = torchvision.models.VisionTransformer(image_size=64, patch_size=16, **sizes)
    found = count(network, IMAGE)
    assert found.note is None
    assert found.macs == by_torch(network, IMAGE)


def test_counts_that_differ_by_over_a_hundredth_are_told():
    class Traced(nn.Sequential):
        """Twice as cheap in a graph."""

        def forward(self, x):
            found = super().forward(x)
            return found if torch.jit.is_tracing() else found + super().forward(x)

    found = count(Traced(nn.Conv2d(3, 8, 3)), IMAGE)
    assert found.macs == LAYER
    assert found.note == f"by fvcore, where torch's counter has {2 * LAYER:,}"
