"""Who hears whom: the docked widget puts panels, sessions, layers and the worker together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Points, Shapes, Tracks
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_sam2.session.overlay import MovieStyle
from napari_sam2.session.session import Session
from napari_sam2.widgets.annotator_panels import AnnotatorPanels
from napari_sam2.widgets.command_table import Command, CommandTable
from napari_sam2.widgets.input_requests import InputRequests, Look
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.key_bindings import KeyBindings
from napari_sam2.widgets.messages import sentence_of
from napari_sam2.widgets.object_requests import ObjectRequests
from napari_sam2.widgets.open_images import OpenImages
from napari_sam2.widgets.preferences import read_preferences, suitable, use_cache_folder
from napari_sam2.widgets.prompt_requests import PromptRequests
from napari_sam2.widgets.result_requests import ResultRequests
from napari_sam2.widgets.run_control import RunControl
from napari_sam2.widgets.run_requests import RunRequests
from napari_sam2.widgets.soon import Soon
from napari_sam2.widgets.waiting import wait_until
from napari_sam2.widgets.work_requests import WorkRequests
from sam2_backbone.variants import list_variants

if TYPE_CHECKING:
    from napari_sam2.session.history import Direction
    from napari_sam2.session.measurements import Calibration
    from napari_sam2.session.result_masks import SessionMasks

PLUGIN, WIDGET = "napari-sam2", "SAM 2 annotate"
# between two times that all panels are shown anew
_REST_MS = 30


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
        self._preferred = read_preferences()
        preferences, unsuitable = suitable(self._preferred)
        use_cache_folder(preferences)
        self._jobs = Jobs()
        self._images = OpenImages(napari_viewer, self._jobs, preferences)
        self._run = RunControl(self._jobs)
        self._panels = AnnotatorPanels(self)
        self._panels.propagation.show_live(preferences.live)
        self._prompts = PromptRequests(
            napari_viewer, self._panels, self._images, self._run, hover_ms=preferences.hover_ms
        )
        self._runs = RunRequests(self._panels, self._images, self._run)
        self._inputs = InputRequests(napari_viewer, self._panels.input, self._images, self._jobs)
        self._objects = ObjectRequests(self._panels.objects, self._images)
        self._results = ResultRequests(napari_viewer, self._panels.results, self._images, self._run)
        self._work = WorkRequests(self._panels.work, self._images, self._run)
        self._commands = CommandTable(
            self._images,
            self._run,
            prompts=self._prompts,
            runs=self._runs,
            results=self._results,
            work=self._work,
            inputs=self._inputs,
        )
        self._keys = KeyBindings(napari_viewer, self._commands.of_keys(self.do))
        self._news = ""
        self._docked = False
        self._clean_ups: list[Callable[[], None]] = []
        self._showing = Soon(self, self._show_everything, rest_ms=_REST_MS)
        self._connect_panels()
        self._connect_work()
        self._connect_viewer()
        self.reset_choices()
        self._show_everything()
        if unsuitable:
            self._say(unsuitable)

    # What scripts use

    @property
    def session(self) -> Session | None:
        """The session of the chosen image, None while there is no image."""
        return None if self._images.current is None else self._images.current.session

    @property
    def image_layer(self) -> Image | None:
        """The image that is annotated."""
        return None if self._images.current is None else self._images.current.image

    @property
    def points_layer(self) -> Points | None:
        """The layer whose points are clicks."""
        return None if self._images.current is None else self._images.current.layers.points

    @property
    def shapes_layer(self) -> Shapes | None:
        """The layer whose rectangles are boxes."""
        return None if self._images.current is None else self._images.current.layers.shapes

    @property
    def labels_layer(self) -> Labels | None:
        """The layer of the masks."""
        return None if self._images.current is None else self._images.current.layers.labels

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
        self._images.open(image, frame_axis=frame_axis, variant=variant)

    def new_object(self) -> int | None:
        """Let the next click or box belong to a new object, and return its id."""
        return self._prompts.new_object()

    def propagate(
        self,
        direction: Direction = "both",
        obj_ids: Sequence[int] | None = None,
        frames: Sequence[int] | None = None,
    ) -> None:
        """Follow the objects through the frames in the background; a paused run goes on.

        Parameters
        ----------
        direction
            ``"forward"``, ``"backward"`` or ``"both"`` from each object's prompts.
        obj_ids, frames
            Objects to follow and frames to fill in; None takes all.
        """
        self._runs.propagate(direction, obj_ids, frames)

    def track_labels(self, layer: Labels, *, all_frames: bool = False) -> None:
        """Make an object of every label of a layer, on the frame on display or on all."""
        self._runs.track_labels(layer, all_frames=all_frames)

    def undo(self) -> None:
        """Take the last step back; a propagation that runs is ended first."""
        self._prompts.undo()

    def redo(self) -> None:
        """Do the last undone step again."""
        self._prompts.redo()

    def pause(self) -> None:
        """Hold the propagation after the frame it is at; `propagate` goes on with it."""
        self._run.pause()

    def resume(self) -> None:
        """Go on with a paused propagation."""
        self._run.resume()

    def cancel(self) -> None:
        """End the propagation after the frame it is at; the frames done so far are kept."""
        self._run.cancel()

    def save(self, path: str | Path) -> None:
        """Write the session to a file."""
        self._work.save(path)

    def save_now(self, path: str | Path, *, labels: str | None = None) -> bool:
        """Write the session as it is to a file, and return when it is written.

        Parameters
        ----------
        labels
            Name of the labels layer of an image that is open; None: of the image in hand.

        Returns
        -------
        bool
            Whether there is such a session.
        """
        return self._work.save_now(path, labels=labels)

    def load(self, path: str | Path) -> None:
        """Go on with a session file of this image."""
        self._work.load(path)

    def show_tracks(self) -> Tracks | None:
        """Add a Tracks layer of all objects, or bring it up to date."""
        return self._results.show_tracks()

    def measure(self) -> None:
        """Measure all objects in the background, and show the table."""
        self._results.measure()

    def export_labels(self, path: str | Path) -> None:
        """Write the labels as OME-TIFF (.tif) or OME-Zarr (.zarr) in the background."""
        self._results.export_labels(path)

    def export_results(
        self, path: str | Path, format_name: str, style: MovieStyle | None = None
    ) -> None:
        """Write all results for another program in the background.

        Parameters
        ----------
        path
            A file or folder, as the format has it.
        format_name
            ``"ctc"``, ``"geff"``, ``"coco"``, ``"sav"``, ``"sav-folders"``, ``"trackmate"`` or
            ``"movie"``.
        style
            How a movie looks.
        """
        self._results.export_results(path, format_name, style)

    def results_of(self, labels: str) -> tuple[SessionMasks, Calibration] | None:
        """Return the masks behind a labels layer of this widget by its name, and their sizes."""
        return self._results.results_of(labels)

    def export_table(self, path: str | Path) -> None:
        """Measure all objects in the background, and write the table as CSV."""
        self._results.export_table(path)

    def do(self, command: Command) -> None:
        """Do what a menu or the command palette asks for, or say why that cannot be."""
        reason = self._commands.do(command)
        if reason:
            self._say(reason)

    def use_weights(self, variant: str, weights: str | Path) -> None:
        """Have the next answers given by a network with these weights, here and on new images."""
        self._prompts.use_weights(variant, Path(weights))

    def wait(self, timeout: float = 60.0) -> None:
        """Let the window live until prompts, jobs and what they draw are finished.

        Raises
        ------
        TimeoutError
            If there is still work after `timeout` seconds.
        """
        wait_until(lambda: self.is_settled, timeout)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be asked, computed or drawn; a paused run counts as such."""
        return self._jobs.is_settled and self._images.is_settled and self._inputs.is_settled

    # What napari calls

    def reset_choices(self, event: Any = None) -> None:
        """List the image layers anew; napari calls this whenever layers come, go or are renamed."""
        self._panels.show_layers(self._images)
        self._inputs.show()
        self._inputs.layer_removed()
        self._images.open_default_soon()

    def changeEvent(self, event: QEvent | None) -> None:
        """Let go of the viewer once the dock was closed; hear of other preferences."""
        super().changeEvent(event)
        if event is None:
            return
        if event.type() == QEvent.Type.ActivationChange and self._docked and self.isActiveWindow():
            self._take_preferences()  # their dialog may have been in front
        elif event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                _run_all(self._clean_ups)

    def _take_preferences(self) -> None:
        """Let images that are opened next begin with what a person prefers now."""
        preferred = read_preferences()
        if preferred != self._preferred:
            self._preferred = preferred
            preferences, unsuitable = suitable(preferred)
            self._images.prefer(preferences)
            if unsuitable:
                self._say(unsuitable)

    # Building

    def _connect_panels(self) -> None:
        panels = self._panels
        panels.keys.key_chosen.connect(self._keys.choose)
        panels.keys.defaults_asked.connect(self._keys.use_defaults)

    def _connect_work(self) -> None:
        self._jobs.request_done.connect(self._on_request_done)
        self._jobs.settled.connect(self._show_status)
        self._run.changed.connect(self._show_run)
        self._run.failed.connect(self._on_failure)
        self._run.ended.connect(self._on_run_ended)
        self._images.chosen.connect(self._show_everything)
        self._images.changed.connect(self._showing.ask)
        self._images.told.connect(self._tell)
        self._images.refused.connect(self._say)
        self._images.noticed.connect(self._say)
        self._images.failed.connect(self._on_failure)
        self._images.removed.connect(self._on_removed)
        self._images.closing.connect(self._run.let_go)
        self._images.session_named.connect(self._work.load)
        self._images.layer_made.connect(self._keys.bind_layer)
        self._keys.changed.connect(self._show_keys)
        self._keys.refused.connect(self._say)
        for requests in (self._results, self._work):
            requests.told.connect(self._tell)
        self._inputs.failed.connect(self._on_failure)
        for asking in (self._results, self._prompts, self._runs, self._work, self._inputs):
            asking.refused.connect(self._say)
        self._prompts.answered.connect(self._show_everything)
        self._runs.begun.connect(self._forget_news)

    def _connect_viewer(self) -> None:
        dims = self._viewer.dims.events
        for event, slot in (
            (dims.ndisplay, self._show_status),
            (dims.order, self._show_status),
            (dims.point, self._on_point),
            (self._viewer.layers.selection.events.active, self._show_status),
        ):
            event.connect(slot)
            self._clean_ups.append(partial(event.disconnect, slot))
        self._keys.bind_viewer()
        self._show_keys()
        self._clean_ups += [self._prompts.pointer.end, self._keys.unbind]
        self._clean_ups += [self._inputs.stop, self._jobs.stop, self._images.stop]
        # a partial of plain objects: a bound method would be gone with the widget
        self.destroyed.connect(partial(_run_all, self._clean_ups))

    # What happened

    def _on_request_done(self, key: object) -> None:
        if not isinstance(key, Look):
            self._news = ""

    def _on_point(self, event: Any = None) -> None:
        self._inputs.look_again()
        self._showing.ask()

    def _tell(self, news: str) -> None:
        self._news = news
        self._show_status()

    def _on_run_ended(self, news: str) -> None:
        self._news = news
        self._show_everything()

    def _forget_news(self) -> None:
        self._news = ""

    def _on_failure(self, error: Exception) -> None:
        show_error(sentence_of(error))

    def _on_removed(self, name: str) -> None:
        kept = "what was not saved is offered when it is opened again"
        self._news = f"{name!r} was removed; {kept}. "
        self.reset_choices()
        self._show_status()

    def _say(self, sentence: str) -> None:
        show_warning(sentence)

    # Showing

    def _show_keys(self) -> None:
        self._panels.show_keys(self._keys.keys)

    def _show_everything(self) -> None:
        self._panels.show_session(self._images)
        self._inputs.show()
        self._results.show_ready()
        self._work.show_offer()
        self._show_run()

    def _show_run(self) -> None:
        self._panels.show_run(self._images, self._run)
        self._show_status()

    def _show_status(self, *_: object) -> None:
        self._panels.show_status(
            self._images,
            self._viewer.dims,
            self._run,
            news=self._news,
            busy=not self._jobs.is_settled,
        )


