"""What this installation consists of, for a person to read or to paste into a report."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from napari_sam2.session.model_hub import file_sha256
from sam2_backbone.native import load_triton_apart

_PACKAGES = (
    "napari-sam2", "torch", "timm", "numpy", "zarr", "tifffile", "napari", "npe2", "qtpy",
)  # fmt: skip
#: Asked in a process of its own: without a display Qt ends the process that asks.
_WINDOW_PROBE = """
import qtpy
print("Qt binding:", qtpy.API_NAME, qtpy.QT_VERSION, flush=True)
from napari.utils import sys_info
print(sys_info())
"""
_WINDOW_LINES = ("Qt binding:", "- GL version", "- MAX_TEXTURE", "- screen")
_PROBE_SECONDS = 120


def report(variant: str | None = None, device: str = "auto") -> Iterator[str]:
    """Yield the lines of the report; of one network only, or with a device asked for."""
    yield f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    for name in _PACKAGES:
        yield f"  {name:12} {_version(name)}"
    yield from _devices(device)
    yield from _models(variant)
    yield from _window()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def computing(asked: str) -> Iterator[str]:
    """Yield on which device and in which precision is computed, and why."""
    load_triton_apart()
    import torch

    from sam2_backbone.device import has_native_bfloat16, resolve_device, resolve_dtype

    try:
        device = resolve_device(asked)
    except ValueError as error:
        yield f"  chosen: none, {error}"
        return
    dtype = str(resolve_dtype("auto", device)).removeprefix("torch.")
    native = "computes" if has_native_bfloat16(device) else "does not compute"
    why = "the first of cuda, mps and cpu that is here" if asked == "auto" else "as asked for"
    yield f"  chosen: {device}, {why}"
    yield f"  dtype:  {dtype}, because this {device.type} {native} bfloat16 natively"
    yield f"  torch threads: {torch.get_num_threads()}"


def _devices(asked: str) -> Iterator[str]:
    import torch

    names = ["cpu"]
    names += [
        f"cuda:{index} ({torch.cuda.get_device_name(index)})"
        for index in range(torch.cuda.device_count())
    ]
    names += ["mps"] if torch.backends.mps.is_available() else []
    yield f"Devices: {', '.join(names)}"
    yield from computing(asked)


def _models(asked: str | None) -> Iterator[str]:
    from sam2_backbone.build import default_weights
    from sam2_backbone.download import cache_folder
    from sam2_backbone.variants import VARIANTS, EmbeddedWeights

    folder = cache_folder()
    yield f"Model files: {folder}" + ("" if folder.is_dir() else " (not there yet)")
    for name in [asked] if asked else VARIANTS:
        variant = VARIANTS[name]
        is_embedded = isinstance(variant.weights, EmbeddedWeights)
        path = default_weights(name) if is_embedded else folder / variant.weights.file_name
        found = file_sha256(path)
        if found is None:
            state = "missing from this installation" if is_embedded else "not downloaded"
        elif isinstance(variant.weights, EmbeddedWeights):
            state = f"embedded, SHA-256 {found}"
        elif found == variant.weights.sha256:
            state = f"SHA-256 {found}, right"
        else:
            state = f"SHA-256 {found}, WRONG: delete {path}"
        yield f"  {name:24} {state}"


def _window() -> Iterator[str]:
    yield "Window:"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WINDOW_PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield f"  napari did not answer within {_PROBE_SECONDS} s"
        return
    lines = [line.strip() for line in done.stdout.splitlines()]
    found = [line for line in lines if line.startswith(_WINDOW_LINES)]
    for line in found:
        yield f"  {line.removeprefix('- ')}"
    if done.returncode:
        reasons = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = reasons[0].removeprefix("WARNING: ") if reasons else "no reason given"
        yield f"  no window can be opened here: {reason}"
