"""Device and precision: chosen, named, refused, and safe where AMX is not what it says."""

from __future__ import annotations

import os

import pytest
import torch

from sam2_backbone import device


def test_names_are_resolved_and_unknown_ones_refused() -> None:
    assert device.resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="unknown device 'abacus'"):
        device.resolve_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no cuda device; use device='auto'"):
            device.resolve_device("cuda")
    cpu = torch.device("cpu")
    assert device.resolve_dtype("float32", cpu) is torch.float32
    assert device.resolve_dtype(torch.float16, cpu) is torch.float16
    for wrong in ("int8", "no such"):
        with pytest.raises(TypeError, match="dtype must be"):
            device.resolve_dtype(wrong, cpu)


@pytest.mark.parametrize(
    ("flags", "works", "native", "limited"),
    [
        ({"avx2"}, True, False, False),
        ({"avx512_bf16"}, True, True, False),
        ({"avx512_bf16", "amx_bf16"}, True, True, False),
        ({"avx512_bf16", "amx_bf16"}, False, True, True),
    ],
)
def test_amx_that_does_not_work_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], works: bool, native: bool, limited: bool
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(device, "_amx_works", lambda: works)
    assert device.has_native_bfloat16(torch.device("cpu")) is native
    assert (os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX512_CORE_BF16") is limited
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
