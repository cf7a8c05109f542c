"""Second moments of what each kind of layer reads, against responses of the layer itself."""

import copy
import itertools

import pytest
import torch
from torch import nn

from tests.lowrank.test_kernels import FACTORABLE, network_of
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.kernels import is_adjoint, kernel, shape_of
from trp_search.lowrank.moments import collect
from trp_search.lowrank.schemes import SCHEMES

# Axes of a kernel, height and width, that the first layer in its place reads at once.
READ_AT_ONCE = {"channel": (True, True), "spatial": (True, False), "decoupled": (False, False)}


def cells(layer, scheme):
    """Parts of a weight whose responses the scheme's first layer keeps apart, and how many taps
    of each input it does not tell from one another."""
    adjoint = is_adjoint(layer)
    weight = layer.weight
    height, width = ((not one) != adjoint for one in READ_AT_ONCE[scheme])
    taps = weight.shape[2:]
    apart = [height, *[width] * (len(taps) - 1)][: len(taps)]
    along = [range(size) if one else [slice(None)] for one, size in zip(apart, taps, strict=True)]
    by_input = scheme == "decoupled" and adjoint
    first = range(len(weight)) if by_input else [slice(None)]
    alike = torch.Size(size for one, size in zip(apart, taps, strict=True) if one).numel()
    return [(one, slice(None), *tap) for one, *tap in itertools.product(first, *along)], alike


@pytest.mark.parametrize(("kind", "scheme"), FACTORABLE)
def test_moments_weight_a_kernel_by_the_squares_of_its_responses(kind, scheme):
    network, inputs = network_of(kind)
    (layer,) = network
    parts, alike = cells(layer, scheme)
    with torch.no_grad():
        # Taps that land on single pixels share one matrix: with equal weights nothing is averaged.
        for dim in range(2, layer.weight.dim()):
            if isinstance(parts[0][dim], int):
                layer.weight[:] = layer.weight.mean(dim, keepdim=True)
    found = collect(network, [inputs], {"0": (layer, [SCHEMES[scheme]])})["0", scheme]
    moments = found.matrix.reshape(-1, *found.matrix.shape[-2:])
    if not found.of_outputs:
        matrices = SCHEMES[scheme].unfolded(kernel(layer), shape_of(layer)).double()
        if SCHEMES[scheme].reads_rows != is_adjoint(layer):
            matrices = matrices.mT
        moments = moments.repeat_interleave(len(matrices) // len(moments), 0)
        moments = matrices @ moments @ matrices.mT / alike
    responses = 0.0
    alone = nn.Sequential(copy.deepcopy(layer))
    with torch.no_grad():
        alone[0].register_parameter("bias", None)
        for part in parts:
            alone[0].weight.zero_()
            alone[0].weight[part] = layer.weight[part]
            responses += alone(inputs).double().square().sum()
    assert moments.diagonal(dim1=1, dim2=2).sum().item() == pytest.approx(responses.item())


# The first layer of a transposed decoupled pair reads every channel by itself: no mixing is seen.
MIXING = [(kind, one) for kind, one in FACTORABLE if one != "decoupled" or "transposed" not in kind]


@pytest.mark.parametrize(("kind", "scheme"), MIXING)
def test_a_calibrated_pair_answers_better_where_inputs_are_far_from_white(kind, scheme):
    network, inputs = network_of(kind)
    torch.manual_seed(0)
    channels = -1 if kind == "linear" else 1
    mixing = torch.randn(inputs.shape[channels], 2)
    inputs = torch.randn(40, *inputs.shape[1:]).movedim(channels, -1)
    inputs = (inputs @ mixing @ mixing.mT).movedim(-1, channels)
    rank = max(1, SCHEMES[scheme].full_ranks(shape_of(network[0]))[0] // 2)
    aware, blind = (
        decompose(network, inputs, {"0": rank}, scheme=scheme, calibration=calibration)
        for calibration in ([inputs], None)
    )
    lost = [(one.network(inputs) - network(inputs)).square().sum() for one in (aware, blind)]
    assert lost[0] < lost[1]
