import pytest
import torch
import torchvision.models
from torch import nn

from trp_search.errors import InputError
from trp_search.training.checkpoint import (
    Progress,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_weights,
)
from trp_search.workloads.state import versioned


def trained(steps=3, layout=torch.contiguous_format):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    network = network.to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(5, 2, 4, 4)).square().mean().backward()
        optimizer.step()
    return network, optimizer


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_checkpoint_brings_back_weights_statistics_and_momentum(tmp_path, layout):
    network, optimizer = trained(layout=layout)
    progress = Progress(epoch=2, iteration=7, seconds=1.5)
    save_checkpoint(tmp_path / "c", network, optimizer, progress)
    other, other_optimizer = trained(steps=0, layout=layout)
    assert load_checkpoint(tmp_path / "c", other, other_optimizer) == progress
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        buffer = optimizer.state[mine]["momentum_buffer"]
        again = other_optimizer.state[theirs]["momentum_buffer"]
        assert torch.equal(buffer, again)
        assert buffer.stride() == again.stride()


def test_a_checkpoint_of_another_network_is_one_line(tmp_path):
    save_checkpoint(tmp_path / "c", *trained(), Progress())
    other = nn.Sequential(nn.Conv2d(2, 5, 3))
    with pytest.raises(InputError, match=r"c: not this network's weights: Unexpected") as caught:
        load_checkpoint(tmp_path / "c", other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert "\n" not in str(caught.value)


def test_tied_weights_can_be_kept(tmp_path):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    save_weights(tmp_path / "w", network)
    load_tensors(network, tmp_path / "w")


def test_missing_truncated_and_foreign_weights_are_one_line_each(tmp_path):
    network, _ = trained(steps=0)
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no such file of weights"):
        load_tensors(network, path)
    save_weights(path, network)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_tensors(network, path)
    save_weights(path, nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(InputError, match="not this network's weights") as caught:
        load_tensors(network, path)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    network, optimizer = trained()
    path = tmp_path / "c"
    save_checkpoint(path, network, optimizer, Progress(epoch=1))
    before = path.read_bytes()

    def torn(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("trp_search.training.checkpoint.save_file", torn)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, network, optimizer, Progress(epoch=2))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


def test_a_class_that_asks_for_a_version_is_loaded(tmp_path):
    made = [torchvision.models.mnasnet0_5(num_classes=3) for _ in range(2)]
    save_weights(tmp_path / "w.safetensors", made[0])
    load_tensors(made[1], tmp_path / "w.safetensors")
    assert all(
        torch.equal(*pair) for pair in zip(*(x.state_dict().values() for x in made), strict=True)
    )
    bare = {k: v for k, v in made[0].state_dict().items() if "num_batches" not in k}
    made[1].load_state_dict(versioned(made[1], bare))  # of PyTorch before 0.4.1
