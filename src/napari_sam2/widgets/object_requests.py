"""What the table of objects and its buttons ask of the session in hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_sam2.session.selection_edits import clear_frame, lock_frame, remove_objects

if TYPE_CHECKING:
    from napari_sam2.session.session import Session
    from napari_sam2.widgets.objects_panel import ObjectsPanel
    from napari_sam2.widgets.open_images import OpenImages


class ObjectRequests(QObject):
    """Carries requests of the objects panel to the worker of the session in hand."""

    def __init__(self, panel: ObjectsPanel, images: OpenImages) -> None:
        super().__init__()
        self._images = images
        panel.remove_asked.connect(self._on_remove)
        panel.jump_asked.connect(self._on_jump)
        panel.lock_frame_asked.connect(self._on_lock_frame)
        panel.clear_frame_asked.connect(self._on_clear_frame)
        panel.table.object_chosen.connect(self._on_chosen)
        panel.table.cells.renamed.connect(self._on_renamed)
        panel.table.cells.shown_changed.connect(self._on_shown)
        panel.table.cells.locked_changed.connect(self._on_locked)

    def _on_chosen(self, obj_id: int) -> None:
        if self._images.current is not None:
            self._images.current.choose(obj_id)

    def _on_jump(self, obj_id: int) -> None:
        if self._images.current is not None:
            self._images.current.show_object(obj_id)

    def _on_renamed(self, obj_id: int, name: str) -> None:
        self._edit(lambda session: session.rename_object(obj_id, name))

    def _on_shown(self, obj_id: int, shown: bool) -> None:
        self._edit(lambda session: (session.show if shown else session.hide)(obj_id))

    def _on_locked(self, obj_id: int, locked: bool) -> None:
        self._edit(lambda session: (session.lock if locked else session.unlock)(obj_id))

    def _on_remove(self, obj_ids: tuple[int, ...]) -> None:
        self._edit(partial(remove_objects, obj_ids=obj_ids))

    def _on_lock_frame(self, obj_ids: tuple[int, ...]) -> None:
        self._edit_frame(lock_frame, obj_ids)

    def _on_clear_frame(self, obj_ids: tuple[int, ...]) -> None:
        self._edit_frame(clear_frame, obj_ids)

    def _edit(self, change: Callable[[Session], object]) -> None:
        current = self._images.current
        if current is not None:
            current.edit(partial(change, current.session))

    def _edit_frame(
        self, change: Callable[[Session, tuple[int, ...], int], object], obj_ids: tuple[int, ...]
    ) -> None:
        current = self._images.current
        if current is not None and current.frame_idx is not None:
            current.edit(partial(change, current.session, obj_ids, current.frame_idx))
