"""Take the pictures of the documentation: a real window, the bundled samples, the embedded model.

On a machine without a screen:

    xvfb-run -a -s "-screen 0 1280x1024x24 +extension GLX" python docs/scripts/screenshots.py

``--tissue IMAGE MASKS`` adds what a hand does with mouse and keys on a labelled image of stained
tissue, and prints how well its nuclei are met. In the documentation it is 4d4f254f3b8b4408 of
``dsb2018/dev``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import napari
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

import napari_sam2
from napari_sam2 import sample_data
from napari_sam2.demo import clicks_on
from sam2_backbone.evaluation.interactive import error_centre
from sam2_backbone.evaluation.metrics import intersection_over_union
from sam2_backbone.training.prompt_sampler import innermost_pixel

IMAGES = Path(__file__).parents[1] / "images"
NUM_CELLS = 8
NARROW = 360
MOST_CORRECTIONS = 3
TRAINING_MINUTES = 2


class Camera:
    """A window of one size, and where its pictures go."""

    def __init__(self, out: Path, tissue: tuple[Path, Path] | None = None) -> None:
        self.out = out
        self.tissue = tissue
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1240, 940)

    def annotate(self, sample: tuple[Any, dict[str, Any], str]) -> Any:
        """Show a sample alone and take it in hand."""
        data, options, _ = sample
        layer = self.viewer.add_image(data, **options)
        annotator = napari_sam2.annotate(self.viewer, layer)
        for other in list(self.viewer.layers):
            if other.name.startswith("SAM 2") and not annotator._images.current.layers.owns(other):
                self.viewer.layers.remove(other)
        settle()
        self.viewer.reset_view()
        settle()
        return annotator

    def click(
        self, yx: tuple[int, int], button: Qt.MouseButton = Qt.MouseButton.LeftButton
    ) -> None:
        """Click on a pixel of an unscaled image with the mouse."""
        canvas, camera = self.canvas, self.viewer.scene.camera
        size = np.array([canvas.height(), canvas.width()])
        row, column = (np.array(yx) - np.array(camera.center[-2:])) * camera.zoom + size / 2
        place = QPoint(round(column), round(row))
        QTest.mouseMove(canvas, place)
        settle(20)
        QTest.mouseClick(canvas, button, Qt.KeyboardModifier.NoModifier, place)
        settle(20)

    @property
    def canvas(self) -> Any:
        """What napari draws on."""
        (canvas,) = (
            widget
            for widget in QApplication.allWidgets()
            if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
        )
        return canvas

    def shoot(self, name: str) -> None:
        settle()
        path = self.out / f"{name}.png"
        self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        # without opacity, and with all colours: objects are told apart by them
        Image.open(path).convert("RGB").save(path, optimize=True)
        print(path)

    def clear(self) -> None:
        self.viewer.layers.clear()
        settle()


def settle(ms: int = 400) -> None:
    """Let Qt lay out and draw; twice, since a dock that grows shrinks the canvas."""
    QTest.qWait(ms)


def nuclei() -> list[tuple[float, float]]:
    folder = files("napari_sam2") / "samples"
    with as_file(folder / "cell_migration_labels.tif") as path:
        return [(y, x) for _, y, x in clicks_on(tifffile.imread(path))[:NUM_CELLS]]


def movie(camera: Camera) -> None:
    """Clicks, the narrow panel, a run, tracks and measurements."""
    viewer = camera.viewer
    annotator = camera.annotate(sample_data.cell_migration()[0])
    viewer.dims.set_point(0, 0)
    for number, (y, x) in enumerate(nuclei()):
        if number:
            annotator.new_object()
        annotator.points_layer.add((0, y, x))
        annotator.wait(timeout=600)
    annotator.labels_layer.opacity = 0.5
    viewer.theme = "light"
    camera.shoot("annotate_clicks")
    viewer.theme = "dark"
    annotator.propagate("forward")
    while len(annotator.session.objects[0].mask_frames) < 10:
        QTest.qWait(20)
    viewer.dims.set_point(0, 8)
    camera.shoot("track_running")
    annotator.wait(timeout=3600)
    annotator.session.rename_object(1, "Mother")
    annotator.session.lock(2)
    annotator.session.hide(3)
    annotator.wait(timeout=60)
    narrow(camera, annotator)
    annotator.show_tracks()
    annotator.measure()
    annotator.wait(timeout=600)
    annotator._panels._tabs.setCurrentWidget(annotator._panels.results)
    annotator._results.table.selectRow(150)
    camera.shoot("track_results")
    viewer.window.remove_dock_widget(annotator._results.table)
    annotator._panels._tabs.setCurrentIndex(0)
    print("frames followed:", [len(r.mask_frames) for r in annotator.session.objects])


def narrow(camera: Camera, annotator: Any) -> None:
    """The panel in 360 pixels of width, dark beside light, every tab once."""
    pictures = []
    tabs = annotator._panels._tabs
    annotator.setFixedWidth(NARROW)
    for theme, tab in (("dark", 0), ("light", 1), ("dark", 4), ("light", 3)):
        camera.viewer.theme = theme
        tabs.setCurrentIndex(tab)
        settle()
        path = camera.out / "one.png"
        annotator.grab().save(str(path))
        pictures.append(Image.open(path).convert("RGB"))
        path.unlink()
    annotator.setMinimumWidth(0)
    annotator.setMaximumWidth(16777215)
    tabs.setCurrentIndex(0)
    camera.viewer.theme = "dark"
    wide = Image.new("RGB", (sum(p.width for p in pictures) + 24, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        wide.paste(picture, (left, 0))
        left += picture.width + 8
    wide.save(camera.out / "panel_narrow.png", optimize=True)
    print(camera.out / "panel_narrow.png", pictures[0].size)


def shapes(camera: Camera) -> None:
    """A polygon, a box and a click on one image."""
    annotator = camera.annotate(sample_data.phase_contrast()[0])
    height, width = annotator.session.height, annotator.session.width
    angles = np.linspace(0, 2 * np.pi, 13)[:-1]
    ring = [(height * (0.102 + 0.037 * np.sin(a)), width * (0.130 + 0.037 * np.cos(a)))
            for a in angles]  # fmt: skip
    annotator.shapes_layer.add_polygons([ring])
    annotator.wait(timeout=600)
    annotator.new_object()
    y0, x0, y1, x1 = 0.35 * height, 0.30 * width, 0.52 * height, 0.50 * width
    annotator.shapes_layer.add_rectangles([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    annotator.wait(timeout=600)
    annotator.new_object()
    annotator.points_layer.add((0.209 * height, 0.73 * width))
    annotator.wait(timeout=600)
    annotator.labels_layer.opacity = 0.4
    camera.shoot("annotate_shapes")


def look(camera: Camera) -> None:
    """What the network sees of one nucleus."""
    annotator = camera.annotate(sample_data.cell_migration()[0])
    middle = (annotator.session.height / 2, annotator.session.width / 2)
    y, x = min(nuclei(), key=lambda place: np.hypot(place[0] - middle[0], place[1] - middle[1]))
    camera.viewer.dims.set_point(0, 0)
    annotator.points_layer.add((0, y, x))
    annotator.wait(timeout=600)
    annotator.image_layer.gamma = 0.8
    annotator.labels_layer.opacity = 0.4
    annotator._panels._tabs.setCurrentWidget(annotator._panels.input)
    annotator._inputs.preview(True)
    annotator.wait(timeout=600)
    camera.shoot("annotate_input")
    annotator._inputs.preview(False)
    annotator._panels._tabs.setCurrentIndex(0)


def slices(camera: Camera) -> None:
    """Nuclei of a stack, followed from the middle slice."""
    data, options, kind = sample_data.nuclei_3d()[0]
    annotator = camera.annotate((data, options, kind))
    middle = len(data) // 2
    smooth = gaussian_filter(np.asarray(data[middle], float), 8)
    taken = np.ones(smooth.shape, bool)
    taken[30:-30, 30:-30] = False  # nuclei that are whole
    for number in range(4):
        y, x = np.unravel_index(np.argmax(np.where(taken, -1, smooth)), smooth.shape)
        if number:
            annotator.new_object()
        annotator.points_layer.add((middle, y, x))
        annotator.wait(timeout=600)
        taken[max(y - 25, 0) : y + 25, max(x - 25, 0) : x + 25] = True
    annotator.labels_layer.opacity = 0.4
    annotator.propagate("both")
    annotator.wait(timeout=3600)
    camera.viewer.dims.set_point(0, (middle + 3) * options["scale"][0])
    camera.shoot("track_slices")


def training(camera: Camera) -> None:
    """The panel SAM 2 train after a short run on the movie and its labels."""
    viewer = camera.viewer
    data, options, _ = sample_data.cell_migration()[0]
    viewer.add_image(data, **options)
    with as_file(files("napari_sam2") / "samples" / "cell_migration_labels.tif") as path:
        viewer.add_labels(tifffile.imread(path), name="Cells", opacity=0.5)
    viewer.dims.set_point(0, 0)
    _, panel = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 train")
    settle()
    viewer.reset_view()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        panel.form.choose(out=Path("fine-tuned"), minutes=TRAINING_MINUTES)
        panel.train()
        while panel.is_busy:
            QTest.qWait(200)
        camera.shoot("train_panel")
        print(panel.status)
    viewer.window.remove_dock_widget(panel)


def by_hand(camera: Camera) -> None:
    """Every nucleus of a labelled image, clicked; the worst corrected; saved and opened again."""
    if camera.tissue is None:
        print("no --tissue: nothing is done by hand")
        return
    image_path, masks_path = camera.tissue
    masks = np.asarray(iio.imread(masks_path))
    (layer,) = camera.viewer.open(image_path, plugin="napari")
    annotator = napari_sam2.annotate(camera.viewer, layer)
    settle()
    camera.viewer.reset_view()
    settle()
    nuclei = [masks == value for value in np.unique(masks)[1:]]
    nuclei = [nucleus for nucleus in nuclei if _whole(nucleus)]
    found = []
    for number, nucleus in enumerate(nuclei):
        if number:
            QTest.keyClick(camera.canvas, Qt.Key.Key_Q)
        camera.click(innermost_pixel(nucleus))
        annotator.wait(timeout=60)
        found.append(_overlap(annotator, number + 1, nucleus))
    print(f"one click on each of {len(nuclei)} nuclei, IoU:", [f"{value:.2f}" for value in found])
    camera.viewer.theme = "light"
    annotator.labels_layer.opacity = 0.5
    camera.shoot("annotate_tissue")
    camera.viewer.theme = "dark"
    for number in np.argsort(found)[:3]:
        _correct(camera, annotator, int(number) + 1, nuclei[number])
    _reopen(camera, annotator)


def _correct(camera: Camera, annotator: Any, obj_id: int, nucleus: NDArray[np.bool_]) -> None:
    """Click in the middle of the larger error, as a person would, until it is small."""
    annotator._images.current.choose(obj_id)
    values = [_overlap(annotator, obj_id, nucleus)]
    for _ in range(MOST_CORRECTIONS):
        error = error_centre(annotator.session.mask(obj_id, 0), nucleus)
        if error is None:
            break
        y, x, positive = error
        button = Qt.MouseButton.LeftButton if positive else Qt.MouseButton.RightButton
        camera.click((y, x), button)
        annotator.wait(timeout=60)
        values.append(_overlap(annotator, obj_id, nucleus))
    print(f"object {obj_id} corrected, IoU:", [f"{value:.2f}" for value in values])


def _reopen(camera: Camera, annotator: Any) -> None:
    """Save, export, close everything, open the session by its file, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        session, labels = Path(folder) / "tissue.json", Path(folder) / "tissue.ome.tif"
        annotator.save(session)
        annotator.wait(timeout=60)
        annotator.export_labels(labels)
        annotator.wait(timeout=60)
        before = np.array(annotator.labels_layer.data)
        assert np.array_equal(tifffile.imread(labels), before)
        camera.clear()
        camera.viewer.open(session, plugin="napari-sam2")
        settle(1500)
        annotator.wait(timeout=60)
        assert np.array_equal(annotator.labels_layer.data, before)
        print("saved, exported and opened again: the same labels")


def _whole(nucleus: NDArray[np.bool_]) -> bool:
    border = nucleus.copy()
    border[1:-1, 1:-1] = False
    return not border.any() and int(nucleus.sum()) > 150


def _overlap(annotator: Any, obj_id: int, nucleus: NDArray[np.bool_]) -> float:
    mask = annotator.session.mask(obj_id, 0)
    return intersection_over_union(mask, nucleus)


PICTURES: dict[str, Callable[[Camera], None]] = {
    "movie": movie, "shapes": shapes, "look": look, "slices": slices,
    "training": training, "by_hand": by_hand,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--tissue", type=Path, nargs=2, metavar=("IMAGE", "MASKS"))
    parser.add_argument("--only", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NAPARI_SAM2_CACHE"] = cache
        camera = Camera(arguments.out, arguments.tissue and tuple(arguments.tissue))
        for name in arguments.only:
            PICTURES[name](camera)
            camera.clear()
        camera.viewer.close()


if __name__ == "__main__":
    main()
