"""A training run in a process of its own: how it is started and stopped, and how far it is."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from napari_sam2.session.errors import TrainingError

#: What the process says, beside the table of the run.
LOG = "training.log"
_CHECKPOINT, _WEIGHTS, _TABLE, _RECIPE = (
    "checkpoint.pt",
    "weights.safetensors",
    "log.csv",
    "args.json",
)
PROGRAM = (sys.executable, "-m", "sam2_backbone.training")
_SAID_BY = "python -m sam2_backbone.training: "
_KEPT_LINES = 8192  # bytes at the end of the log that are looked through for the reason


@dataclass(frozen=True)
class TrainingOrder:
    """
    What a person asks of a run.

    Attributes
    ----------
    data
        Folder with ``images/`` beside ``masks/``, at any depth.
    out
        Run folder.
    minutes
        Length of the run, what it has had before included.
    weights
        File to start from, or ``"default"`` for the embedded ones.
    resume
        Go on with the run in `out`.
    """

    data: Path
    out: Path
    minutes: float
    weights: str = "default"
    resume: bool = False
    device: str = "auto"

    def check(self) -> None:
        """Raise `TrainingError` unless the run can begin, as far as can be told before."""
        if self.out.exists() and not self.out.is_dir():
            raise TrainingError(f"{self.out} is a file: choose a folder for the output.")
        if not self.resume:
            _check_new(self)
            return
        if not self.data.is_dir():
            raise TrainingError("The folder that this run learns from is needed: choose it again.")
        progress = read_progress(self.out)
        if not progress.can_resume:
            raise TrainingError(f"{self.out} holds no run to go on with: press Train.")
        if self.minutes <= progress.minutes:
            raise TrainingError(
                f"This run has had {progress.minutes:.1f} minutes already: give more to go on."
            )

    def arguments(self) -> list[str]:
        """Return the options of the training command."""
        # one core stays free for the window
        threads = max(1, (os.cpu_count() or 2) - 1)
        said = [str(self.data), "--out", str(self.out), "--minutes", f"{self.minutes:g}"]
        said += ["--device", self.device, "--threads", str(threads), "--until-input-ends"]
        if self.resume:
            return [*said, "--resume"]
        # what an attempt without weights has left is in the way otherwise; see `check`
        return [*said, "--weights", self.weights, "--overwrite"]


def _check_new(order: TrainingOrder) -> None:
    if holds_run(order.out):
        raise TrainingError(
            f"{order.out} holds a run or weights already: press Resume to go on with a run, or "
            "choose another output folder."
        )
    if order.weights != "default" and not Path(order.weights).is_file():
        raise TrainingError(f"There is no file of weights {order.weights}: choose one, or none.")


def holds_run(out: Path) -> bool:
    """Whether a folder has what a run has learned, finished or not."""
    return any((out / name).exists() for name in (_CHECKPOINT, _WEIGHTS))


@dataclass(frozen=True)
class RunProgress:
    """
    How far a run is.

    Attributes
    ----------
    step, minutes
        As last reported.
    total_minutes
        What was asked for; ``None`` where no run has begun.
    curves
        Minutes and values of each name that was measured.
    samples
        The newest sheet of crops.
    weights
        What was learned so far, ready to use.
    """

    step: int = 0
    minutes: float = 0.0
    total_minutes: float | None = None
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    samples: Path | None = None
    weights: Path | None = None
    can_resume: bool = False

    def latest(self, name: str, count: int = 3) -> float | None:
        """Return the mean of the last values of a name."""
        values = self.curves.get(name, ((), ()))[1][-count:]
        return sum(values) / len(values) if values else None


def read_progress(out: Path) -> RunProgress:
    """Read how far the run in a folder is, while it is being written or later."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    step, minutes = 0, 0.0
    with suppress(OSError), (out / _TABLE).open(newline="", encoding="utf-8") as table:
        for row in csv.reader(table):
            try:
                step, minutes, value = int(row[0]), float(row[1]), float(row[3])
            except (ValueError, IndexError):  # a line that is being written
                continue
            times, values = curves.setdefault(row[2], ([], []))
            times.append(minutes)
            values.append(value)
    total = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        total = float(json.loads((out / _RECIPE).read_text(encoding="utf-8"))["minutes"])
    # by time: those of an earlier run in this folder may be of later steps
    sheets = sorted((out / "samples").glob("step_*.png"), key=lambda path: path.stat().st_mtime)
    weights = out / _WEIGHTS
    return RunProgress(
        step,
        minutes,
        total,
        curves,
        sheets[-1] if sheets else None,
        weights if weights.is_file() else None,
        all((out / name).is_file() for name in (_CHECKPOINT, _WEIGHTS, _RECIPE)),
    )


def keep_weights(out: Path) -> Path:
    """
    Copy what a run has learned to a name of its own, and return it.

    Sessions remember the weights that answered them, and a run that goes on replaces its file.

    Raises
    ------
    TrainingError
        There are no weights yet.
    """
    progress = read_progress(out)
    if progress.weights is None:
        raise TrainingError(f"{out} has no weights yet: they are written every few minutes.")
    written_at = time.localtime(progress.weights.stat().st_mtime)
    kept = out / f"weights_{time.strftime('%Y-%m-%d_%H%M%S', written_at)}.safetensors"
    if not kept.exists():
        part = kept.with_suffix(".part")
        shutil.copyfile(progress.weights, part)
        os.replace(part, kept)
    return kept


class TrainingRun:
    """
    A run in a process of its own, which ends with this one.

    It stops by itself, and saves, once its input is closed: `stop` does that, and so does the end
    of this process, however it comes.

    Parameters
    ----------
    program
        What is started; the arguments of the order are added.

    Raises
    ------
    TrainingError
        The run cannot begin.
    """

    def __init__(self, order: TrainingOrder, *, program: Sequence[str] = PROGRAM) -> None:
        order.check()
        self.order = order
        order.out.mkdir(parents=True, exist_ok=True)
        self._log = order.out / LOG
        with self._log.open("ab") as log:
            self._began_at = log.tell()
            self._running = subprocess.Popen(
                [*program, *order.arguments()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._running.poll() is None

    def stop(self) -> None:
        """Have it stop after the step that it is in, and save; returns at once."""
        assert self._running.stdin is not None
        with suppress(OSError):
            self._running.stdin.close()

    def end(self, patience: float) -> None:
        """Stop it, and end it for good if it takes longer than `patience` seconds."""
        self.stop()
        try:
            self._running.wait(patience)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    def failure(self) -> str | None:
        """Return why it failed, in a sentence; None while it runs and where it has not failed."""
        status = self._running.poll()
        if status is None or status == 0:
            return None
        with self._log.open("rb") as log:
            log.seek(max(self._began_at, self._log.stat().st_size - _KEPT_LINES))
            said = log.read().decode("utf-8", errors="replace")
        return _reason(said, status, self._log)


def _reason(said: str, status: int, log: Path) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if "out of memory" in said.lower() or last.startswith("MemoryError"):
        return (
            "There was not enough memory for training: close other programs, or choose the "
            "device cpu in the preferences."
        )
    if last.startswith(_SAID_BY):
        sentence = last.removeprefix(_SAID_BY)
        return sentence if sentence[-1:] in ".!?" else f"{sentence}."
    if status < 0:
        return (
            f"The training was ended from outside (signal {-status}), often for want of memory; "
            "Resume goes on from its last checkpoint."
        )
    return f"The training failed: {last or f'exit status {status}'}. {log} has the details."
