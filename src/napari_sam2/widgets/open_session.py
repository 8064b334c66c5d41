"""One image under annotation: which edit asks the session, which change reaches a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]

from napari_sam2.layers import navigation
from napari_sam2.layers.annotation import AnnotationLayers
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.label_reader import read_labels
from napari_sam2.layers.prompt_layers import PromptKey
from napari_sam2.layers.strokes import Stroke
from napari_sam2.session.autosave import Autosave
from napari_sam2.widgets.foresight import Foresight
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.session_mirror import SessionMirror
from napari_sam2.widgets.soon import Soon
from napari_sam2.widgets.summaries import candidate_text

if TYPE_CHECKING:
    import numpy as np
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.layers.composition import Composition
    from napari_sam2.session.intensities import Channel
    from napari_sam2.session.journal import Recovered
    from napari_sam2.session.masks import StoredMask
    from napari_sam2.session.session import Session
    from sam2_backbone.inference.frames import FrameSource

_LOOK = "look"  # what is asked before a click
# answers of every SAM 2 network to a first click; the session knows them only since it asked
_NUM_CANDIDATES = 3


@dataclass(frozen=True)
class Request:
    """Names what an open session has asked the worker for; the same name takes its place."""

    owner: QObject
    what: str
    obj_id: int = 0
    frame_idx: int = 0
    number: int = 0


class OpenSession(QObject):
    """A session, its layers, and the traffic between them.

    Markers go to the session as requests of the worker; what the session says goes to the layers
    in the main thread.
    """

    changed = Signal()
    """Objects, their frames or the chosen object."""
    prompted = Signal(int)
    """A prompt of this object was answered."""
    told = Signal(str)
    """What was done, in a sentence."""
    refused = Signal(str)
    """Why something was not done."""
    noticed = Signal(str)
    """What a person should know, in a sentence."""
    failed = Signal(object)
    """The exception of a request."""
    image_removed = Signal()
    _work_found = Signal(object)

    def __init__(
        self,
        viewer: Any,
        image: Image,
        geometry: FrameGeometry,
        session: Session,
        jobs: Jobs,
        composition: Composition,
        *,
        autosave_s: float = 0.4,
        seek_elsewhere: bool = True,
    ) -> None:
        super().__init__()
        self.composition = composition
        self._channels_asked = session.settings.channels
        self._num_channels_asked = composition.num_channels
        composition.changed.connect(self._on_composition)
        self.session = session
        self.image = image
        self.geometry = geometry
        self.obj_id: int | None = None
        self._viewer = viewer
        self._jobs = jobs
        self._numbers = count(1)
        self._strokes: dict[int, Stroke] = {}
        self._preview: Request | None = None
        self._previewed: int | None = None
        self._largest_id = max((record.obj_id for record in session.objects), default=0)
        # a script that places many markers asks the model once
        self._reading = Soon(self, self.collect)
        self.mirror = SessionMirror(session)
        self.mirror.objects_changed.connect(self._on_objects)
        self.mirror.prompts_changed.connect(self._on_prompts)
        self.mirror.masks_changed.connect(self._on_masks)
        self.mirror.first_look.connect(self._on_first_look)
        self.mirror.all_changed.connect(self._on_all)
        self.mirror.noticed.connect(self.noticed)
        jobs.request_done.connect(self._on_request_done)
        self.layers = AnnotationLayers(viewer, image, geometry, session)
        self.layers.book.is_waiting = self._is_waiting
        self.layers.mask_waiting = self._mask_waiting
        self.layers.markers_changed.connect(self._on_markers)
        self._foresight = Foresight(viewer, self.layers, self._look_ahead)
        self.layers.object_picked.connect(self.choose)
        self.layers.painted.connect(self._on_painted)
        self.layers.strayed.connect(self._on_strayed)
        self.layers.refused.connect(self._on_refused)
        self.layers.image_removed.connect(self._on_image_removed)
        self.found_work: Recovered | None = None
        """Earlier work on this image that may be taken up."""
        self._work_found.connect(self._on_work_found, Qt.ConnectionType.QueuedConnection)
        self.autosave = Autosave(
            session, on_found=self.offer, interval_s=autosave_s, elsewhere=seek_elsewhere
        )

    @property
    def is_settled(self) -> bool:
        """Whether every marker was read and every change drawn."""
        return not self._reading.is_waiting and self.mirror.is_settled

    @property
    def frame_idx(self) -> int | None:
        """The frame on display, None where the viewer shows no single one."""
        return self.layers.current_frame()

    # What a person does

    def collect(self) -> None:
        """Ask the session for everything that the markers say anew."""
        self._reading.drop()
        try:
            edits = self.layers.collect(self.new_object)
        except LayerRefusedError as error:
            self.refused.emit(str(error))
            return
        if edits:
            self.use_intensities()
        for edit in edits:
            call = partial(
                self.session.set_prompts,
                edit.obj_id,
                edit.frame_idx,
                points=edit.prompts.points,
                point_labels=edit.prompts.point_labels,
                box=edit.prompts.box,
                mask=edit.prompts.mask,
                candidate=edit.prompts.candidate,
            )
            self._ask(Request(self, "prompt", edit.obj_id, edit.frame_idx), call)
        if edits:
            self.choose(edits[-1].obj_id)

    def new_object(self) -> int:
        """Make an object, choose it for the next markers, and return its id.

        While the model computes for the session, the object is asked for rather than made, so
        that the window need not wait; its id holds from now on.
        """
        self.layers.ensure()
        if self._jobs.is_settled and not self._jobs.has_long_job:
            obj_id = self.session.new_object()
        else:
            obj_id = self._largest_id + 1
            self.layers.expect(obj_id)
            call = partial(self.session.new_object, obj_id=obj_id)
            self._jobs.ask(Request(self, "object", obj_id), call)
        self._largest_id = max(self._largest_id, obj_id)
        self.choose(obj_id)
        return obj_id

    def choose(self, obj_id: int | None) -> None:
        """Let the next markers belong to an object, or to a new one."""
        if obj_id != self.obj_id:
            self.obj_id = obj_id
            self.layers.choose(obj_id)
        self.changed.emit()

    def prepare(self) -> None:
        """Have the worker load the network before anything is asked of it."""
        if self.session.uses_models:
            self._jobs.ask(Request(self, "network"), self._prepare)

    def use_variant(self, variant: str, weights: str = "default") -> None:
        """Have the next answers given by another network."""
        call = partial(self.session.set_variant, variant, weights=weights)
        self._jobs.ask(Request(self, "variant"), call)

    def edit(self, call: Callable[[], object], what: str = "edit", *, owed: bool = False) -> None:
        """
        Have the worker change something of the session, after all that was asked before.

        What the call returns is told, if it is a sentence. What is `owed` is done even if the
        window is closed before.
        """
        if self._reading.is_waiting:
            self.collect()
        request = Request(self, what, number=next(self._numbers))
        self._jobs.ask(request, call, owed=owed, barrier=True)

    def restore(self, call: Callable[[], object]) -> None:
        """Have the worker open other work, and show the image as it was shown then."""
        self.edit(call, "restore")

    def offer(self, found: Recovered) -> None:
        """Offer earlier work to the person; from any thread."""
        self._work_found.emit(found)

    def use_intensities(self) -> None:
        """Show the network from the next question on what the person sees now, on all frames."""
        channels, num_channels = self.composition.channels, self.composition.num_channels
        grown = num_channels > self._num_channels_asked
        if channels and (grown or channels != self._channels_asked):
            source = self.composition.source if grown else None
            self._channels_asked, self._num_channels_asked = channels, num_channels
            call = partial(self._use_channels, channels, source)
            # numbered: one that brings frames with it must not be replaced by one that does not
            self._jobs.ask(Request(self, "intensities", number=next(self._numbers)), call)

    def undo(self) -> None:
        """Take the last step back."""
        self.edit(self.session.undo, "undo")

    def redo(self) -> None:
        """Do the last undone step again."""
        self.edit(self.session.redo, "redo")

    def next_candidate(self) -> None:
        """Take the next answer to the first click of the chosen object on this frame."""
        frame_idx, obj_id = self.frame_idx, self.obj_id
        prompts = None
        if obj_id is not None and frame_idx is not None:
            prompts = self.layers.book.known((obj_id, frame_idx))
        if obj_id is None or frame_idx is None or prompts is None or not len(prompts.points):
            self.told.emit("There is no click of the chosen object on this frame. ")
            return
        if prompts.box is not None or prompts.mask is not None:
            self.told.emit("A box or a mask has one answer only. ")
            return
        following = (prompts.candidate + 1) % _NUM_CANDIDATES
        self.layers.book.choose_candidate((obj_id, frame_idx), following)
        self.use_intensities()
        call = partial(self.session.choose_candidate, obj_id, frame_idx, following)
        self._ask(Request(self, "candidate", obj_id, frame_idx), call)

    def preview(self, position: Any, *, positive: bool) -> None:
        """Show the mask that a click at a position in the world would give."""
        units = self._viewer.layers.units
        place = navigation.pixel_under(self.image, self.geometry, position, world_units=units)
        if place is None:
            return
        if self._jobs.has_long_job or self._viewer.dims.ndisplay != 2:
            why = "in 3-D" if self._viewer.dims.ndisplay != 2 else "while objects are followed"
            self.told.emit(f"There is no preview {why}. ")
            return
        frame_idx, yx = place
        known = self.obj_id if self.obj_id in self.session.document.objects else None
        shown_as = self.obj_id or self._largest_id + 1
        number = next(self._numbers)
        self._preview = Request(self, "preview", shown_as, frame_idx, number)
        call = partial(self._previewed_mask, number, frame_idx, yx, positive, known)
        self.use_intensities()
        self._ask(self._preview, call)

    def end_preview(self) -> None:
        """Show the labels as they are."""
        self._preview = None
        if self._previewed is not None:
            frame_idx, self._previewed = self._previewed, None
            self.layers.show_masks(frame_idx, ())

    def go_to_prompt(self, *, forward: bool) -> None:
        """Show the next or previous frame with a prompt of the chosen object."""
        here = self.frame_idx or 0
        found = navigation.neighbouring_prompt(self.session, self.obj_id, here, forward=forward)
        if found is None:
            self.told.emit(f"There is no prompt {'after' if forward else 'before'} this frame. ")
        else:
            self.show_frame(found)

    def choose_neighbour(self, *, forward: bool) -> None:
        """Choose the next or previous object of the table, the first again after the last."""
        found = navigation.neighbouring_object(self.session, self.obj_id, forward=forward)
        if found is None:
            self.told.emit("There is no object yet. ")
        else:
            self.choose(found)

    def show_object(self, obj_id: int) -> None:
        """Show the first prompt of an object, or its first mask."""
        place = navigation.place_of(self.session, obj_id)
        if place is None:
            self.told.emit("This object has no prompt and no mask yet. ")
        else:
            self.show_frame(*place)

    def show_frame(self, frame_idx: int, yx: tuple[float, float] | None = None) -> None:
        """Move the viewer to a frame, and to a pixel of it."""
        units = self._viewer.layers.units
        navigation.show_frame(
            self._viewer, self.image, self.geometry, frame_idx, yx=yx, world_units=units
        )

    def label_steps(self, layer: Labels, *, all_frames: bool) -> Callable[[], Iterator[int]]:
        """Return what makes objects of a layer's labels, on this frame or on all."""
        self.use_intensities()
        here = 0 if self.frame_idx is None else self.frame_idx
        frames = range(self.session.num_frames) if all_frames else [here]
        return partial(self._take_labels, layer, frames)

    def stop(self) -> None:
        """Listen no more; the layers stay with the person."""
        self._foresight.stop()
        self.layers.detach()
        self.mirror.stop()
        self._jobs.request_done.disconnect(self._on_request_done)
        self._reading.drop()
        self.composition.stop()
        self.autosave.stop()

    # Inside

    def _ask(self, request: Request, call: Callable[[], object], *, barrier: bool = False) -> None:
        """Have the worker ask the session what needs the network."""
        self._jobs.ask(request, partial(self._with_network, call), barrier=barrier)

    def _prepare(self) -> None:
        with self._jobs.unattended():
            self.session.models.prepare(self.session.settings)

    def _with_network(self, call: Callable[[], object]) -> object:
        # before the session is held: a download may take minutes, and a window be closed meanwhile
        with self._jobs.unattended():
            self.session.load_network()
        return call()

    def _take_labels(self, layer: Labels, frames: Sequence[int]) -> Iterator[int]:
        with self._jobs.unattended():
            self.session.load_network()
        return self.session.add_labels(read_labels(layer, self.geometry, frames))

    def _use_channels(self, channels: tuple[Channel, ...], source: FrameSource | None) -> None:
        settings = replace(self.session.settings, channels=channels, value_range=None)
        self.session.change_settings(settings, source)

    def _on_composition(self) -> None:
        self.changed.emit()

    def _previewed_mask(
        self,
        number: int,
        frame_idx: int,
        yx: tuple[float, float],
        positive: bool,
        obj_id: int | None,
    ) -> StoredMask | None:
        """Ask for a preview in the worker, unless the pointer has moved on meanwhile."""
        wanted = self._preview
        if wanted is None or wanted.number != number:
            return None
        return self.session.preview(frame_idx, yx, positive, obj_id=obj_id)

    def _is_waiting(self, key: PromptKey) -> bool:
        return self._jobs.is_waiting(Request(self, "prompt", *key))

    def _mask_waiting(self, obj_id: int, frame_idx: int) -> NDArray[np.bool_] | None:
        for stroke in reversed(self._strokes.values()):
            if stroke.frame_idx == frame_idx and obj_id in stroke.masks:
                return stroke.masks[obj_id]
        return None

    def _on_markers(self) -> None:
        self._reading.ask()
        # now, so that what is said of it is shown in the same turn, after the reading
        self.changed.emit()

    def _look_ahead(self, frame_idx: int, yx: tuple[float, float]) -> None:
        """Have the network look where a click is about to come, if nothing else is to be done."""
        session, is_free = self.session, self._jobs.is_settled and not self._jobs.has_long_job
        is_loaded = session.environment is not None or not session.uses_models
        # a click that comes with other intensities is looked at anew
        is_same = self.composition.channels in ((), self._channels_asked)
        if is_free and is_loaded and is_same:
            call = partial(session.anticipate, frame_idx, yx, obj_id=self.obj_id)
            self._jobs.ask(Request(self, _LOOK), call)

    def _on_painted(self, stroke: Stroke) -> None:
        number = next(self._numbers)
        self._strokes[number] = stroke
        if stroke.masks:
            self.use_intensities()
        self._largest_id = max([self._largest_id, *stroke.masks])
        call = partial(self.session.set_masks, stroke.frame_idx, stroke.masks)
        self._ask(Request(self, "paint", number=number), call, barrier=True)

    def _on_strayed(self) -> None:
        # napari tells of some strokes before it writes them
        QTimer.singleShot(0, self.layers.erase_strays)

    def _on_refused(self, sentence: str) -> None:
        self.refused.emit(sentence)

    def _on_image_removed(self) -> None:
        self.image_removed.emit()

    def _on_request_done(self, request: Request, error: Exception | None, value: Any) -> None:
        if request.owner is not self or request.what == _LOOK:
            return  # what fails in a look fails in the click, and is told then
        if error is not None:
            self.failed.emit(error)
            if request.what in ("prompt", "candidate"):  # a first look may be on display
                self.layers.show_masks(request.frame_idx, ())
        match request.what:
            case "prompt":
                self._on_prompts(request.obj_id, request.frame_idx)
                if error is None:
                    self.prompted.emit(request.obj_id)
            case "paint":
                stroke = self._strokes.pop(request.number)
                self.mirror.tell()
                self.layers.restore_stroke(stroke)
                painted = int(self.layers.labels.selected_label)
                if error is None and painted in stroke.masks:
                    self.choose(painted)
                if error is None and stroke.masks:
                    self.prompted.emit(min(stroke.masks))
            case "preview":
                if request == self._preview and value is not None:
                    self._previewed = request.frame_idx
                    self.layers.show_preview(request.frame_idx, request.obj_id, value)
            case "undo" | "redo":
                done = f"{'Undone' if request.what == 'undo' else 'Done again'}: {value}. "
                self.told.emit(done if value else f"There is nothing to {request.what}. ")
            case "restore":
                if error is None:
                    self._channels_asked = self.session.settings.channels
                    self.composition.adopt(self.session.settings)
            case "edit":
                if isinstance(value, str):
                    self.told.emit(value)
            case "candidate":
                self._on_prompts(request.obj_id, request.frame_idx)
                if error is None:
                    text = candidate_text(self.session, request.obj_id, request.frame_idx)
                    self.told.emit(text)
        self.changed.emit()

    def _on_work_found(self, found: Recovered) -> None:
        self.found_work = found
        self.changed.emit()

    def _on_objects(self) -> None:
        present = self.session.document.objects
        self._largest_id = max([self._largest_id, *present])
        self.layers.show_objects()
        waiting = self.obj_id is not None and self._jobs.is_waiting(
            Request(self, "object", self.obj_id)
        )
        if self.obj_id not in present and not waiting:
            self.choose(list(present)[-1] if present else None)
        self.changed.emit()

    def _on_prompts(self, obj_id: int, frame_idx: int) -> None:
        if self._reading.is_waiting:
            self.collect()
        # markers that the session has not heard of yet are newer than what it says
        if not self._is_waiting((obj_id, frame_idx)):
            self.layers.show_prompts(obj_id, frame_idx)
            self.changed.emit()

    def _on_masks(self, frame_idx: int, obj_ids: tuple[int, ...] | None) -> None:
        self.layers.show_masks(frame_idx, obj_ids)

    def _on_first_look(self, obj_id: int, frame_idx: int, mask: StoredMask) -> None:
        if frame_idx == self.frame_idx:
            self.layers.show_preview(frame_idx, obj_id, mask)

    def _on_all(self) -> None:
        if self._reading.is_waiting:
            self.collect()
        self._on_objects()
        self.layers.show_all_prompts()
        self.mirror.tell_masks_again(self.layers.frames_to_show())
