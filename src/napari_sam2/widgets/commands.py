"""What menus and the command palette call, and what is said where no panel is open.

napari knows nothing of the panel that could switch an entry off, so each says why it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable

import napari
from napari.utils.notifications import show_warning

from napari_sam2.widgets.command_table import Command

NO_PANEL = "Open the panel first: Plugins > SAM 2 > SAM 2 annotate."


def _asking(command: Command) -> Callable[[], None]:
    def ask() -> None:
        from napari_sam2.widgets.main_widget import docked_widgets

        panels = docked_widgets(napari.current_viewer())
        if panels:
            panels[0].do(command)
        else:
            show_warning(NO_PANEL)

    return ask


propagate = _asking(Command.PROPAGATE)
cancel = _asking(Command.CANCEL)
new_object = _asking(Command.NEW_OBJECT)
polarity = _asking(Command.POLARITY)
candidate = _asking(Command.CANDIDATE)
previous_prompt = _asking(Command.PREVIOUS_PROMPT)
next_prompt = _asking(Command.NEXT_PROMPT)
previous_object = _asking(Command.PREVIOUS_OBJECT)
next_object = _asking(Command.NEXT_OBJECT)
undo = _asking(Command.UNDO)
redo = _asking(Command.REDO)
save_session = _asking(Command.SAVE_SESSION)
open_session = _asking(Command.OPEN_SESSION)
tracks_layer = _asking(Command.TRACKS_LAYER)
measure = _asking(Command.MEASURE)
export_labels = _asking(Command.EXPORT_LABELS)
export_table = _asking(Command.EXPORT_TABLE)
export_ctc = _asking(Command.EXPORT_CTC)
export_geff = _asking(Command.EXPORT_GEFF)
export_coco = _asking(Command.EXPORT_COCO)
export_sav = _asking(Command.EXPORT_SAV)
export_sav_folders = _asking(Command.EXPORT_SAV_FOLDERS)
export_trackmate = _asking(Command.EXPORT_TRACKMATE)
export_movie = _asking(Command.EXPORT_MOVIE)
model_input = _asking(Command.MODEL_INPUT)
