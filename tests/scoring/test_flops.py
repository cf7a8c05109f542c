import pytest
import torch
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

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


def test_an_operator_that_no_table_knows_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x)

    assert count(Odd(), IMAGE).unknown == ("aten::fft_fft",)
    lstm = nn.LSTM(4, 4)
    assert "aten::lstm" in count(lstm, torch.zeros(3, 1, 4)).unknown


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
    assert found.unknown == ()
    assert found.macs == by_torch(network, IMAGE)
