"""Automatic segmentation for scripts and on the command line, with the embedded model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from scipy import ndimage

import napari_sam2
from napari_sam2.cli import main
from napari_sam2.everything import everything_labels
from napari_sam2.session.settings import SessionSettings


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint16]:
    """Six bright discs, 16 bit."""
    yy, xx = np.mgrid[:110, :160]
    drawn = np.full((110, 160), 200.0)
    for y, x in ((28, 30), (28, 80), (30, 130), (80, 30), (82, 80), (80, 130)):
        drawn[np.hypot(yy - y, xx - x) < 12] = 3000
    noisy = ndimage.gaussian_filter(drawn, 1) + np.random.default_rng(0).normal(0, 30, drawn.shape)
    return noisy.clip(0, 65535).astype(np.uint16)


def test_labels(image: NDArray[np.uint16]) -> None:
    labels = napari_sam2.segment_everything(image, device="cpu", dtype="float32")
    assert labels.shape == image.shape
    assert labels.dtype == np.uint16
    assert 5 <= labels.max() <= 7
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    at_centres = {int(labels[y, x]) for y in (29, 81) for x in (30, 80, 130)} - {0}
    assert len(at_centres) >= 5


def test_a_movie_or_an_unknown_variant_is_refused(image: NDArray[np.uint16]) -> None:
    with pytest.raises(ValueError, match="One image is needed, got a movie of 2 frames"):
        napari_sam2.segment_everything(np.stack([image, image]))
    with pytest.raises(ValueError, match="There is no variant 'huge'"):
        napari_sam2.segment_everything(image, variant="huge")


def test_progress_is_told_up_to_the_last_point(image: NDArray[np.uint16]) -> None:
    told: list[tuple[int, int]] = []
    settings = SessionSettings(device="cpu", dtype="float32")
    everything_labels(image, settings, progress=lambda done, total: told.append((done, total)))
    done, totals = [row[0] for row in told], {row[1] for row in told}
    assert len(told) > 3
    assert done == sorted(done)
    assert totals == {done[-1]}


def test_the_command(
    image: NDArray[np.uint16],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", image)
    said = ["everything", "cells.tif", "--device", "cpu", "--dtype", "float32"]
    assert main(said) == 0
    labels = tifffile.imread("cells_labels.tif")
    assert labels.shape == image.shape
    assert capsys.readouterr().out == f"{labels.max()} objects\nwrote cells_labels.tif\n"
    assert main(said) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*said, "-o", "cells.zarr"]) == 0
    assert np.array_equal(np.asarray(zarr.open("cells.zarr", mode="r")), labels)
    tifffile.imwrite("movie.tif", np.stack([image, image]))
    assert main(["everything", "movie.tif"]) == 1
    assert "One image is needed" in capsys.readouterr().err
