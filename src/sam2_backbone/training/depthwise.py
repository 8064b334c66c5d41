"""Depthwise convolutions whose backward pass is fast on CPUs in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional


class _DepthwiseConv(torch.autograd.Function):
    """A depthwise convolution that computes its gradients in float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(
            x, weight.to(x.dtype), None, stride, padding, groups=weight.shape[0]
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_input, to_weight, _ = torch.ops.aten.convolution_backward(
            gradients[0].float(),
            x.float(),
            weight.float(),
            None,
            ctx.stride,
            ctx.padding,
            (1, 1),
            False,
            (0, 0),
            weight.shape[0],
            (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False),
        )
        return None if to_input is None else to_input.to(x.dtype), to_weight, None, None


class _Fast:
    """Takes the place of a convolution's `forward`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.plain = conv.forward

    def __call__(self, x: Tensor) -> Tensor:
        conv = self.conv
        autocast = torch.is_autocast_enabled("cpu")
        if not (conv.training and autocast and x.device.type == "cpu" and x.requires_grad):
            return self.plain(x)
        x = x.to(torch.get_autocast_dtype("cpu"))
        padding = conv.padding
        if isinstance(conv, Conv2dSame):
            x, padding = pad_same(x, list(conv.kernel_size), list(conv.stride)), (0, 0)
        out: Tensor = _DepthwiseConv.apply(x, conv.weight, conv.stride, padding)
        return out


def differentiate_depthwise_in_float32(network: nn.Module) -> None:
    """Let depthwise convolutions take their gradients in float32 while they train on a CPU.

    In bfloat16 oneDNN differentiates a depthwise convolution with a 5x5 kernel or stride 2 up to
    sixty times more slowly than in float32. Gradients agree to bfloat16's rounding; parameters
    and their names stay.
    """
    for conv in network.modules():
        if not isinstance(conv, nn.Conv2d) or conv.bias is not None:
            continue
        slow = conv.kernel_size != (3, 3) or conv.stride != (1, 1)
        if slow and conv.groups == conv.in_channels > 1:
            conv.forward = _Fast(conv)  # type: ignore[method-assign,assignment]
