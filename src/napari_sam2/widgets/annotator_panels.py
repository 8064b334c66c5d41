"""How the panels lie in the dock, and what they show of the session in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QTabWidget, QVBoxLayout, QWidget

from napari_sam2.layers.keymap import DEFAULT_KEYS, KeyAction, KeyTable, as_written
from napari_sam2.widgets.input_panel import InputPanel
from napari_sam2.widgets.key_passing import KeyPassing
from napari_sam2.widgets.keys_panel import KeysPanel
from napari_sam2.widgets.labels_panel import LabelsPanel
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.objects_panel import ObjectsPanel
from napari_sam2.widgets.prompt_panel import NO_IMAGE, PromptPanel
from napari_sam2.widgets.propagate_panel import PropagatePanel
from napari_sam2.widgets.results_panel import ResultsPanel
from napari_sam2.widgets.summaries import (
    activity,
    advice,
    axis_choices,
    hindrance,
    pause_text,
    table_view,
)
from napari_sam2.widgets.work_panel import WorkPanel
from sam2_backbone.variants import list_variants

if TYPE_CHECKING:
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.run_control import RunControl


class StatusLine(QLabel):
    """A text with room for some lines, so that what is above it stays where it is."""

    num_lines = 3

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)

    def heightForWidth(self, width: int) -> int:
        """Ask for the height of the text, or of some lines."""
        # not a minimum height: the window's font is known once the panel is docked
        least = self.num_lines * self.fontMetrics().lineSpacing() + 2 * self.margin()
        return max(super().heightForWidth(width), least)


class AnnotatorPanels:
    """The panels of the docked widget, from top to bottom.

    Parameters
    ----------
    dock
        The widget that they fill.
    """

    def __init__(self, dock: QWidget) -> None:
        self._keys: KeyTable = DEFAULT_KEYS
        keys = {action: as_written(key) for action, key in DEFAULT_KEYS.items()}
        self.model = ModelPanel(list_variants())
        self.prompts = PromptPanel(polarity_key=keys[KeyAction.POLARITY])
        self.objects = ObjectsPanel()
        self.propagation = PropagatePanel(
            propagate_key=keys[KeyAction.PROPAGATE], cancel_key=keys[KeyAction.CANCEL]
        )
        self.labels = LabelsPanel()
        self.input = InputPanel()
        self.results = ResultsPanel()
        self.keys = KeysPanel()
        self.work = WorkPanel(undo_key=keys[KeyAction.UNDO], redo_key=keys[KeyAction.REDO])
        self._tabs = QTabWidget()
        self._tabs.setUsesScrollButtons(False)
        for panel, name in (
            (self.propagation, "Follow"),
            (self.input, "Input"),
            (self.labels, "Labels"),
            (self.results, "Results"),
            (self.keys, "Keys"),
            (self.model, "Model"),
        ):
            self._tabs.addTab(panel, name)
        self._status = StatusLine()
        column = QVBoxLayout(dock)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.prompts)
        column.addWidget(self.objects, 1)
        column.addWidget(self._tabs)
        column.addWidget(self.work)
        column.addWidget(self._status)
        self._passing = KeyPassing()
        # but from the keys, which are typed there
        for typed_in in (self.prompts, self.objects, self.propagation, self.input, self.labels):
            self._passing.pass_from(typed_in)
        self._passing.pass_from(self.model)

    def show_session(self, images: OpenImages) -> None:
        """Show the session in hand."""
        current = images.current
        session = None if current is None else current.session
        self.prompts.show_ready(current is not None)
        self.prompts.show_axes(*axis_choices(current))
        self.objects.show_ready(current is not None)
        self.show_objects(images)
        self.propagation.show_frames(1 if session is None else session.num_frames)
        self.show_layers(images)
        self.model.show_variant((session.variant if session else None) or images.variant)
        environment = None if session is None else session.environment
        self.model.show_environment(
            None if environment is None else environment.device,
            None if environment is None else environment.dtype,
        )
        self.work.show_steps(
            None if session is None else session.undo_title,
            None if session is None else session.redo_title,
            hindrance=NO_IMAGE if session is None else "",
        )

    def show_objects(self, images: OpenImages) -> None:
        """Show the objects on the frame on display."""
        current = images.current
        self.objects.show_objects(table_view(current), None if current is None else current.obj_id)

    def show_layers(self, images: OpenImages) -> None:
        """List the images and labels to choose from."""
        chosen = None if images.current is None else str(images.current.image.unique_id)
        named = [(str(image.unique_id), image.name) for image in images.images]
        self.prompts.show_images(named, chosen)
        self.labels.show_layers(
            [(str(layer.unique_id), layer.name) for layer in images.foreign_labels],
            "" if images.current is not None else NO_IMAGE,
        )

    def show_keys(self, keys: KeyTable) -> None:
        """Show the keys, in their table and beside what they do."""
        self._keys = keys
        written = {action: as_written(key) for action, key in keys.items()}
        self.keys.show_keys(keys)
        self.prompts.name_key(written[KeyAction.POLARITY])
        self.objects.name_key(written[KeyAction.NEW_OBJECT])
        self.propagation.name_keys(
            propagate_key=written[KeyAction.PROPAGATE], cancel_key=written[KeyAction.CANCEL]
        )
        self.work.name_keys(undo_key=written[KeyAction.UNDO], redo_key=written[KeyAction.REDO])

    def show_run(self, images: OpenImages, run: RunControl) -> None:
        """Show how far the long run is, or what can be started."""
        if run.progress is None:
            self.propagation.show_idle(hindrance(images.current))
        else:
            run.progress.show(self.propagation, paused=run.is_paused)
            if not run.is_refusing:  # what is asked for now is begun after it
                self.propagation.show_startable(hindrance(images.current))

    def show_status(
        self, images: OpenImages, dims: Any, run: RunControl, *, news: str, busy: bool
    ) -> None:
        """Say what is being computed, or what happened and what can be done next."""
        if images.current is not None and busy:
            text = activity(images.current, doing=run.doing)
        elif run.is_paused:
            text = news + pause_text(self._keys)
        else:
            other = images.other_selected
            name = "" if other is None else other.name
            text = news + advice(images.current, dims, self._keys, name)
        self._status.setText(text)
