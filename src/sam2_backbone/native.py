"""Which native libraries must be loaded with care before torch; imports no torch."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_LOADED_LIBRARIES = Path("/proc/self/maps")


def load_triton_apart() -> None:
    """Give triton its own LLVM where the process holds another one already.

    Mesa's software OpenGL, which draws napari's window on machines without a graphics driver,
    brings a shared LLVM. Triton, which torchvision imports by way of torch, has another one inside
    and exports its symbols; loaded later, it binds to Mesa's and the process dies of a segmentation
    fault. `RTLD_DEEPBIND` makes it look among its own symbols first.
    """
    if "triton" in sys.modules or not _has_shared_llvm():
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton")
    except ImportError:
        pass  # not installed, so nothing can clash
    finally:
        sys.setdlopenflags(flags)


def _has_shared_llvm() -> bool:
    if not hasattr(os, "RTLD_DEEPBIND"):
        return False
    try:
        return "libLLVM" in _LOADED_LIBRARIES.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
