"""What every test starts from: few threads, a cache of its own, fixed seeds, a screen or a skip."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

# Before torch, NumPy or Qt are imported by any test.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("QT_API", "pyqt6")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

GUI_FOLDERS = ("widgets", "integration")


def _has_screen() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return shutil.which("Xvfb") is not None  # pytest-xvfb starts it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    skip_gui = pytest.mark.skip(reason="no screen and no Xvfb")
    has_screen = _has_screen()
    has_gpu: bool | None = None
    for item in items:
        parts = item.path.relative_to(root).parts if item.path.is_relative_to(root) else ()
        if parts and parts[0] in GUI_FOLDERS:
            item.add_marker("gui")
        if parts and parts[0] == "parity":
            item.add_marker("parity")
        if not has_screen and item.get_closest_marker("gui"):
            item.add_marker(skip_gui)
        if item.get_closest_marker("gpu"):
            if has_gpu is None:
                import torch

                has_gpu = torch.cuda.is_available()
            if not has_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the cache folder of the person who runs it."""
    monkeypatch.setenv("NAPARI_SAM2_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def kept_settings(plugin_settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of plugins, fresh, in a folder where napari's own lie too; returns the folder."""
    from napari_sam2.widgets import preferences

    class Own:
        config_path = tmp_path / "settings.yaml"

    monkeypatch.setattr(preferences, "get_settings", Own)
    return tmp_path


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """The same random numbers in every test, whatever ran before; torch only where it is in use."""
    np.random.seed(0)  # noqa: NPY002 (library code under test may use the old generator)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