def annotate(
    viewer: Any, layer: Image | None = None, *, variant: str | None = None
) -> AnnotateWidget:
    """Dock the widget *SAM 2 annotate* in a viewer, or find the one that is there.

    Parameters
    ----------
    viewer
        A `napari.Viewer`.
    layer
        The image layer to annotate; None takes the selected or topmost image, if there is one.
    variant
        Name of the network; None keeps the one in use, at first that of the preferences.

    Returns
    -------
    annotator
        The widget, with the session and its layers as attributes.
    """
    if variant is not None and variant not in list_variants():
        raise ValueError(f"variant must be one of {', '.join(list_variants())}, not {variant!r}.")
    if layer is not None and not isinstance(layer, Image):
        raise TypeError(f"layer must be an image layer, not {type(layer).__name__}.")
    widget: AnnotateWidget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    if layer is None:
        layer = widget._images.default_image()
    if layer is not None:
        widget.open_image(layer, variant=variant)
    return widget


def docked_widgets(viewer: Any) -> list[AnnotateWidget]:
    """Return the widgets that are docked in a viewer; none where there is no viewer."""
    docked = [] if viewer is None else viewer.window.dock_widgets.values()
    return [widget for widget in docked if isinstance(widget, AnnotateWidget)]


def _run_all(clean_ups: list[Callable[[], None]], *_: object) -> None:
    while clean_ups:
        # when the program ends Qt takes its objects down in an order of its own, and an
        # exception in a slot would end it by an abort
        with suppress(RuntimeError):
            clean_ups.pop(0)()
