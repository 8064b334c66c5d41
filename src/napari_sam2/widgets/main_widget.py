"""Room: who hears whom: the docked widget puts panels, sessions, layers and the worker together."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Points, Shapes
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QEventLoop, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam2.layers import geometry as geo
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.frame_source import layer_frame_source
from napari_sam2.layers.keymap import KeyAction, bind_keys, key_of
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.session import Session
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.messages import sentence_of
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.open_session import OpenSession
from napari_sam2.widgets.preferences import read_preferences, use_cache_folder
from napari_sam2.widgets.prompt_panel import NO_IMAGE, PromptPanel
from napari_sam2.widgets.propagate_panel import PropagatePanel
from napari_sam2.widgets.run_progress import RunProgress
from napari_sam2.widgets.summaries import activity, advice, axis_choices, hindrance, object_rows
from sam2_backbone.variants import list_variants

if TYPE_CHECKING:
    from napari_sam2.session.history import Direction

PLUGIN, WIDGET = "napari-sam2", "SAM 2 annotate"
_POLL_MS = 5
_SHOW_MS = 30


class AnnotateWidget(QWidget):
    """Segment and track by clicks, boxes and propagation.

    Parameters
    ----------
    napari_viewer
        The viewer, as napari hands it to a plugin.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._preferences = read_preferences()
        use_cache_folder(self._preferences)
        self._variant = self._preferences.variant
        self._models = ModelHub()
        self._jobs = Jobs()
        self._sessions: dict[str, OpenSession] = {}
        self._current: OpenSession | None = None
        self._run: RunProgress | None = None
        self._positive = True
        self._news = ""
        self._docked = False
        self._clean_ups: list[Callable[[], None]] = []
        self._build_panels()
        # the dock is filled later, so that `annotate` can choose first and napari can finish
        self._showing = QTimer(self)
        self._showing.setSingleShot(True)
        self._showing.setInterval(_SHOW_MS)
        self._showing.timeout.connect(self._show_everything)
        self._opening = QTimer(self)
        self._opening.setSingleShot(True)
        self._opening.timeout.connect(self._open_default)
        self._connect()
        self.reset_choices()

    # What scripts use

    @property
    def session(self) -> Session | None:
        """The session of the chosen image, None while there is no image."""
        return None if self._current is None else self._current.session

    @property
    def image_layer(self) -> Image | None:
        """The image that is annotated."""
        return None if self._current is None else self._current.image

    @property
    def points_layer(self) -> Points | None:
        """The layer whose points are clicks."""
        return None if self._current is None else self._current.layers.points

    @property
    def shapes_layer(self) -> Shapes | None:
        """The layer whose rectangles are boxes."""
        return None if self._current is None else self._current.layers.shapes

    @property
    def labels_layer(self) -> Labels | None:
        """The layer of the masks."""
        return None if self._current is None else self._current.layers.labels

    def open_image(
        self, image: Image, *, frame_axis: int | None = None, variant: str | None = None
    ) -> None:
        """Annotate an image layer; one that was annotated before is taken up again.

        Parameters
        ----------
        frame_axis
            Axis of the layer along which objects are followed; None chooses.
        variant
            Name of the network; None keeps the one in use.
        """
        self._opening.stop()
        known = self._sessions.get(image.unique_id)
        world_units = self._viewer.layers.units
        wanted = geo.choose_geometry(
            image, self._viewer.dims, frame_axis=frame_axis, world_units=world_units
        )
        if known is not None and frame_axis in (None, known.geometry.frame_axis):
            if variant is not None and variant != known.session.variant:
                known.session.set_variant(variant)
        else:
            source, value_range = layer_frame_source(image, wanted)
            session = Session(
                source,
                variant=variant or self._variant,
                value_range=value_range,
                device=self._preferences.device,
                models=self._models,
            )
            if known is not None:
                self._close_session(known)
            known = self._add_session(image, wanted, session)
        self._variant = variant or self._variant
        self._current = known
        known.layers.activate()
        self._show_everything()

    def new_object(self) -> int | None:
        """Let the next click or box belong to a new object, and return its id."""
        if self._current is None:
            show_warning(NO_IMAGE)
            return None
        return self._current.new_object()

    def propagate(self, direction: Direction = "both") -> None:
        """Follow the objects through the frames in the background; a paused run goes on."""
        if direction not in ("forward", "backward", "both"):
            raise ValueError(
                f"direction must be 'forward', 'backward' or 'both', not {direction!r}."
            )
        if self._jobs.is_paused:
            self.resume()
            return
        if self._current is None:
            show_warning(NO_IMAGE)
            return
        if self._jobs.has_long_job:
            return
        self._news = ""
        self._current.collect()
        self._current.layers.ensure()
        if self._jobs.start(partial(self._current.session.propagate, direction)):
            self._run = RunProgress(direction)
            self._show_run()

    def pause(self) -> None:
        """Hold the propagation after the frame it is at; `propagate` goes on with it."""
        self._jobs.pause()
        self._show_run()

    def resume(self) -> None:
        """Go on with a paused propagation."""
        self._jobs.resume()
        self._show_run()

    def cancel(self) -> None:
        """End the propagation after the frame it is at; the frames done so far are kept."""
        self._jobs.cancel()

    def wait(self, timeout: float = 60.0) -> None:
        """Let the window live until prompts, jobs and what they draw are finished.

        Raises
        ------
        TimeoutError
            If there is still work after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        loop = QEventLoop()
        poll = QTimer()
        poll.setInterval(_POLL_MS)
        poll.timeout.connect(partial(self._leave_when_settled, loop, end))
        poll.start()
        loop.exec()
        poll.stop()
        if not self.is_settled:
            raise TimeoutError(f"The annotator was still at work after {timeout:g} s.")

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be asked, computed or drawn; a paused run counts as such."""
        if self._opening.isActive():
            return False
        return self._jobs.is_settled and all(
            opened.is_settled for opened in self._sessions.values()
        )

    # What napari calls

    def reset_choices(self, event: Any = None) -> None:
        """List the image layers anew; napari calls this whenever layers come, go or are renamed."""
        self._show_images()
        if self._current is None and self._images():
            self._opening.start(0)

    def changeEvent(self, event: QEvent | None) -> None:
        """Let go of the viewer once the dock was closed."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                _run_all(self._clean_ups)

    # Building

    def _build_panels(self) -> None:
        self._model = ModelPanel(list_variants())
        self._model.show_variant(self._variant)
        self._prompts = PromptPanel(
            polarity_key=key_of(KeyAction.POLARITY), new_object_key=key_of(KeyAction.NEW_OBJECT)
        )
        self._propagation = PropagatePanel(
            propagate_key=key_of(KeyAction.PROPAGATE), cancel_key="Esc"
        )
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setMinimumHeight(2 * self._status.fontMetrics().lineSpacing())
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        for panel in (self._model, self._prompts, self._propagation, self._status):
            column.addWidget(panel, 1 if panel is self._prompts else 0)

    def _connect(self) -> None:
        self._model.variant_chosen.connect(self._on_variant)
        self._prompts.image_chosen.connect(self._on_image)
        self._prompts.frame_axis_chosen.connect(self._on_frame_axis)
        self._prompts.positive_chosen.connect(self._set_polarity)
        self._prompts.new_object_asked.connect(self.new_object)
        self._prompts.object_chosen.connect(self._on_object)
        self._propagation.propagate_asked.connect(self.propagate)
        self._propagation.pause_asked.connect(self._on_pause)
        self._propagation.cancel_asked.connect(self.cancel)
        self._jobs.request_done.connect(self._forget_news)
        self._jobs.stepped.connect(self._on_step)
        self._jobs.ended.connect(self._on_ended)
        self._jobs.settled.connect(self._show_status)
        self._viewer.dims.events.ndisplay.connect(self._show_status)
        self._viewer.dims.events.order.connect(self._show_status)
        unbind = bind_keys(
            self._viewer,
            {
                KeyAction.PROPAGATE: self._on_propagate_key,
                KeyAction.POLARITY: self._on_polarity_key,
                KeyAction.NEW_OBJECT: self.new_object,
                KeyAction.CANCEL: self.cancel,
            },
        )
        self._clean_ups += [
            self._jobs.stop,
            unbind,
            partial(self._viewer.dims.events.ndisplay.disconnect, self._show_status),
            partial(self._viewer.dims.events.order.disconnect, self._show_status),
            partial(_stop_sessions, self._sessions),
        ]
        # a partial of plain objects: a bound method would be gone with the widget
        self.destroyed.connect(partial(_run_all, self._clean_ups))

    def _images(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _open_default(self) -> None:
        """Open the image a person most likely means: the selected one, else the topmost."""
        images = self._images()
        if self._current is not None or not images:
            return
        active = self._viewer.layers.selection.active
        image = active if isinstance(active, Image) else images[-1]
        try:
            self.open_image(image)
        except (LayerRefusedError, ValueError, TypeError) as error:
            self._say(str(error))

    def _add_session(
        self, image: Image, frames: geo.FrameGeometry, session: Session
    ) -> OpenSession:
        opened = OpenSession(self._viewer, image, frames, session, self._jobs)
        opened.changed.connect(self._show_soon)
        opened.refused.connect(self._say)
        opened.failed.connect(self._on_failure)
        opened.image_removed.connect(self._on_image_removed)
        opened.layers.set_polarity(self._positive)
        self._sessions[image.unique_id] = opened
        return opened

    def _close_session(self, opened: OpenSession) -> None:
        if opened is self._current:
            self._jobs.cancel()
            self._current = None
        del self._sessions[opened.image.unique_id]
        opened.stop()

    # Requests of the panels and keys

    def _on_image(self, unique_id: str) -> None:
        self._reopen(unique_id, None)

    def _on_frame_axis(self, axis: int) -> None:
        if self._current is not None and axis != self._current.geometry.frame_axis:
            self._reopen(self._current.image.unique_id, axis)

    def _reopen(self, unique_id: str, frame_axis: int | None) -> None:
        for image in self._images():
            if image.unique_id == unique_id:
                try:
                    self.open_image(image, frame_axis=frame_axis)
                except (LayerRefusedError, ValueError, TypeError) as error:
                    self._say(str(error))
        self._show_everything()

    def _on_variant(self, variant: str) -> None:
        if self._jobs.has_long_job:
            self._say("Cancel the propagation before you choose another network.")
        else:
            self._variant = variant
            if self._current is not None:
                self._current.use_variant(variant)
        self._show_everything()

    def _set_polarity(self, positive: bool) -> None:
        self._positive = positive
        for opened in self._sessions.values():
            opened.layers.set_polarity(positive)

    def _on_object(self, obj_id: int) -> None:
        if self._current is not None:
            self._current.choose(obj_id)

    def _on_pause(self, paused: bool) -> None:
        if paused:
            self.pause()
        else:
            self.resume()

    def _on_propagate_key(self) -> None:
        if self._jobs.has_long_job and not self._jobs.is_paused:
            self.pause()
        else:
            self.propagate("both")

    def _on_polarity_key(self) -> None:
        self._prompts.show_polarity(not self._positive)

    # What happened

    def _on_step(self, frame_idx: int) -> None:
        if self._run is not None and self._current is not None:
            self._current.mirror.tell()
            self._run.step(frame_idx, self._current.session)
            self._show_run()

    def _on_ended(self, error: Exception | None, cancelled: bool) -> None:
        run, self._run = self._run, None
        if error is not None:
            self._on_failure(error)
        self._show_everything()
        if run is not None:
            run.close()
            if error is None:
                done = f"{run.num_frames} frames are done"
                self._news = f"Cancelled; {done} and kept. " if cancelled else f"{done}. "
                self._show_status()

    def _forget_news(self) -> None:
        self._news = ""

    def _on_failure(self, error: Exception) -> None:
        show_error(sentence_of(error))

    def _on_image_removed(self) -> None:
        current = self._current
        present = {image.unique_id for image in self._images()}
        for unique_id, opened in list(self._sessions.items()):
            if unique_id not in present:
                self._close_session(opened)
        self._show_everything()
        if current is not None and self._current is None:
            self._news = f"The image {current.image.name!r} was removed. "
            self.reset_choices()
            self._show_status()

    def _say(self, sentence: str) -> None:
        show_warning(sentence)

    def _leave_when_settled(self, loop: QEventLoop, end: float) -> None:
        if self.is_settled or time.monotonic() > end:
            loop.quit()

    # Showing

    def _show_soon(self) -> None:
        """Show everything once for all that changes in the meantime."""
        if not self._showing.isActive():
            self._showing.start()

    def _show_everything(self) -> None:
        current = self._current
        session = None if current is None else current.session
        self._prompts.show_ready(current is not None)
        self._prompts.show_axes(*axis_choices(current))
        self._prompts.show_objects(
            () if session is None else object_rows(session),
            None if current is None else current.obj_id,
        )
        self._show_images()
        self._model.show_variant((session.variant if session else None) or self._variant)
        environment = None if session is None else session.environment
        self._model.show_environment(
            None if environment is None else environment.device,
            None if environment is None else environment.dtype,
        )
        self._show_run()
        self._show_status()

    def _show_images(self) -> None:
        chosen = None if self._current is None else self._current.image.unique_id
        self._prompts.show_images(
            [(image.unique_id, image.name) for image in self._images()], chosen
        )

    def _show_run(self) -> None:
        if self._run is None:
            self._propagation.show_idle(hindrance(self._current))
        else:
            self._run.show(self._propagation, paused=self._jobs.is_paused)

    def _show_status(self, *_: object) -> None:
        if self._current is not None and not self._jobs.is_settled:
            text = activity(self._current, propagating=self._jobs.has_long_job)
        else:
            text = self._news + advice(self._current, self._viewer.dims)
        self._status.setText(text)


def annotate(viewer: Any, layer: Image | None = None, *, variant: str = "micro") -> AnnotateWidget:
    """Dock the widget *SAM 2 annotate* in a viewer, or find the one that is there.

    Parameters
    ----------
    viewer
        A `napari.Viewer`.
    layer
        The image layer to annotate; None takes the selected or topmost image, if there is one.
    variant
        Name of the network.

    Returns
    -------
    annotator
        The widget, with the session and its layers as attributes.
    """
    if variant not in list_variants():
        raise ValueError(f"variant must be one of {', '.join(list_variants())}, not {variant!r}.")
    if layer is not None and not isinstance(layer, Image):
        raise TypeError(f"layer must be an image layer, not {type(layer).__name__}.")
    widget: AnnotateWidget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    images = widget._images()
    if layer is None and images:
        active = viewer.layers.selection.active
        layer = active if isinstance(active, Image) else images[-1]
    if layer is not None:
        widget.open_image(layer, variant=variant)
    return widget


def _run_all(clean_ups: list[Callable[[], None]], *_: object) -> None:
    while clean_ups:
        # when the program ends Qt takes its objects down in an order of its own, and an
        # exception in a slot would end it by an abort
        with suppress(RuntimeError):
            clean_ups.pop(0)()


def _stop_sessions(sessions: dict[str, OpenSession]) -> None:
    while sessions:
        sessions.popitem()[1].stop()
