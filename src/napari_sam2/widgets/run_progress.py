"""How far a long run is, and how much time it will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils import progress

if TYPE_CHECKING:
    from napari_sam2.widgets.propagate_panel import PropagatePanel


class RunProgress:
    """Counts the steps of one run, for the panel and for napari's activity dock.

    Made and used in the main thread, as napari's progress bars must be.
    """

    def __init__(self, count_steps: Callable[[], int]) -> None:
        self._count_steps = count_steps
        self._began_s = time.monotonic()
        self._held_s: float | None = None
        self._seen: set[int] = set()
        self._total = 0
        self._activity: Any = None

    @property
    def num_steps(self) -> int:
        """Different steps that were reached so far."""
        return len(self._seen)

    def step(self, number: int) -> None:
        """Count a step."""
        if self._activity is None:
            # the prompts that decide the range may have been answered only now
            self._total = self._count_steps()
            self._activity = progress(total=self._total, desc="SAM 2")
        if number not in self._seen:
            self._seen.add(number)
            self._activity.update(1)

    def hold(self) -> None:
        """Let no time count from now on."""
        if self._held_s is None:
            self._held_s = time.monotonic()

    def go_on(self) -> None:
        """Let time count again."""
        if self._held_s is not None:
            self._began_s += time.monotonic() - self._held_s
            self._held_s = None

    def show(self, panel: PropagatePanel, *, paused: bool) -> None:
        """Show the count and the time left."""
        now_s = time.monotonic() if self._held_s is None else self._held_s
        elapsed_s = now_s - self._began_s
        panel.show_running(self.num_steps, self._total, elapsed_s, paused=paused)

    def close(self) -> None:
        """Take the bar out of the activity dock."""
        if self._activity is not None:
            self._activity.close()
            self._activity = None
