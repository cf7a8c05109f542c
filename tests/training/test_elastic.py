import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search import Speedup, decompose
from trp_search.errors import InputError
from trp_search.lowrank.nested import check_products, factors_of
from trp_search.lowrank.schemes import SCHEMES
from trp_search.training.checkpoint import load_nested, save_nested
from trp_search.training.elastic import ElasticTraining

EXAMPLE = torch.zeros(1, 3, 8, 8)


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def attention():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.Flatten(2), Swap(), layer)


class Swap(nn.Module):
    def forward(self, given):
        return given.mT


def batch(number):
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    return images, torch.randint(5, (6,), generator=generator)


def passes(cleared, network, number):
    images, labels = batch(number)
    cleared.zero_grad()
    loss = functional.cross_entropy(network(images).flatten(1), labels)
    loss.backward()
    return loss


def train(network, elastic, steps, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(
        [*network.parameters(), *elastic.parameters()], lr=0.05, momentum=0.9, weight_decay=1e-3
    )
    for number in range(elastic.iteration, elastic.iteration + steps):
        elastic.backward(lambda number=number: passes(optimizer, network, number))
        optimizer.step()
    return network


def elastic_for(network, **options):
    return ElasticTraining(network, EXAMPLE, **{"layers": "all", "highest": 3.0, **options})


@pytest.mark.parametrize("scheme", ["channel", "spatial", "decoupled"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_full_factors_are_the_network_they_begin_with(scheme, calibrated):
    network, before = small(), small()
    images = [batch(0)[0]] if calibrated else None
    elastic = elastic_for(network, scheme=scheme, lowest=1.1, highest=1.3, calibration=images)
    elastic.finish()
    for own, other in zip(network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    check_products(network, factors_of(network))


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_the_gradient_is_that_of_the_products(scheme):
    network = small()
    elastic = elastic_for(network, scheme=scheme, draws=2)
    seen = []

    def watched():
        seen.append({n: p.detach().clone() for n, p in network.named_parameters()})
        return passes(network, network, 0)

    elastic.backward(watched)
    found = [p.grad.clone() for p in elastic.parameters()]
    bias = network[0].bias.grad.clone()
    factors = {name: copy.deepcopy(f) for name, f in _factors(elastic, network).items()}
    wanted, biases = {}, []
    for weights in seen:
        again = small()
        again.load_state_dict(
            weights | {k: v for k, v in again.state_dict().items() if k not in weights}
        )
        passes(again, again, 0)
        biases.append(again[0].bias.grad)
        for name, one in factors.items():
            module = again.get_submodule(name)
            shape = (
                module.weight.shape if module.weight.dim() == 4 else (*module.weight.shape, 1, 1)
            )
            groups = getattr(module, "groups", 1)
            size = (shape[0] // groups, *shape[1:])
            of = SCHEMES[scheme]
            seen_now = of.unfolded(module.weight.detach(), size)
            rank = _rank(seen_now, one)
            gradient = of.unfolded(module.weight.grad, size) / len(seen)
            left, right = one.left[:, :, :rank], one.right[:, :rank]
            into = wanted.setdefault(
                name, [torch.zeros_like(one.left), torch.zeros_like(one.right)]
            )
            into[0][:, :, :rank] += gradient @ right.mT
            into[1][:, :rank] += left.mT @ gradient
    torch.testing.assert_close(bias, sum(biases) / len(biases))
    given = iter(found)
    for names in _stacked(elastic):
        for side in (0, 1):
            expected = torch.cat([wanted[name][side] for name in names])
            torch.testing.assert_close(next(given), expected, rtol=1e-4, atol=1e-6)


def _factors(elastic, network):
    held = copy.deepcopy(network.state_dict())
    elastic.finish()
    found = dict(factors_of(network))
    network.load_state_dict(held)
    return found


def _stacked(elastic):
    return [[weight.name for weight in group.weights] for group in elastic._weights.found()]


def _rank(matrices, factors):
    """The number of leading factors whose product a weight is."""
    width = factors.left.shape[-1]
    close = [
        r
        for r in range(1, width + 1)
        if torch.allclose(factors.left[:, :, :r] @ factors.right[:, :r], matrices, atol=1e-5)
    ]
    assert close, "a weight is no product of leading factors"
    return close[0]


def test_budgets_and_ranks_differ_from_step_to_step():
    network = small()
    elastic = elastic_for(network)
    drawn = [tuple(map(tuple, (p.tolist() for p in elastic._drawn())))]
    train(network, elastic, 1)
    drawn.append(tuple(map(tuple, (p.tolist() for p in elastic._drawn()))))
    assert drawn[0] != drawn[1]
    assert len(set(drawn[0])) == 2


@pytest.mark.parametrize("scheme", ["channel", "spatial", "decoupled"])
def test_the_leading_factors_begin_as_the_best_ones_of_their_rank(scheme):
    network = nn.Sequential(small(), nn.Linear(5, 40))
    ElasticTraining(network, EXAMPLE, scheme=scheme, lowest=1.1, highest=1.2, layers="all").finish()
    factors = factors_of(network)
    assert factors
    for one in factors.values():
        whole = one.matrices
        for rank in range(len(one.squares) + 1):
            left, right = one.factors(rank)
            lost = float(((whole - left @ right) ** 2).sum())
            assert lost == pytest.approx(float(one.squares[rank:].sum()), rel=1e-3, abs=1e-5)


def test_what_is_cut_is_the_network_of_the_leading_factors():
    network = small()
    elastic = elastic_for(network)
    train(network, elastic, 5)
    elastic.finish()
    factors = factors_of(network)
    cut = decompose(network, EXAMPLE, Speedup(2.0), scheme="nested", layers="all")
    assert cut.speedup >= 2.0
    taken = [layer for layer in cut.layers if layer.rank is not None]
    assert taken
    for layer in taken:
        first, last = cut.network.get_submodule(layer.name)
        wanted = (
            SCHEMES["spatial"].factors(
                *factors[layer.name].factors(layer.rank), _shape(network, layer.name)
            )
            if network.get_submodule(layer.name).weight.dim() == 4
            and getattr(network.get_submodule(layer.name), "groups", 1) == 1
            else None
        )
        if wanted is not None:
            torch.testing.assert_close(first.weight, wanted[0])
            torch.testing.assert_close(last.weight, wanted[1])
    dense = decompose(
        network, EXAMPLE, {name: f.left.shape[-1] for name, f in factors.items()}, scheme="nested"
    )
    images = batch(1)[0]
    torch.testing.assert_close(
        dense.network.eval()(images), network.eval()(images), rtol=1e-3, atol=1e-4
    )


def _shape(network, name):
    return tuple(network.get_submodule(name).weight.shape)


def test_training_goes_on_bit_for_bit_whatever_network_it_goes_on_with(tmp_path):
    whole = train(*(pair := (n := small(), elastic_for(n))), 6)
    first = small()
    elastic = elastic_for(first)
    optimizer = torch.optim.SGD(
        [*first.parameters(), *elastic.parameters()], lr=0.05, momentum=0.9, weight_decay=1e-3
    )
    train(first, elastic, 3, optimizer)
    second = small(1)
    again = elastic_for(second)
    other = torch.optim.SGD([*second.parameters(), *again.parameters()], lr=0.1)
    path = tmp_path / "state.pt"
    torch.save([part.state_dict() for part in (first, optimizer, elastic)], path)
    for part, state in zip((second, other, again), torch.load(path), strict=True):
        part.load_state_dict(state)
    train(second, again, 3, other)
    pair[1].finish()
    again.finish()
    for own, given in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(own, given)


def test_the_state_of_another_network_is_refused():
    elastic, other = elastic_for(small()), elastic_for(small(), scheme="channel")
    with pytest.raises(InputError, match="of another network, scheme, layers or range"):
        elastic.load_state_dict(other.state_dict())
    with pytest.raises(InputError, match="factors of none, here"):
        elastic.load_state_dict({"iteration": 3})


def test_factors_that_no_optimiser_was_given_are_told():
    network = small()
    elastic = elastic_for(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    train(network, elastic, 3)
    elastic.load_state_dict(elastic.state_dict())
    with pytest.raises(InputError, match="as they were 20 steps ago: give `parameters"):
        train(network, elastic, 21, optimizer)


def test_factors_of_weights_that_have_changed_since_are_not_cut():
    network = small()
    elastic = elastic_for(network)
    train(network, elastic, 2)
    elastic.finish()
    rounded = copy.deepcopy(network).bfloat16()
    decompose(rounded, EXAMPLE.bfloat16(), Speedup(2), scheme="nested")
    decompose(rounded.float(), EXAMPLE, Speedup(2), scheme="nested")
    with torch.no_grad():
        network[0].weight.mul_(1.004)
    with pytest.raises(InputError, match="scheme nested: layer '0': its weight is not the product"):
        decompose(network, EXAMPLE, Speedup(2), scheme="nested")


def test_factors_are_stored_and_refused_with_other_weights(tmp_path):
    network = small()
    elastic = elastic_for(network)
    train(network, elastic, 2)
    elastic.finish()
    save_nested(tmp_path / "nested.safetensors", network)
    again = small()
    again.load_state_dict(network.state_dict())
    load_nested(again, tmp_path / "nested.safetensors")
    for name, found in factors_of(again).items():
        assert torch.equal(found.left, factors_of(network)[name].left)
    with pytest.raises(InputError, match="not the product of its nested factors"):
        load_nested(small(1), tmp_path / "nested.safetensors")


def test_attention_is_elastic_too():
    network = attention()
    elastic = ElasticTraining(
        network, EXAMPLE, scheme="channel", lowest=1.2, highest=1.5, layers="all"
    )
    train(network, elastic, 2)
    elastic.finish()
    cut = decompose(network, EXAMPLE, Speedup(1.3), scheme="nested", layers="all")
    assert cut.speedup >= 1.3
    assert any(name.endswith(".q") for name in factors_of(network))


def test_a_network_without_factors_is_refused_in_one_line():
    with pytest.raises(InputError, match="no nested factors"):
        decompose(small(), EXAMPLE, Speedup(2.0), scheme="nested")


@pytest.mark.parametrize(
    ("part", "shape", "said"),
    [
        ("left", (1, 9000, 1), "of other shapes"),
        ("right", (1, 1, 9000), "of other shapes"),
        ("squares", (1,), "of other shapes"),
        ("squares", None, "no finite importance"),
    ],
)
@pytest.mark.parametrize("made", [small, attention])
def test_factors_that_do_not_fit_are_refused_before_they_are_multiplied(part, shape, said, made):
    network = made()
    options = {"scheme": "channel", "lowest": 1.2, "highest": 1.5, "layers": "all"}
    elastic = ElasticTraining(network, EXAMPLE, **options)
    elastic.finish()
    factors = dict(factors_of(network))
    name = sorted(factors)[-1]
    own = getattr(factors[name], part)
    wrong = torch.zeros(shape) if shape else torch.full_like(own, torch.nan)
    factors[name] = dataclasses.replace(factors[name], **{part: wrong})
    check_products(network, factors_of(network))
    with pytest.raises(InputError, match=said):
        check_products(network, factors)
    with pytest.raises(InputError, match="none of that name"):
        check_products(network, {"elsewhere": factors[name]})
