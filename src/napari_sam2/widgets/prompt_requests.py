"""What is prompted next, and how: image, axis, polarity, candidates, previews, undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam2.widgets.hover import RestingPointer
from napari_sam2.widgets.prompt_panel import NO_IMAGE

if TYPE_CHECKING:
    from napari_sam2.widgets.annotator_panels import AnnotatorPanels
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.run_control import RunControl


class PromptRequests(QObject):
    """Carries requests of the prompt panel, the model panel and the keys to the session in hand."""

    refused = Signal(str)
    """Why something was not done."""
    answered = Signal()
    """A choice was taken or refused, and is to be shown as it is."""

    def __init__(
        self,
        viewer: Any,
        panels: AnnotatorPanels,
        images: OpenImages,
        run: RunControl,
        *,
        hover_ms: int,
    ) -> None:
        super().__init__()
        self._panel = panels.prompts
        self._images = images
        self._run = run
        self._positive = True
        self.pointer = RestingPointer(viewer, hover_ms)
        """Watched while the preview's key is down."""
        panels.prompts.image_chosen.connect(self._on_image)
        panels.prompts.frame_axis_chosen.connect(self._on_frame_axis)
        panels.prompts.positive_chosen.connect(self._set_polarity)
        panels.model.variant_chosen.connect(self._on_variant)
        panels.objects.new_object_asked.connect(self.new_object)
        panels.work.undo_asked.connect(self.undo)
        panels.work.redo_asked.connect(self.redo)
        self.pointer.rested.connect(self._on_pointer_rested)
        self.pointer.moved.connect(self._on_pointer_moved)
        self.go_to_next_prompt = partial(self._go_to_prompt, forward=True)
        self.go_to_previous_prompt = partial(self._go_to_prompt, forward=False)
        self.choose_next_object = partial(self._choose_neighbour, forward=True)
        self.choose_previous_object = partial(self._choose_neighbour, forward=False)

    def new_object(self) -> int | None:
        """Let the next click or box belong to a new object, and return its id."""
        if self._images.current is None:
            self.refused.emit(NO_IMAGE)
            return None
        return self._images.current.new_object()

    def undo(self) -> None:
        """Take the last step back; a run is ended first."""
        if self._images.current is not None:
            self._run.let_go(self._images.current)
            self._images.current.undo()

    def redo(self) -> None:
        """Do the last undone step again."""
        if self._images.current is not None:
            self._run.let_go(self._images.current)
            self._images.current.redo()

    def change_polarity(self) -> None:
        """Let the next clicks say the opposite."""
        self._panel.show_polarity(not self._positive)

    def next_candidate(self) -> None:
        """Take the next answer to the first click."""
        if self._images.current is not None:
            self._images.current.next_candidate()

    def _go_to_prompt(self, *, forward: bool) -> None:
        if self._images.current is not None:
            self._images.current.go_to_prompt(forward=forward)

    def _choose_neighbour(self, *, forward: bool) -> None:
        if self._images.current is not None:
            self._images.current.choose_neighbour(forward=forward)

    def _on_pointer_rested(self, position: Any) -> None:
        if self._images.current is not None:
            self._images.current.preview(position, positive=self._positive)

    def _on_pointer_moved(self) -> None:
        if self._images.current is not None:
            self._images.current.end_preview()

    def _on_image(self, unique_id: str) -> None:
        for image in self._images.images:
            if str(image.unique_id) == unique_id:
                self._images.open_or_say(image)

    def _on_frame_axis(self, axis: int) -> None:
        if self._images.current is not None:
            self._images.open_or_say(self._images.current.image, axis)

    def use_weights(self, variant: str, weights: Path) -> None:
        """Have the next answers given by a network with weights of a person's own."""
        self._change_network(partial(self._images.use_weights, variant, weights))

    def _on_variant(self, variant: str) -> None:
        self._change_network(partial(self._images.use_variant, variant))

    def _change_network(self, change: Callable[[], None]) -> None:
        if self._run.is_active:
            self.refused.emit("Cancel the propagation before you choose another network.")
        else:
            change()
        self.answered.emit()

    def _set_polarity(self, positive: bool) -> None:
        self._positive = positive
        self._images.set_polarity(positive)
