"""Where a training step runs: one device, or several processes through Accelerate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sam2_backbone.device import resolve_device


class Engine(Protocol):
    """What the trainer asks of the devices."""

    device: torch.device
    rank: int

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move a module to the device; with several, gradients are averaged between them."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        ...

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
        """Limit the norm of the gradients; returns the norm before."""
        ...

    def agree(self, value: float) -> float:
        """Return the first process's value, so that all processes decide alike."""
        ...


class OneDevice:
    """Trains in this process alone."""

    rank = 0

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.device = resolve_device(device)

    def prepare(self, module: nn.Module) -> nn.Module:
        return module.to(self.device)

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, largest)

    def agree(self, value: float) -> float:
        return value


class SeveralDevices:
    """Trains in the processes that `accelerate launch` or `torchrun` has started."""

    def __init__(self, device: str | torch.device = "auto") -> None:
        try:
            from accelerate import Accelerator
            from accelerate.utils import DistributedDataParallelKwargs, broadcast
        except ImportError as error:
            raise ValueError(
                "training on several devices needs Accelerate: pip install 'napari-sam2[train]'"
            ) from error
        # a step without clips leaves the memory's weights without a gradient
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        chosen = None if device == "auto" else torch.device(device).type
        on_cpu = chosen == "cpu" or (chosen is None and not torch.cuda.is_available())
        self._broadcast = broadcast
        self._accelerator: Any = Accelerator(
            mixed_precision="no",  # the step chooses its own precision
            cpu=on_cpu,
            kwargs_handlers=[unused],
        )
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index

    def prepare(self, module: nn.Module) -> nn.Module:
        prepared: nn.Module = self._accelerator.prepare(module)
        return prepared

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
        norm: Tensor = self._accelerator.clip_grad_norm_(parameters, largest)
        return norm

    def agree(self, value: float) -> float:
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        return float(self._broadcast(told, from_process=0))


def choose_engine(device: str | torch.device = "auto") -> Engine:
    """Return the engine that this process was started for."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return SeveralDevices(device)
    return OneDevice(device)
