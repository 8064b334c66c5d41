"""What the input panel asks of the session in hand, and when the preview is made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.model_input import model_input_layer, show_model_input
from napari_sam2.widgets.input_panel import InputView
from napari_sam2.widgets.prompt_panel import NO_IMAGE

if TYPE_CHECKING:
    from napari_sam2.session.predictor import ModelViewLike
    from napari_sam2.widgets.input_panel import InputPanel
    from napari_sam2.widgets.jobs import Jobs
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.open_session import OpenSession

_REST_MS = 200


@dataclass(frozen=True)
class Look:
    """Names a question of the preview."""

    owner: QObject


@dataclass(frozen=True)
class Seen:
    """What the network is given of an object on a frame of an open session."""

    opened: OpenSession
    frame_idx: int
    obj_id: int | None
    given: ModelViewLike


class InputRequests(QObject):
    """Carries choices of channels to the session in hand, and keeps the preview as it should be."""

    refused = Signal(str)
    """Why a choice was not taken."""
    failed = Signal(object)
    """The exception of a preview."""

    def __init__(self, viewer: Any, panel: InputPanel, images: OpenImages, jobs: Jobs) -> None:
        super().__init__()
        self._viewer = viewer
        self._panel = panel
        self._images = images
        self._jobs = jobs
        self._on = False
        self._showing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._ask)
        panel.channels_chosen.connect(self._on_channels)
        panel.limits_chosen.connect(self._on_limits)
        panel.preview_toggled.connect(self.preview)
        images.changed.connect(self.look_again)
        images.chosen.connect(self.look_again)
        jobs.request_done.connect(self._on_done)
        jobs.ended.connect(self.look_again)

    @property
    def is_settled(self) -> bool:
        """Whether the preview is as it should be."""
        return not self._timer.isActive()

    def show(self) -> None:
        """Show the channels of the session in hand."""
        current = self._images.current
        if current is None:
            self._panel.show_view(InputView(hindrance=NO_IMAGE))
            return
        composition = current.composition
        self._panel.show_view(
            InputView(
                composition.offered(self._images.images),
                [(origin, composition.channel(origin)) for origin in composition.chosen],
            )
        )

    def preview(self, on: bool) -> None:
        """Show what the network sees of the chosen object on this frame, or do so no more."""
        if on and self._images.current is None:
            self.refused.emit(NO_IMAGE)
            on = False
        self._on = on
        self._panel.show_preview(on, "")
        layer = model_input_layer(self._viewer)
        if on:
            self._ask()
        elif layer is not None:
            self._viewer.layers.remove(layer)

    def toggle_preview(self) -> None:
        """Begin or end the preview."""
        self.preview(not self._on)

    def layer_removed(self) -> None:
        """End the preview if its layer was taken out of the viewer by hand."""
        waiting = self._showing or self._jobs.is_waiting(Look(self))
        if self._on and not waiting and model_input_layer(self._viewer) is None:
            self._on = False
            self._panel.show_preview(False, "")

    def look_again(self, *_: object) -> None:
        """Bring the preview up to date in a moment."""
        if self._on:
            self._timer.start()

    def stop(self) -> None:
        """Take the preview out of the viewer."""
        self._timer.stop()
        layer = model_input_layer(self._viewer)
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _ask(self) -> None:
        self._timer.stop()
        current = self._images.current
        frame_idx = None if current is None else current.frame_idx
        # while something runs its predictor is in the middle of a thought
        if not self._on or current is None or frame_idx is None or self._jobs.has_long_job:
            return
        known = current.obj_id if current.obj_id in current.session.document.objects else None
        current.use_intensities()
        self._jobs.ask(Look(self), partial(_looked, current, frame_idx, known))

    def _on_done(self, key: object, error: Exception | None, seen: Seen | None) -> None:
        if not isinstance(key, Look) or key.owner is not self:
            return
        if error is not None:
            self.preview(False)
            self.failed.emit(error)
        elif seen is not None and self._on and seen.opened is self._images.current:
            opened, frame_idx = seen.opened, seen.frame_idx
            self._showing = True  # may take the layer away for a moment
            show_model_input(self._viewer, opened.image, opened.geometry, frame_idx, seen.given)
            self._showing = False
            self._panel.show_preview(True, _in_words(seen))

    def _on_channels(self, origins: object) -> None:
        self._change(lambda current: current.composition.choose(origins))  # type: ignore[arg-type]

    def _on_limits(self, origin: Any, low: float, high: float, gamma: float) -> None:
        self._change(lambda current: current.composition.set_limits(origin, low, high, gamma))

    def _change(self, change: Callable[[OpenSession], None]) -> None:
        current = self._images.current
        if current is None:
            return
        try:
            change(current)
        except LayerRefusedError as error:
            self.refused.emit(str(error))
        self.show()


def _looked(opened: OpenSession, frame_idx: int, obj_id: int | None) -> Seen:
    return Seen(opened, frame_idx, obj_id, opened.session.model_input(frame_idx, obj_id))


def _in_words(seen: Seen) -> str:
    (rows, columns, _), view = seen.given.pixels.shape, seen.given.view
    what = "The whole frame" if seen.obj_id is None else f"Object {seen.obj_id}"
    return (
        f"{what}, frame {seen.frame_idx}: {view.height} × {view.width} pixels of the image become "
        f"{rows} × {columns} of the network."
    )
