"""Room: one image under annotation: which edit asks the session, which change reaches a layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_sam2.layers.annotation import AnnotationLayers
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.frame_source import layer_intensities
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.prompt_layers import PromptKey
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.session_mirror import SessionMirror

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.session.session import Session

# a drag or a script that places many markers asks the model once
_DEBOUNCE_MS = 20


class OpenSession(QObject):
    """A session, its layers, and the traffic between them.

    Markers go to the session as requests of the worker; what the session says goes to the layers
    in the main thread.
    """

    changed = Signal()
    """Objects, their frames or the chosen object."""
    refused = Signal(str)
    """Why a marker was not taken."""
    failed = Signal(object)
    """The exception of a request."""
    image_removed = Signal()

    def __init__(
        self, viewer: Any, image: Image, geometry: FrameGeometry, session: Session, jobs: Jobs
    ) -> None:
        super().__init__()
        self.session = session
        self.image = image
        self.geometry = geometry
        self.obj_id: int | None = None
        self._jobs = jobs
        intensities = layer_intensities(image)
        # a gamma is applied while frames are read, on values that cannot be changed any more
        self._follows_contrast = intensities is not None and intensities.gamma == 1.0
        self._largest_id = max((record.obj_id for record in session.objects), default=0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._timer.timeout.connect(self.collect)
        self.mirror = SessionMirror(session)
        self.mirror.objects_changed.connect(self._on_objects)
        self.mirror.prompts_changed.connect(self._on_prompts)
        self.mirror.masks_changed.connect(self._on_masks)
        self.mirror.all_changed.connect(self._on_all)
        jobs.request_done.connect(self._on_request_done)
        self.layers = AnnotationLayers(viewer, image, geometry, session)
        self.layers.book.is_waiting = self._is_waiting
        self.layers.markers_changed.connect(self._on_markers)
        self.layers.object_picked.connect(self.choose)
        self.layers.refused.connect(self._on_refused)
        self.layers.image_removed.connect(self._on_image_removed)
        self.layers.ensure()

    @property
    def is_settled(self) -> bool:
        """Whether every marker was read and every change drawn."""
        return not self._timer.isActive() and self.mirror.is_settled

    def collect(self) -> None:
        """Ask the session for everything that the markers say anew."""
        self._timer.stop()
        try:
            edits = self.layers.collect(self.new_object)
        except LayerRefusedError as error:
            self.refused.emit(str(error))
            return
        if edits:
            self._use_contrast()
        for edit in edits:
            call = partial(
                self.session.set_prompts,
                edit.obj_id,
                edit.frame_idx,
                points=edit.prompts.points,
                point_labels=edit.prompts.point_labels,
                box=edit.prompts.box,
                mask=edit.prompts.mask,
            )
            self._jobs.ask((self, edit.obj_id, edit.frame_idx), call)
        if edits:
            self.choose(edits[-1].obj_id)

    def new_object(self) -> int:
        """Make an object, choose it for the next markers, and return its id.

        While the model computes for the session, the object is asked for rather than made, so
        that the window need not wait; its id holds from now on.
        """
        if self._jobs.is_settled and not self._jobs.has_long_job:
            obj_id = self.session.new_object()
        else:
            obj_id = self._largest_id + 1
            self.layers.expect(obj_id)
            self._jobs.ask((self, obj_id), partial(self.session.new_object, obj_id=obj_id))
        self._largest_id = max(self._largest_id, obj_id)
        self.choose(obj_id)
        return obj_id

    def choose(self, obj_id: int | None) -> None:
        """Let the next markers belong to an object, or to a new one."""
        if obj_id != self.obj_id:
            self.obj_id = obj_id
            self.layers.choose(obj_id)
        self.changed.emit()

    def use_variant(self, variant: str) -> None:
        """Have the next answers given by another network."""
        self._jobs.ask((self, "variant"), partial(self.session.set_variant, variant))

    def stop(self) -> None:
        """Listen no more; the layers stay with the person."""
        self.layers.detach()
        self.mirror.stop()
        self._jobs.request_done.disconnect(self._on_request_done)
        self._timer.stop()

    def _use_contrast(self) -> None:
        """Show the model what the person sees, as long as it was asked nothing yet."""
        intensities = layer_intensities(self.image)
        if intensities is None or not self._follows_contrast:
            return
        value_range = (intensities.low, intensities.high)
        asked = any(record.prompted_frames for record in self.session.objects)
        if not asked and value_range != self.session.value_range:
            self._jobs.ask((self, "contrast"), partial(self.session.set_value_range, value_range))

    def _is_waiting(self, key: PromptKey) -> bool:
        return self._jobs.is_waiting((self, *key))

    def _on_markers(self) -> None:
        self._timer.start()

    def _on_refused(self, sentence: str) -> None:
        self.refused.emit(sentence)

    def _on_image_removed(self) -> None:
        self.image_removed.emit()

    def _on_request_done(self, key: tuple[Any, ...], error: Exception | None) -> None:
        if key[0] is not self:
            return
        if error is not None:
            self.failed.emit(error)
        if len(key) == 3:
            self._on_prompts(*key[1:])
        self.changed.emit()

    def _on_objects(self) -> None:
        present = [record.obj_id for record in self.session.objects]
        self._largest_id = max([self._largest_id, *present])
        self.layers.show_objects()
        waiting = self.obj_id is not None and self._jobs.is_waiting((self, self.obj_id))
        if self.obj_id not in present and not waiting:
            self.choose(present[-1] if present else None)
        self.changed.emit()

    def _on_prompts(self, obj_id: int, frame_idx: int) -> None:
        if self._timer.isActive():
            self.collect()
        # markers that the session has not heard of yet are newer than what it says
        if not self._is_waiting((obj_id, frame_idx)):
            self.layers.show_prompts(obj_id, frame_idx)
            self.changed.emit()

    def _on_masks(self, frame_idx: int, obj_ids: tuple[int, ...] | None) -> None:
        self.layers.show_masks(frame_idx, obj_ids)

    def _on_all(self) -> None:
        if self._timer.isActive():
            self.collect()
        self._on_objects()
        self.layers.show_all_prompts()
        self.mirror.tell_masks_again(self.layers.frames_to_show())
