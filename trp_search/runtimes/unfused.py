"""Torch's transformer encoders without their fused path, whose conditions no tracer can follow."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from typing_extensions import override


@final
class _Encoder(nn.TransformerEncoder):
    @override
    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return src if self.norm is None else self.norm(src)


@final
class _EncoderLayer(nn.TransformerEncoderLayer):
    @override
    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        masks = src_mask, src_key_padding_mask, is_causal
        if self.norm_first:
            src = src + self._sa_block(self.norm1(src), *masks)
            return src + self._ff_block(self.norm2(src))
        src = self.norm1(src + self._sa_block(src, *masks))
        found: Tensor = self.norm2(src + self._ff_block(src))
        return found


def unfuse_(network: nn.Module) -> None:
    """Gives the encoders of a network, in place, a forward pass that calls their layers."""
    for module in network.modules():
        if type(module) is nn.TransformerEncoder:
            module.__class__ = _Encoder
        elif type(module) is nn.TransformerEncoderLayer:
            module.__class__ = _EncoderLayer
