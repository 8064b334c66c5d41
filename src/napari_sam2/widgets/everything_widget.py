"""A panel of its own that finds everything on the frame on display, without prompts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.everything import everything_on
from napari_sam2.layers.automatic import ShownPlane, labels_layer, shown_plane
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.model_input import images_of
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.settings import SessionSettings
from napari_sam2.widgets.messages import sentence_of
from napari_sam2.widgets.preferences import read_preferences, suitable, use_cache_folder
from napari_sam2.widgets.stoppable import Outcome, StoppableWork
from sam2_backbone.variants import list_variants

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BEGIN, _STOP = "Segment everything", "Stop"
_ADVICE = "Finds all objects of the frame on display, as a new labels layer."
_SHOW_MS = 100


class EverythingWidget(QWidget):
    """Segment everything on the frame that the viewer shows.

    Parameters
    ----------
    napari_viewer
        The viewer, as napari hands it to a plugin.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        preferences = read_preferences()
        use_cache_folder(preferences)
        self._models = ModelHub()
        self._work: StoppableWork[NDArray[np.unsignedinteger]] = StoppableWork()
        self._image = QComboBox()
        self._image.setMinimumContentsLength(8)
        self._network = QComboBox()
        self._network.addItems(list_variants())
        self._network.setCurrentText(preferences.variant)
        self._network.setToolTip(
            "micro looks through windows of several sizes and needs no download; the others ask a "
            "grid of points, and want a graphics card."
        )
        self._button = QPushButton(_BEGIN)
        self._button.clicked.connect(self._on_button)
        self._bar = QProgressBar()
        self._bar.hide()
        self._said = QLabel(_ADVICE)
        self._said.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Image", self._image)
        form.addRow("Network", self._network)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for widget in (self._button, self._bar, self._said):
            column.addWidget(widget)
        column.addStretch()
        self._showing = QTimer(self)
        self._showing.setInterval(_SHOW_MS)
        self._showing.timeout.connect(self._show_progress)
        self._docked = False
        self.reset_choices()

    @property
    def is_searching(self) -> bool:
        """Whether a search is under way."""
        return self._work.worker is not None

    def reset_choices(self, event: Any = None) -> None:
        """List the image layers anew; napari calls this whenever layers come, go or are renamed."""
        chosen = self._image.currentData()
        images = images_of(self._viewer)
        self._image.clear()
        for layer in images:
            self._image.addItem(layer.name, layer)
        if images:
            self._image.setCurrentIndex(images.index(chosen) if chosen in images else -1)
            if chosen not in images:
                self._image.setCurrentIndex(len(images) - 1)
        self._show_button()

    def search(self) -> None:
        """Begin to look for everything on the frame on display, or say why that cannot be."""
        image = self._image.currentData()
        if image is None or self._work.worker is not None:
            return
        try:
            units = self._viewer.layers.units
            plane = shown_plane(image, self._viewer.dims, units)
        except LayerRefusedError as error:
            show_warning(str(error))
            return
        worker = self._work.begin(partial(self._find, plane, self._settings(plane)), total=1)
        worker.returned.connect(partial(self._on_found, plane))
        worker.finished.connect(self._on_finished)
        self._said.setText("Searching …")
        self._bar.setRange(0, 0)  # until the network is loaded
        self._bar.show()
        self._showing.start()
        self._show_button()
        worker.start()

    def stop(self) -> None:
        """End the search; nothing is kept of it."""
        self._work.stopping.set()

    def changeEvent(self, event: QEvent | None) -> None:
        """End the search once the dock was closed."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.stop()
            self._docked = self.parent() is not None

    # Inside

    def _settings(self, plane: ShownPlane) -> SessionSettings:
        variant = self._network.currentText()
        preferences, unsuitable = suitable(read_preferences())
        if unsuitable and variant == preferences.variant:
            show_warning(unsuitable)
        return SessionSettings(
            variant=variant,
            weights=preferences.weights_for(variant),
            device=preferences.device,
            channels=plane.channels,
        )

    def _find(self, plane: ShownPlane, settings: SessionSettings) -> NDArray[np.unsignedinteger]:
        return everything_on(
            plane.source,
            plane.frame_idx,
            settings,
            models=self._models,
            progress=self._work.tell,
        )

    def _on_button(self) -> None:
        if self._work.worker is None:
            self.search()
        else:
            self.stop()

    def _on_found(self, plane: ShownPlane, found: Outcome[NDArray[np.unsignedinteger]]) -> None:
        labels = found.result
        if found.error is not None:
            self._said.setText(_ADVICE)
            show_error(sentence_of(found.error))
            return
        if labels is None:
            self._said.setText("Stopped; nothing was added.")
            return
        count = int(labels.max(initial=0))
        if count == 0:
            self._said.setText("Nothing was found on this frame.")
            return
        layer = labels_layer(plane, labels, world_units=self._viewer.layers.units)
        self._viewer.add_layer(layer)
        follow = (
            " To follow them, choose this layer in SAM 2 annotate, at Track these labels."
            if plane.geometry.num_frames > 1
            else ""
        )
        self._said.setText(f"{count} objects, in the layer {layer.name!r}.{follow}")

    def _on_finished(self) -> None:
        self._work.worker = None
        self._showing.stop()
        self._bar.hide()
        self._show_button()

    def _show_progress(self) -> None:
        done, total = self._work.done
        if done:
            self._bar.setRange(0, total)
            self._bar.setValue(done)

    def _show_button(self) -> None:
        self._button.setText(_BEGIN if self._work.worker is None else _STOP)
        has_image = self._image.count() > 0
        self._button.setEnabled(has_image or self._work.worker is not None)
        self._button.setToolTip("" if has_image else "Open an image first.")
