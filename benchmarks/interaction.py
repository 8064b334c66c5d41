"""How the annotator feels: gaps of the event loop, click to mask, cancel, opening, 200 objects.

Each measure runs in a process of its own, in a real window, with the embedded model. On a machine
without a screen:

    xvfb-run -a -s "-screen 0 1280x1024x24 +extension GLX" python benchmarks/interaction.py

Prints a table beside the targets; ``--json FILE`` writes the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qtpy.QtCore import QPoint

SIDE, NUM_FRAMES, NUM_CLICKS = 512, 100, 7
HELD_S = 0.08  # how long a person's finger is down
AIMED_S = 0.2  # how long a hand is still before it clicks
PACE_S = 0.25  # between one thing and the next that a person does
_MARK = "RESULT "
Numbers = dict[str, float]


def movie(num_frames: int, count: int = 16) -> np.ndarray:
    """Bright discs on a grid that drift, in noise; (T, H, W) uint8."""
    rng = np.random.default_rng(0)
    across = max(4, int(np.ceil(np.sqrt(count))))
    pitch = SIDE // across
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.empty((num_frames, SIDE, SIDE), np.uint8)
    for t in range(num_frames):
        near = np.hypot((y % pitch) - pitch / 2, ((x - t // 8) % pitch) - pitch / 2)
        bright = 150 * np.clip(pitch / 3.5 - near, 0, 1)
        frames[t] = bright + rng.integers(20, 60, (SIDE, SIDE))
    return frames


def centres(count: int) -> list[tuple[float, float]]:
    across = max(4, int(np.ceil(np.sqrt(count))))
    pitch = SIDE // across
    places = [((i + 0.5) * pitch, (j + 0.5) * pitch) for i in range(across) for j in range(across)]
    return places[:count]


class Hand:
    """A viewer that is shown, and a hand on its mouse."""

    def __init__(self, frames: np.ndarray) -> None:
        import napari

        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1200, 900)
        self.layer = self.viewer.add_image(frames, contrast_limits=(0, 255))

    def settle(self) -> None:
        """Wait until the viewer is drawn, and look for its canvas."""
        from qtpy.QtWidgets import QApplication

        self.viewer.dims.set_point(0, 0)
        self.live(0.5)
        self.viewer.reset_view()
        self.live(0.5)
        # once: looking through all widgets takes longer than a click
        (self._canvas,) = (
            widget
            for widget in QApplication.allWidgets()
            if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
        )

    def live(self, seconds: float) -> None:
        from qtpy.QtTest import QTest

        QTest.qWait(round(1000 * seconds))

    def aim(self, y: float, x: float) -> None:
        """Move the pointer over a pixel and rest it there."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        place, button = self._place(y, x), Qt.MouseButton.NoButton
        there = QPointF(self._canvas.mapToGlobal(place))
        none = Qt.KeyboardModifier.NoModifier
        event = QMouseEvent(QEvent.Type.MouseMove, QPointF(place), there, button, button, none)
        QApplication.sendEvent(self._canvas, event)
        self.live(AIMED_S)

    def _place(self, y: float, x: float) -> QPoint:
        from qtpy.QtCore import QPoint

        camera = self.viewer.scene.camera
        size = np.array([self._canvas.height(), self._canvas.width()])
        row, column = (np.array((y, x)) - np.array(camera.center[-2:])) * camera.zoom + size / 2
        return QPoint(round(column), round(row))

    def click(self, y: float, x: float, *, held_s: float = 0.0) -> float:
        """Press and release the left button over a pixel, and return when it is let go."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        canvas, place = self._canvas, self._place(y, x)
        button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(canvas, place)
        let_go = time.perf_counter()
        if held_s:
            QTest.mousePress(canvas, button, none, place)
            self.live(held_s)
            let_go = time.perf_counter()
            QTest.mouseRelease(canvas, button, none, place)
        else:
            QTest.mouseClick(canvas, button, none, place)
        return let_go


class Window(Hand):
    """A viewer with the annotator on a movie."""

    def __init__(self, num_frames: int, count: int = 16) -> None:
        import napari_sam2

        super().__init__(movie(num_frames, count))
        began = time.perf_counter()
        self.annotator = napari_sam2.annotate(self.viewer, self.layer)
        self.settle()
        self.loading = Heartbeat()
        self.loading.begin()
        while self.annotator.session.environment is None:
            self.live(0.01)
        self.ready_s = _since(began)
        self.annotator.wait(60)

    def click_to_mask(
        self, frame_idx: int, y: float, x: float, *, held_s: float = 0.0, aims: bool = False
    ) -> tuple[float, float]:
        """Click and return the seconds until a mask is in the labels, and until it is the answer.

        What is shown before that is the first look. Counted from before the pointer comes, or
        where it aims from when it has, or where the button is held from when it is let go; each
        time the window has drawn.
        """
        labels = self.annotator.labels_layer
        place = (frame_idx, round(y), round(x))
        assert labels.data[place] == 0, place
        if aims:
            self.aim(y, x)
        began = time.perf_counter()
        let_go = self.click(y, x, held_s=held_s)
        began = let_go if held_s else began
        while labels.data[place] == 0 and time.perf_counter() - began < 60:
            self.live(0.002)  # waiting, not spinning: the worker needs the core
        taken = time.perf_counter() - began
        assert labels.data[place] != 0, "no mask under the click"
        self.annotator.wait(60)
        return taken, time.perf_counter() - began


class Heartbeat:
    """Measures how long the event loop does not come round.

    Beside the gaps it takes how much of them the main thread itself was computing: what is left is
    other threads and other processes on the same cores, and software that draws for want of a
    graphics card counts as computing.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.gaps: list[float] = []
        self.busy: list[float] = []
        self._last = time.perf_counter()
        self._last_busy = time.thread_time()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(2)
        self._timer.timeout.connect(self._beat)

    def begin(self) -> None:
        self.gaps.clear()
        self.busy.clear()
        self._last, self._last_busy = time.perf_counter(), time.thread_time()
        self._timer.start()

    def end(self, name: str) -> Numbers:
        """Return the 99th percentile of the gaps, the longest, and the longest time computing."""
        self._timer.stop()
        return {
            f"gap_{name}_p99_ms": 1000 * float(np.percentile(self.gaps, 99)),
            f"gap_{name}_worst_ms": 1000 * max(self.gaps),
            f"busy_{name}_p99_ms": 1000 * float(np.percentile(self.busy, 99)),
            f"busy_{name}_worst_ms": 1000 * max(self.busy),
        }

    def _beat(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        self.gaps.append(now - self._last)
        self.busy.append(busy - self._last_busy)
        self._last, self._last_busy = now, busy


def opening() -> Numbers:
    import napari

    viewer = napari.Viewer(show=True)
    viewer.add_image(movie(10))
    began, cpu = time.perf_counter(), time.process_time()
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 annotate")
    docked, docked_cpu = _since(began), time.process_time() - cpu
    assert "torch" not in sys.modules
    widget.wait(30)
    return {
        "opening_ms": 1000 * docked,
        "opening_cpu_ms": 1000 * docked_cpu,
        "opening_with_layers_ms": 1000 * _since(began),
    }


def clicks() -> Numbers:
    count = 25
    window = Window(NUM_CLICKS + 2, count)
    places = centres(count)
    first, _ = window.click_to_mask(0, *places[0])
    ways = {"seen_frame": {}, "held": {"held_s": HELD_S}, "aimed": {"aims": True}}
    taken: dict[str, list[tuple[float, float]]] = {}
    rest = iter(places[1:])
    for name, how in ways.items():
        for y, x in islice(rest, NUM_CLICKS):
            window.annotator.new_object()
            window.annotator.wait(60)
            taken.setdefault(name, []).append(window.click_to_mask(0, y, x, **how))
    for frame_idx in range(1, 1 + NUM_CLICKS):
        window.viewer.dims.set_point(0, frame_idx)
        window.live(0.1)
        new = window.click_to_mask(frame_idx, *places[0])
        taken.setdefault("new_frame", []).append(new)
    numbers = {"network_ready_ms": 1000 * window.ready_s, "first_click_ms": 1000 * first}
    for name, pairs in taken.items():
        shown, answered = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        numbers |= {f"click_{name}_ms": shown, f"answer_{name}_ms": answered}
    return numbers


def gaps() -> Numbers:
    window, beat = Window(NUM_FRAMES), Heartbeat()
    numbers = window.loading.end("loading")
    places = centres(16)[:5]
    window.click_to_mask(0, *places[0])
    beat.begin()
    for y, x in places[1:]:
        window.annotator.new_object()
        window.click_to_mask(0, y, x)
    numbers |= beat.end("clicks")
    beat.begin()
    for y, x in centres(16)[5:9]:
        window.annotator.new_object()
        window.live(PACE_S)
        window.click_to_mask(0, y, x, held_s=HELD_S)
    numbers |= beat.end("held")
    beat.begin()
    began = time.perf_counter()
    window.annotator.propagate("forward")
    window.annotator.wait(3600)
    per_frame = _since(began) / NUM_FRAMES
    numbers |= beat.end("propagating")
    # cancel in the middle of a run over everything again
    window.annotator.undo()
    window.annotator.wait(60)
    window.annotator.propagate("forward")
    window.live(8 * per_frame)
    began = time.perf_counter()
    window.annotator.cancel()
    window.annotator.wait(60)
    quiet = _since(began)
    done = len(window.annotator.session.objects[0].mask_frames)
    assert 1 < done < NUM_FRAMES, done
    return numbers | {"frame_ms": 1000 * per_frame, "cancel_ms": 1000 * quiet}


def bare() -> Numbers:
    """Place points of napari's own in the same window, without this project."""
    hand, beat = Hand(movie(NUM_FRAMES)), Heartbeat()
    points = hand.viewer.add_points(ndim=3)
    points.mode = "add"
    hand.settle()
    hand.click(*centres(16)[0])
    numbers: Numbers = {}
    for name, held_s, places in (
        ("bare_clicks", 0.0, range(1, 5)),
        ("bare_held", HELD_S, range(5, 9)),
    ):
        beat.begin()
        for place in places:
            points.current_face_color = ["red", "cyan"][place % 2]
            hand.live(PACE_S if held_s else 0.0)
            hand.click(*centres(16)[place], held_s=held_s)
            hand.live(PACE_S)
        numbers |= beat.end(name)
    assert len(points.data) == 9
    return numbers


def many() -> Numbers:
    """Add a click with one object on the frame, then with 200."""
    window = Window(3, 256)
    session, places = window.annotator.session, centres(256)
    window.click_to_mask(0, *places[0])
    one = []
    for y, x in places[1:6]:
        window.annotator.new_object()
        window.annotator.wait(60)
        one.append(window.click_to_mask(0, y, x))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:12, :12] = True
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number, (y, x) in enumerate(places[10:206], 10):
        labels[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6] = number
    for _ in session.add_labels({0: labels}):
        pass
    window.annotator.wait(600)
    assert len(session.objects) >= 200
    several = []
    for y, x in places[206:211]:
        window.annotator.new_object()
        window.annotator.wait(60)
        several.append(window.click_to_mask(0, y, x))
    return {
        "prompt_1_object_ms": 1000 * statistics.median(answered for _, answered in one),
        "prompt_200_objects_ms": 1000 * statistics.median(answered for _, answered in several),
    }


