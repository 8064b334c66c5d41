"""How a run goes: means between reports, a table on disk, and curves that a person can read."""

from __future__ import annotations

import csv
import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_log = logging.getLogger(__name__)
# curves of one plot, by the start of their names
_PLOTS = {
    "IoU with the truth": ("click", "box", "track"),
    "share of frames judged rightly": ("present_right", "absent_right"),
    "loss": ("loss", "dense"),
    "seconds for a step": ("step_seconds", "data_seconds", "waiting_seconds"),
}
_SMOOTHED = 5  # reports in a running mean


Sums = dict[str, tuple[float, int]]


def add_to(sums: Sums, name: str, total: float, count: int = 1) -> None:
    """Add `count` values whose sum is `total` to what a name has had."""
    before = sums.get(name, (0.0, 0))
    sums[name] = (before[0] + total, before[1] + count)


class Means:
    """Sums and counts of named numbers since they were last taken."""

    def __init__(self) -> None:
        self._sums: Sums = {}

    def add(self, name: str, total: float, count: int = 1) -> None:
        """Add `count` values whose sum is `total`."""
        add_to(self._sums, name, total, count)

    def take(self) -> dict[str, float]:
        """Return the means, and begin anew; what was never counted has none."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        self._sums = {}
        return means


def append_row(path: Path, step: int, minutes: float, means: Mapping[str, float]) -> None:
    """Append one line for each mean: step, minutes, name, value."""
    with path.open("a", newline="") as table:
        writer = csv.writer(table)
        for name, value in sorted(means.items()):
            writer.writerow((step, f"{minutes:.3f}", name, f"{value:.5f}"))


def forget_rows_after(path: Path, step: int) -> None:
    """Take back what the table says of later steps: they are taken once more."""
    if not path.exists():
        return
    with path.open(newline="") as table:
        kept = [row for row in csv.reader(table) if len(row) == 4 and int(row[0]) <= step]
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as table:
        csv.writer(table).writerows(kept)
    os.replace(part, path)


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Return the minutes and the values of each name in the table of `append_row`."""
    curves: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    with path.open(newline="") as table:
        for _, minutes, name, value in csv.reader(table):
            curves[name][0].append(float(minutes))
            curves[name][1].append(float(value))
    return dict(curves)


def draw_curves(table: Path, target: Path) -> None:
    """Draw the table's curves into a PNG; without matplotlib the table is all there is."""
    if not table.exists():
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        _log.info("no curves are drawn: pip install 'napari-sam2[train]' brings matplotlib")
        return
    curves = read_curves(table)
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, beginnings) in zip(figure.subplots(2, 2).flat, _PLOTS.items(), strict=True):
        for name in sorted(curves):
            if name.split("+")[0] in beginnings:
                minutes, values = curves[name]
                width = min(_SMOOTHED, len(values))
                smooth = np.convolve(values, np.ones(width) / width, mode="valid")
                axes.plot(minutes[width - 1 :], smooth, label=name)
        axes.set(title=title, xlabel="minutes of training")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    figure.savefig(target, dpi=90)
