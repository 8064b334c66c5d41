"""Where and in which precision to compute."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from sam2_backbone.download import cache_folder

# a small bfloat16 product: the kernels that break first where AMX is advertised but unusable
_BFLOAT16_PROBE = "import torch; a = torch.ones(64, 64, dtype=torch.bfloat16); a @ a"
_ONEDNN_LIMIT = "ONEDNN_MAX_CPU_ISA"


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto" or a name into a device; "auto" takes cuda, then mps, then the CPU.

    Raises
    ------
    ValueError
        If the name is unknown or this machine does not have the device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda' or 'mps'"
        ) from error
    missing = (resolved.type == "cuda" and torch.cuda.device_count() <= (resolved.index or 0)) or (
        resolved.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ValueError(f"this machine has no {resolved} device; use device='auto'")
    return resolved


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turn "auto" or a name into a floating dtype; "auto" is bfloat16 where it is native.

    Raises
    ------
    TypeError
        If it is not a floating dtype.
    """
    if dtype == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(resolved, torch.dtype) or not resolved.is_floating_point:
        raise TypeError(f"dtype must be 'auto', 'float32', 'bfloat16' or 'float16', not {dtype!r}")
    if resolved is torch.bfloat16 and device.type == "cpu" and not _amx_is_safe():
        # read by oneDNN at its first operation: this helps if none has run yet
        os.environ.setdefault(_ONEDNN_LIMIT, "AVX512_CORE_BF16")
    return resolved


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, and that hardware works.

    Some virtual machines advertise AMX but hide its tile palette, and oneDNN's first matrix product
    then ends the process. So AMX is tried once, in a process of its own; where it fails, float32 is
    the safe choice: oneDNN can no longer be told if it has run before.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    flags = _cpu_flags()
    if "amx_bf16" in flags:
        return _amx_is_safe()
    return "avx512_bf16" in flags


def _amx_is_safe() -> bool:
    """Whether bfloat16 products will not end this process."""
    return "amx_bf16" not in _cpu_flags() or _ONEDNN_LIMIT in os.environ or _amx_works()


@cache
def _cpu_flags() -> frozenset[str]:
    if platform.system() != "Linux":
        return frozenset()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.split())
    return frozenset()


@cache
def _amx_works() -> bool:
    """Try a product, once for this machine and torch; the answer is kept in the cache folder."""
    machine = f"{platform.node()} {torch.__version__} {sorted(_cpu_flags())}"
    name = f"amx-{hashlib.sha256(machine.encode()).hexdigest()[:16]}"
    known = cache_folder() / name
    try:
        return known.read_text() == "works"
    except OSError:
        pass
    probe = subprocess.run(
        [sys.executable, "-c", _BFLOAT16_PROBE], capture_output=True, check=False
    )
    works = probe.returncode == 0
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text("works" if works else "broken")
    except OSError:
        pass  # without a cache it is tried again next time
    return works
