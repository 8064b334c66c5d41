"""Take the pictures of the documentation: a real window, the bundled movie, the embedded model.

On a machine without a screen:

    xvfb-run -a -s "-screen 0 1280x1024x24 +extension GLX" python docs/scripts/screenshots.py
"""

from __future__ import annotations

import argparse
import time
from importlib.resources import as_file, files
from pathlib import Path

import napari
import numpy as np
import tifffile
from qtpy.QtWidgets import QApplication

import napari_sam2
from napari_sam2 import sample_data
from napari_sam2.demo import clicks_on

IMAGES = Path(__file__).parents[1] / "images"
NUM_CELLS = 4  # those in the middle; the others leave the field at once


def settle(seconds: float = 0.3) -> None:
    """Let Qt lay out and draw; twice, since a dock that grows shrinks the canvas."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()


def shoot(viewer: napari.Viewer, name: str, out: Path) -> None:
    settle()
    viewer.window.screenshot(str(out / f"{name}.png"), canvas_only=False, flash=False)
    print(out / f"{name}.png")


def track_movie(viewer: napari.Viewer, variant: str) -> object:
    """Click the nuclei of the demonstration on the first frame and follow them to the last."""
    data, options, _ = sample_data.cell_migration()[0]
    layer = viewer.add_image(data, **options)
    annotator = napari_sam2.annotate(viewer, layer, variant=variant)
    settle()
    viewer.reset_view()
    folder = files("napari_sam2") / "samples"
    with as_file(folder / "cell_migration_labels.tif") as path:
        reference = tifffile.imread(path)
    for _, y, x in clicks_on(reference)[:NUM_CELLS]:
        annotator.new_object()
        annotator.points_layer.add((0, y, x))
        annotator.wait(timeout=600)
    annotator.propagate("both")
    annotator.wait(timeout=3600)
    return annotator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--variant", default="micro")
    parser.add_argument("--frame", type=int, default=6, help="shown in the dark picture")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1200, 800)
    annotator = track_movie(viewer, arguments.variant)
    followed = [len(record.mask_frames) for record in annotator.session.objects]
    print("frames followed:", followed)
    annotator.labels_layer.opacity = 0.5
    viewer.theme = "light"
    viewer.dims.set_point(0, 0)
    shoot(viewer, "annotate_light", arguments.out)
    viewer.theme = "dark"
    viewer.dims.set_point(0, arguments.frame)
    shoot(viewer, "annotate_dark", arguments.out)
    annotator.setFixedWidth(360)
    settle()
    annotator.grab().save(str(arguments.out / "widget_narrow.png"))
    areas = [np.count_nonzero(annotator.labels_layer.data[t]) for t in range(0, 48, 8)]
    print("labelled pixels on every eighth frame:", areas)
    viewer.close()


if __name__ == "__main__":
    main()
