"""The one table of commands: what each does, and what stands in its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.layers.keymap import Hold, KeyAction
from napari_sam2.session.exchange import FORMATS
from napari_sam2.widgets.prompt_panel import NO_IMAGE
from napari_sam2.widgets.summaries import hindrance

if TYPE_CHECKING:
    from napari_sam2.widgets.input_requests import InputRequests
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.prompt_requests import PromptRequests
    from napari_sam2.widgets.result_requests import ResultRequests
    from napari_sam2.widgets.run_control import RunControl
    from napari_sam2.widgets.run_requests import RunRequests
    from napari_sam2.widgets.work_requests import WorkRequests

_NOTHING_RUNS = "Nothing is running that could be cancelled."


class Command(Enum):
    """What a menu or the command palette can ask for; keys ask for some of them."""

    PROPAGATE = "propagate"
    CANCEL = "cancel"
    NEW_OBJECT = "new_object"
    POLARITY = "polarity"
    CANDIDATE = "candidate"
    PREVIOUS_PROMPT = "previous_prompt"
    NEXT_PROMPT = "next_prompt"
    PREVIOUS_OBJECT = "previous_object"
    NEXT_OBJECT = "next_object"
    UNDO = "undo"
    REDO = "redo"
    SAVE_SESSION = "save_session"
    OPEN_SESSION = "open_session"
    TRACKS_LAYER = "tracks_layer"
    MEASURE = "measure"
    EXPORT_LABELS = "export_labels"
    EXPORT_TABLE = "export_table"
    EXPORT_CTC = "export_ctc"
    EXPORT_GEFF = "export_geff"
    EXPORT_COCO = "export_coco"
    EXPORT_SAV = "export_sav"
    EXPORT_SAV_FOLDERS = "export_sav_folders"
    EXPORT_TRACKMATE = "export_trackmate"
    EXPORT_MOVIE = "export_movie"
    MODEL_INPUT = "model_input"


_FORMATS = {Command(f"export_{name.replace('-', '_')}"): name for name in FORMATS}
_OF_MASKS = {
    Command.TRACKS_LAYER, Command.MEASURE, Command.EXPORT_LABELS, Command.EXPORT_TABLE, *_FORMATS,
}  # fmt: skip


class CommandTable:
    """What every command and every key of one panel does."""

    def __init__(
        self,
        images: OpenImages,
        run: RunControl,
        *,
        prompts: PromptRequests,
        runs: RunRequests,
        results: ResultRequests,
        work: WorkRequests,
        inputs: InputRequests,
    ) -> None:
        self._images = images
        self._run = run
        self._results = results
        self._pointer = prompts.pointer
        self._calls: Mapping[Command, Callable[[], object]] = {
            Command.PROPAGATE: runs.propagate_or_pause,
            Command.CANCEL: run.cancel,
            Command.NEW_OBJECT: prompts.new_object,
            Command.POLARITY: prompts.change_polarity,
            Command.CANDIDATE: prompts.next_candidate,
            Command.PREVIOUS_PROMPT: prompts.go_to_previous_prompt,
            Command.NEXT_PROMPT: prompts.go_to_next_prompt,
            Command.PREVIOUS_OBJECT: prompts.choose_previous_object,
            Command.NEXT_OBJECT: prompts.choose_next_object,
            Command.UNDO: prompts.undo,
            Command.REDO: prompts.redo,
            Command.SAVE_SESSION: work.ask_where_to_save,
            Command.OPEN_SESSION: work.ask_what_to_open,
            Command.TRACKS_LAYER: results.show_tracks,
            Command.MEASURE: results.measure,
            Command.EXPORT_LABELS: results.ask_where_to_export_labels,
            Command.EXPORT_TABLE: results.ask_where_to_export_table,
            Command.MODEL_INPUT: inputs.toggle_preview,
            **{
                command: partial(results.ask_where_to_export_results, name)
                for command, name in _FORMATS.items()
            },
        }

    def do(self, command: Command) -> str:
        """Do what is asked for, or return a sentence that says why not."""
        reason = self._hindrance(command)
        if not reason:
            self._calls[command]()
        return reason

    def of_keys(
        self, do: Callable[[Command], object]
    ) -> dict[KeyAction, Callable[[], object] | Hold]:
        """Return what the keys do; `do` says why something cannot be done."""
        calls: dict[KeyAction, Callable[[], object] | Hold] = {
            action: partial(do, Command(action.value))
            for action in KeyAction
            if action is not KeyAction.PREVIEW
        }
        # Esc has other meanings as well, and is no mistake where nothing runs
        calls[KeyAction.CANCEL] = self._run.cancel
        calls[KeyAction.PREVIEW] = Hold(self._pointer.begin, self._pointer.end)
        return calls

    def _hindrance(self, command: Command) -> str:
        current = self._images.current
        if current is None:
            return NO_IMAGE
        if command is Command.PROPAGATE and not self._run.is_active:
            return hindrance(current)
        if command is Command.CANCEL and not self._run.is_active:
            return _NOTHING_RUNS
        return self._results.hindrance if command in _OF_MASKS else ""
