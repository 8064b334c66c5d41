"""Device and precision: chosen, named, refused, and safe where AMX is not what it says."""

from __future__ import annotations

import os
import subprocess

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
    ("flags", "works", "native"),
    [
        ({"avx2"}, True, False),
        ({"avx512_bf16"}, True, True),
        ({"avx512_bf16", "amx_bf16"}, True, True),
        ({"avx512_bf16", "amx_bf16"}, False, False),
    ],
)
def test_bfloat16_is_chosen_where_it_works(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], works: bool, native: bool
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(device, "_amx_works", lambda: works)
    cpu = torch.device("cpu")
    assert device.has_native_bfloat16(cpu) is native
    assert device.resolve_dtype("auto", cpu) is (torch.bfloat16 if native else torch.float32)
    # asked for by name, AMX is switched off where it is broken
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "x")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert device.resolve_dtype("bfloat16", cpu) is torch.bfloat16
    assert ("ONEDNN_MAX_CPU_ISA" in os.environ) is not works


def test_amx_is_tried_once_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        tried.append(command)
        return subprocess.CompletedProcess(command, -4)

    monkeypatch.setattr(device.subprocess, "run", run)
    for _ in range(2):
        assert device._amx_works.__wrapped__() is False
    assert len(tried) == 1
