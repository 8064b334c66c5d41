"""Room: how the panels lie in the dock, and what they show of the session in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam2.layers.keymap import KeyAction, key_of
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.prompt_panel import PromptPanel
from napari_sam2.widgets.propagate_panel import PropagatePanel
from napari_sam2.widgets.summaries import activity, advice, axis_choices, hindrance, object_rows
from sam2_backbone.variants import list_variants

if TYPE_CHECKING:
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.run_control import RunControl


class AnnotatorPanels:
    """The panels of the docked widget, from top to bottom.

    Parameters
    ----------
    dock
        The widget that they fill.
    """

    def __init__(self, dock: QWidget) -> None:
        self.model = ModelPanel(list_variants())
        self.prompts = PromptPanel(
            polarity_key=key_of(KeyAction.POLARITY), new_object_key=key_of(KeyAction.NEW_OBJECT)
        )
        self.propagation = PropagatePanel(
            propagate_key=key_of(KeyAction.PROPAGATE), cancel_key="Esc"
        )
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setMinimumHeight(2 * self._status.fontMetrics().lineSpacing())
        column = QVBoxLayout(dock)
        column.setContentsMargins(4, 4, 4, 4)
        for panel in (self.model, self.prompts, self.propagation, self._status):
            column.addWidget(panel, 1 if panel is self.prompts else 0)

    def show_session(self, images: OpenImages) -> None:
        """Show the session in hand."""
        current = images.current
        session = None if current is None else current.session
        self.prompts.show_ready(current is not None)
        self.prompts.show_axes(*axis_choices(current))
        self.prompts.show_objects(
            () if session is None else object_rows(session),
            None if current is None else current.obj_id,
        )
        self.show_images(images)
        self.model.show_variant((session.variant if session else None) or images.variant)
        environment = None if session is None else session.environment
        self.model.show_environment(
            None if environment is None else environment.device,
            None if environment is None else environment.dtype,
        )

    def show_images(self, images: OpenImages) -> None:
        """List the images to choose from."""
        chosen = None if images.current is None else images.current.image.unique_id
        self.prompts.show_images([(image.unique_id, image.name) for image in images.images], chosen)

    def show_run(self, images: OpenImages, run: RunControl) -> None:
        """Show how far the long run is, or what can be started."""
        if run.progress is None:
            self.propagation.show_idle(hindrance(images.current))
        else:
            run.progress.show(self.propagation, paused=run.is_paused)

    def show_status(
        self, images: OpenImages, dims: Any, *, news: str, busy: bool, doing: str
    ) -> None:
        """Say what is being computed, or what happened and what can be done next."""
        if images.current is not None and busy:
            text = activity(images.current, doing=doing)
        else:
            text = news + advice(images.current, dims)
        self._status.setText(text)
