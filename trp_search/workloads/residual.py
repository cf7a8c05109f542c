"""Residual networks for small images (He et al., arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override


@final
class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.added = outputs - inputs

    @override
    def forward(self, images: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(images)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + self._shortcut(images))

    def _shortcut(self, images: Tensor) -> Tensor:
        if self.stride > 1:
            images = images[:, :, :: self.stride, :: self.stride]
        if self.added:
            before = self.added // 2
            images = functional.pad(images, (0, 0, 0, 0, before, self.added - before))
        return images


@final
class ResidualNetwork(nn.Module):
    """6n + 2 layers: a 3x3 convolution, three stages of n basic blocks, a linear layer.

    Args:
        channels: of the images.
        classes: length of the output.
        blocks: n.
        widths: channels of each stage; every stage but the first halves height and width.
    """

    def __init__(
        self, *, channels: int, classes: int, blocks: int, widths: tuple[int, ...] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = (widths[0], *widths)
        self.stages = nn.Sequential(
            *(
                _stage(inputs, outputs, blocks=blocks, stride=1 if stage == 0 else 2)
                for stage, (inputs, outputs) in enumerate(zip(before, widths, strict=False))
            )
        )
        self.fc = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @override
    def forward(self, images: Tensor) -> Tensor:
        out = self.stages(functional.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.fc(functional.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


def _stage(inputs: int, outputs: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride=stride)
    return nn.Sequential(
        first, *(BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
    )
