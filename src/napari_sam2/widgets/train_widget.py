"""The panel *SAM 2 train*: who hears whom while weights learn from a person's own labels."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.labelled_frames import labelled_frames
from napari_sam2.layers.model_input import images_of
from napari_sam2.session.errors import TrainingError
from napari_sam2.session.training_data import (
    DATA,
    LabelledFrames,
    WrittenData,
    has_training_data,
    write_training_data,
)
from napari_sam2.session.training_run import (
    RunProgress,
    TrainingOrder,
    TrainingRun,
    keep_weights,
    read_progress,
)
from napari_sam2.session.wording import counted
from napari_sam2.widgets.messages import sentence_of
from napari_sam2.widgets.preferences import prefer_weights, read_preferences
from napari_sam2.widgets.stoppable import Outcome, StoppableWork
from napari_sam2.widgets.train_panels import CurveView, SheetView, TrainForm
from sam2_backbone.weights_names import why_unsuitable

_ADVICE = (
    "Adapts the built-in network to your own images: choose an image and its labels, or a folder, "
    "and a folder for the result."
)
_LOOK_MS = 500
# seconds that the end of a window waits for a run to save; the run has saved every few minutes
_PATIENCE = 8.0
_VARIANT = "micro"
StartRun = Callable[[TrainingOrder], TrainingRun]


class TrainWidget(QWidget):
    """Fine-tune the network on labelled layers or on a folder, in a process of its own.

    Parameters
    ----------
    napari_viewer
        The viewer, as napari hands it to a plugin.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._start_run: StartRun = TrainingRun
        self._work: StoppableWork[WrittenData] = StoppableWork()
        self._news = _ADVICE
        self._ends_asked = False
        # all that the end of the window needs, and nothing of Qt
        self._runs: list[TrainingRun] = []
        self._form = TrainForm()
        preferences = read_preferences()
        if preferences.weights_for(_VARIANT) != "default":
            self._form.choose(weights=preferences.weights)
        self._train, self._stop, self._resume, self._use = (
            QPushButton(text) for text in ("Train", "Stop", "Resume", "Use these weights")
        )
        self._bar = QProgressBar()
        self._bar.hide()
        self._said = QLabel()
        self._said.setWordWrap(True)
        self._curve, self._sheet = CurveView(), SheetView()
        self._build()
        self._looking = QTimer(self)
        self._looking.setInterval(_LOOK_MS)
        self._looking.timeout.connect(self._look)
        self._docked = False
        atexit.register(_end_all, self._runs, self._work.stopping)
        # a partial of plain objects: a bound method would be gone with the widget
        self.destroyed.connect(partial(_end_all, self._runs, self._work.stopping))
        self.reset_choices()

    @property
    def form(self) -> TrainForm:
        """What is chosen."""
        return self._form

    @property
    def is_busy(self) -> bool:
        """Whether layers are being written, or a run lives."""
        return self._work.worker is not None or bool(self._runs)

    @property
    def status(self) -> str:
        """What the panel says of the run."""
        return self._said.text()

    def reset_choices(self, event: Any = None) -> None:
        """List the layers anew; napari calls this whenever layers come, go or are renamed."""
        labels = [layer for layer in self._viewer.layers if isinstance(layer, Labels)]
        self._form.show_layers(images_of(self._viewer), labels)

    def train(self) -> None:
        """Begin a run as the form says, or say why that cannot be."""
        if self.is_busy or not self._say_hindrance():
            return
        form = self._form
        try:
            order = self._order(resume=False)
            order.check()
            if not form.from_layers:
                self._begin(order)
                return
            labelled = labelled_frames(
                form.image, form.labels, self._viewer.dims, world_units=self._viewer.layers.units
            )
        except (LayerRefusedError, TrainingError, OSError) as error:
            show_warning(sentence_of(error))
            return
        self._write(labelled, order)

    def resume(self) -> None:
        """Go on with the run in the output folder, or say why that cannot be."""
        if self.is_busy or self._form.out is None:
            return
        try:
            self._begin(self._order(resume=True))
        except (TrainingError, OSError) as error:
            show_warning(sentence_of(error))

    def stop(self) -> None:
        """End the run after the step it is in; what was learned is kept."""
        self._work.stopping.set()
        self._ends_asked = True
        for run in self._runs:
            run.stop()
        self._show()

    def use_weights(self) -> None:
        """Let the annotator, this viewer's and later ones, answer with what was learned."""
        out = self._form.out
        if out is None:
            return
        try:
            weights = keep_weights(out)
        except (TrainingError, OSError) as error:
            show_warning(sentence_of(error))
            return
        prefer_weights(_VARIANT, weights)
        self._form.choose(weights=weights)
        # the annotator may be open: torch-free, but the largest part of the plugin
        from napari_sam2.widgets.main_widget import docked_widgets

        for annotator in docked_widgets(self._viewer):
            annotator.use_weights(_VARIANT, weights)
        self._news = (
            f"{weights.name} answers from now on, here and in new windows. To go back, empty "
            "Weights in the preferences of SAM 2."
        )
        self._show()

    def changeEvent(self, event: QEvent | None) -> None:
        """End the run once the dock was closed."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.stop()
            self._docked = self.parent() is not None

    # Inside

    def _build(self) -> None:
        self._stop.setToolTip("Ends after the step it is in; what was learned is kept.")
        buttons = QGridLayout()
        for place, (button, slot) in enumerate(
            (
                (self._train, self.train),
                (self._stop, self.stop),
                (self._resume, self.resume),
                (self._use, self.use_weights),
            )
        ):
            button.clicked.connect(slot)
            buttons.addWidget(button, place // 2, place % 2)
        column = QVBoxLayout(self)
        column.addWidget(self._form)
        column.addLayout(buttons)
        for widget in (self._bar, self._said, self._curve, self._sheet):
            column.addWidget(widget)
        column.addStretch()
        self._form.changed.connect(self._show)

    def _say_hindrance(self) -> bool:
        hindrance = self._form.hindrance()
        if not hindrance and self._form.weights is not None:
            hindrance = why_unsuitable(self._form.weights, _VARIANT)
        if hindrance:
            show_warning(hindrance)
        return not hindrance

    def _order(self, *, resume: bool) -> TrainingOrder:
        form = self._form
        out = form.out
        assert out is not None
        own = out / DATA
        from_own = has_training_data(out) if resume else form.from_layers
        weights = form.weights
        return TrainingOrder(
            data=own if from_own else (form.data or Path(_NOWHERE)),
            out=out,
            minutes=form.minutes,
            weights="default" if weights is None else str(weights),
            resume=resume,
            device=read_preferences().device,
        )

    def _write(self, labelled: LabelledFrames, order: TrainingOrder) -> None:
        """Write the layers in a thread, then begin."""
        self._ends_asked = False
        self._news = "Writing the labelled frames …"
        form, tell = self._form, self._work.tell
        worker = self._work.begin(
            partial(
                write_training_data, labelled, order.out, is_movie=form.is_movie, progress=tell
            ),
            total=0,
        )
        worker.returned.connect(partial(self._on_written, order))
        worker.finished.connect(self._on_worker_finished)
        self._looking.start()
        self._show()
        worker.start()

    def _on_written(self, order: TrainingOrder, written: Outcome[WrittenData]) -> None:
        if written.error is not None:
            self._news = _ADVICE
            show_error(sentence_of(written.error))
        elif written.result is None or self._work.stopping.is_set():
            self._news = "Stopped; no run was begun."
        else:
            try:
                self._begin(order)
            except (TrainingError, OSError) as error:
                self._news = _ADVICE
                show_error(sentence_of(error))
                return
            frames, objects = written.result.num_frames, written.result.num_objects
            kind = "a movie of" if written.result.is_movie else "separate images:"
            self._news = f"Learning from {kind} {counted(frames, 'frame')} with "
            self._news += f"{counted(objects, 'object')}. "

    def _on_worker_finished(self) -> None:
        self._work.worker = None
        self._show()

    def _begin(self, order: TrainingOrder) -> None:
        self._ends_asked = False
        self._runs.append(self._start_run(order))
        self._news = ""
        self._looking.start()
        self._show()

    def _look(self) -> None:
        """See how far the run is, and whether it has ended."""
        for run in [run for run in self._runs if not run.is_running]:
            self._runs.remove(run)
            self._on_run_ended(run)
        if not self.is_busy:
            self._looking.stop()
        self._show()

    def _on_run_ended(self, run: TrainingRun) -> None:
        failure = run.failure()
        if failure is not None:
            self._news = failure
            show_error(failure)
            return
        progress = read_progress(run.order.out)
        how = "Stopped" if progress.minutes < run.order.minutes - 0.05 else "Done"
        steps = counted(progress.step, "step")
        self._news = f"{how} after {progress.minutes:.1f} minutes and {steps}. "

    def _show(self, *_: object) -> None:
        out = self._form.out
        progress = RunProgress() if out is None else read_progress(out)
        self._curve.show_curve(progress.curves, progress.total_minutes)
        self._sheet.show_sheet(progress.samples)
        self._show_bar(progress)
        self._said.setText(self._sentence(progress))
        self._form.setEnabled(not self.is_busy)
        hindrance = self._form.hindrance()
        self._train.setEnabled(not self.is_busy and not hindrance and not progress.can_resume)
        self._train.setToolTip(
            hindrance
            or ("This folder holds a run: resume it, or choose another." * progress.can_resume)
            or "Learn from what is chosen, in a process of its own."
        )
        self._stop.setEnabled(self.is_busy and not self._ends_asked)
        self._resume.setEnabled(not self.is_busy and progress.can_resume)
        self._resume.setToolTip(
            "Go on with the run in the output folder, until it has had the minutes above."
            if progress.can_resume
            else "The output folder holds no run to go on with."
        )
        self._use.setEnabled(progress.weights is not None)
        self._use.setToolTip(
            "Answer with what was learned so far, in the annotator and in SAM 2 everything."
            if progress.weights is not None
            else "There are no weights yet: a run writes them every few minutes and at its end."
        )

    def _show_bar(self, progress: RunProgress) -> None:
        self._bar.setVisible(self.is_busy)
        done, total = self._work.done
        if self._runs:
            asked = self._runs[0].order.minutes
            done, total = round(60 * progress.minutes), round(60 * asked)
            total = total if progress.step else 0  # until the first report
        self._bar.setRange(0, total)
        self._bar.setValue(min(done, total))

    def _sentence(self, progress: RunProgress) -> str:
        if self._ends_asked and self.is_busy:
            return "Stopping after this step, then saving …"
        if self._work.worker is not None:
            return self._news
        measured = _measured(progress)
        if self._runs:
            if not progress.step:
                return f"{self._news}Starting: reading the images, then the first steps …"
            minutes = self._runs[0].order.minutes
            return f"{self._news}{progress.minutes:.1f} of {minutes:g} minutes{measured}"
        if progress.step and self._news == _ADVICE:
            return f"A run of {progress.minutes:.1f} minutes is in this folder{measured}"
        if progress.step and self._news.endswith(" "):
            return f"{self._news}{measured.removeprefix(', ').capitalize()}"
        return self._news


_NOWHERE = "no folder was chosen"


def _measured(progress: RunProgress) -> str:
    """Say what the last reports have measured."""
    loss, overlap = progress.latest("loss"), progress.latest("click")
    said = "" if loss is None else f", loss {loss:.2f}"
    said += "" if overlap is None else f", overlap with your labels after one click {overlap:.2f}"
    return f"{said}." if said else "."


def _end_all(runs: list[TrainingRun], stopping: threading.Event, *_: object) -> None:
    """Leave no run behind when the window or the program ends, and begin none."""
    stopping.set()
    for run in runs:
        run.stop()
    while runs:
        with suppress(OSError):
            runs.pop().end(_PATIENCE)
