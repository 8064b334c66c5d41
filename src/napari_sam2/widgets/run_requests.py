"""What is followed or taken: which objects, which frames, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam2.session.propagation import reachable_frames
from napari_sam2.widgets.prompt_panel import NO_IMAGE
from napari_sam2.widgets.run_control import BUSY, LongRun

if TYPE_CHECKING:
    from napari_sam2.session.history import Direction
    from napari_sam2.session.session import Session
    from napari_sam2.widgets.annotator_panels import AnnotatorPanels
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.run_control import RunControl


class RunRequests(QObject):
    """Carries requests of the panels *Follow* and *Labels* to the long run."""

    begun = Signal()
    """Something was started: what was said before is old."""
    refused = Signal(str)
    """Why nothing was started."""

    def __init__(self, panels: AnnotatorPanels, images: OpenImages, run: RunControl) -> None:
        super().__init__()
        self._panel = panels.propagation
        self._table = panels.objects.table
        self._images = images
        self._run = run
        self._panel.propagate_asked.connect(self.propagate_as_chosen)
        self._panel.pause_asked.connect(self._on_pause)
        self._panel.cancel_asked.connect(run.cancel)
        panels.labels.take_asked.connect(self._on_take_labels)
        images.prompted.connect(self._on_prompted)

    def propagate(
        self,
        direction: Direction,
        obj_ids: Sequence[int] | None,
        frames: Sequence[int] | None,
    ) -> None:
        """Follow objects through the frames; a paused run goes on."""
        if direction not in ("forward", "backward", "both"):
            raise ValueError(
                f"direction must be 'forward', 'backward' or 'both', not {direction!r}."
            )
        if self._run.is_paused:
            self._run.resume()
            return
        current = self._images.current
        if current is None:
            self.refused.emit(NO_IMAGE)
            return
        if self._run.is_refusing:
            self.refused.emit(BUSY)
            return
        self.begun.emit()
        current.collect()
        current.use_intensities()
        current.layers.ensure()
        session = current.session
        wanted = None if frames is None else tuple(frames)
        self._run.start(
            current,
            LongRun(
                partial(session.propagate, direction, obj_ids, wanted),
                partial(_num_frames, session, direction, obj_ids, wanted),
            ),
        )

    def propagate_as_chosen(self, direction: Direction) -> None:
        """Follow the objects and frames that the panel names."""
        selected = self._table.selected if self._panel.selected_only else None
        self.propagate(direction, selected, self._panel.frames)

    def propagate_or_pause(self) -> None:
        """Follow both ways; hold what runs, go on with what is held."""
        if self._run.is_refusing and not self._run.is_paused:
            self._run.pause()
        else:
            self.propagate_as_chosen("both")

    def track_labels(self, layer: Labels, *, all_frames: bool) -> None:
        """Make an object of every label of a layer, on the frame on display or on all."""
        current = self._images.current
        if current is None:
            self.refused.emit(NO_IMAGE)
        elif self._run.is_active:
            self.refused.emit(BUSY)
        else:
            self.begun.emit()
            steps = current.label_steps(layer, all_frames=all_frames)
            taking = LongRun(steps, _unknown, "Taking labels", "object", is_followed=True)
            self._run.start(current, taking)

    def _on_pause(self, paused: bool) -> None:
        (self._run.pause if paused else self._run.resume)()

    def _on_take_labels(self, unique_id: str, all_frames: bool) -> None:
        for layer in self._images.foreign_labels:
            if str(layer.unique_id) == unique_id:
                self.track_labels(layer, all_frames=all_frames)

    def _on_prompted(self, obj_id: int) -> None:
        current = self._images.current
        is_movie = current is not None and current.session.num_frames > 1
        if self._panel.is_live and is_movie and not self._run.is_active:
            self.propagate_as_chosen("both")


def _num_frames(
    session: Session,
    direction: Direction,
    obj_ids: Sequence[int] | None,
    frames: tuple[int, ...] | None,
) -> int:
    """Count each frame that a run can come to once, now that it has begun."""
    reached = reachable_frames(session.document, session.num_frames, direction, obj_ids, frames)
    return len(set(reached))


def _unknown() -> int:
    return 0