def _victim(folder: str) -> None:
    """Follow objects until killed."""
    from napari_sam2 import Session
    from napari_sam2.session.autosave import Autosave

    session = Session(movie(NUM_FRAMES))
    saving = Autosave(session, Path(folder))
    for y, x in centres(16)[:3]:
        session.add_point(session.new_object(), 0, (y, x))
    for frame_idx in session.propagate("forward"):
        print(frame_idx, time.time(), flush=True)
    saving.stop()


def killed() -> Numbers:
    from napari_sam2 import Session
    from napari_sam2.session.autosave import find_work

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--victim", folder]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        done = []
        for line in child.stdout:
            frame_idx, at = line.split()
            done.append((int(frame_idx), float(at)))
            if len(done) == NUM_FRAMES // 2:
                break
        os.kill(child.pid, signal.SIGKILL)
        at_end = time.time()
        child.wait()
        found = find_work(Session(movie(NUM_FRAMES)), Path(folder))
    assert found is not None
    states = found.contents.document.objects.values()
    saved = min(len(state.masks) for state in states)
    last = next((at for frame_idx, at in done if frame_idx == saved), at_end)
    prompts = sum(len(state.prompts) for state in states)
    return {"killed_prompts_lost": 3.0 - prompts, "killed_masks_lost_s": at_end - last}


MEASURES: dict[str, Callable[[], Numbers]] = {
    "opening": opening,
    "clicks": clicks,
    "gaps": gaps,
    "bare": bare,
    "many": many,
    "killed": killed,
}
TARGETS = {
    "opening_ms": 300.0,
    "click_new_frame_ms": 300.0,
    "click_seen_frame_ms": 150.0,
    "click_aimed_ms": 150.0,
    "gap_propagating_p99_ms": 50.0,
    "gap_propagating_worst_ms": 200.0,
    "gap_clicks_p99_ms": 50.0,
    "gap_clicks_worst_ms": 200.0,
    "gap_held_p99_ms": 50.0,
    "gap_held_worst_ms": 200.0,
    "killed_prompts_lost": 0.0,
    "killed_masks_lost_s": 1.0,
}


def _since(began: float) -> float:
    return time.perf_counter() - began


def _measured(name: str, environment: dict[str, str]) -> Numbers:
    """Take one measure in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    numbers: Numbers = json.loads(lines[0].removeprefix(_MARK))
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.victim:
        _victim(arguments.victim)
        return
    if arguments.one:
        print(_MARK + json.dumps(MEASURES[arguments.one]()), flush=True)
        os._exit(0)  # what is measured is over; Qt need not be taken down
    numbers: Numbers = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NAPARI_SAM2_CACHE": cache}
        if environment.pop("PYTHONDONTWRITEBYTECODE", None):
            # a person's packages are compiled; here they are once, outside of what is measured
            environment["PYTHONPYCACHEPREFIX"] = str(Path(cache) / "bytecode")
            _measured("clicks", environment)
        for name in arguments.only:
            numbers |= _measured(name, environment)
    targets = dict(TARGETS)
    if "frame_ms" in numbers:
        targets["cancel_ms"] = numbers["frame_ms"]
    if "prompt_1_object_ms" in numbers:
        targets["prompt_200_objects_ms"] = 2 * numbers["prompt_1_object_ms"]
    print(f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores for this process")
    print("| measure | value | target |\n|---|---|---|")
    for name, value in numbers.items():
        target = f"{targets[name]:.0f}" if name in targets else ""
        print(f"| {name.replace('_', ' ')} | {value:.1f} | {target} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
