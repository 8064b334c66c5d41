"""Which numbers the project asks of its embedded model, and whether a row of the table has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

GAIN_WANTED = 0.10  # of mean IoU over the best baseline …
ERROR_SHARE_WANTED = 1 / 3  # … or this share of its error removed

CLICK_1, CLICK_3, CLICK_5 = "IoU, 1 click", "IoU, 3 clicks", "IoU, 5 clicks"
BOX, NOC = "IoU, box", "clicks to IoU 0.85"
RANKS = "rank correlation of predicted IoU"
GAIN = "gain of 1 click over the best baseline"
J_MASK, F_MASK, BOTH_MASK = "J from mask", "F from mask", "J&F from mask"
J_CLICK, F_CLICK, BOTH_CLICK = "J from click", "F from click", "J&F from click"
PRESENCE_MASK, PRESENCE_CLICK = "presence F1 from mask", "presence F1 from click"
AP, MATCHED = "automatic, AP@50", "automatic, IoU of matches"


@dataclass(frozen=True)
class Target:
    """A bound for a measure; `at_most` turns it around."""

    value: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:.2f}"


TARGETS: Mapping[tuple[str, str], Target] = MappingProxyType(
    {
        (CLICK_1, "dsb2018/dev"): Target(0.83),
        (CLICK_3, "dsb2018/dev"): Target(0.87),
        (BOX, "dsb2018/dev"): Target(0.88),
        (NOC, "dsb2018/dev"): Target(3.0, at_most=True),
        (CLICK_1, "usiigaci_2d/dev"): Target(0.65),
        (CLICK_3, "usiigaci_2d/dev"): Target(0.76),
        (BOX, "usiigaci_2d/dev"): Target(0.80),
        (J_MASK, "cells3d_nuclei_3d"): Target(0.75),
        (BOTH_MASK, "made clips"): Target(0.85),
        (BOTH_CLICK, "made clips"): Target(0.80),
        (PRESENCE_MASK, "made clips"): Target(0.90),
        (PRESENCE_CLICK, "made clips"): Target(0.90),
        (BOTH_MASK, "davis/dev"): Target(0.60),
        (AP, "dsb2018/dev: fluorescence"): Target(0.70),
    }
)


@dataclass(frozen=True)
class Baseline:
    """What a classical method reached on the same objects."""

    name: str
    value: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    objects
        How many objects the value is a mean over.
    baselines
        The best first; none where no classical method is compared.
    target
        As it is written in the table; empty where the project names none.
    met
        None where there is no target.
    """

    measure: str
    data: str
    objects: int
    value: float
    baselines: tuple[Baseline, ...] = ()
    target: str = ""
    met: bool | None = None

    @property
    def best(self) -> Baseline | None:
        """The best baseline."""
        return self.baselines[0] if self.baselines else None


def ranked(means: Mapping[str, float]) -> tuple[Baseline, ...]:
    """Return baselines with these means, the best first."""
    rows = (Baseline(name, value) for name, value in means.items())
    return tuple(sorted(rows, key=lambda each: -each.value))


def row(
    measure: str, data: str, objects: int, value: float, baselines: tuple[Baseline, ...] = ()
) -> Row:
    """Return a row, held against its target if there is one."""
    target = TARGETS.get((measure, data))
    if target is None:
        return Row(measure, data, objects, value, baselines)
    met = value <= target.value if target.at_most else value >= target.value
    return Row(measure, data, objects, value, baselines, str(target), met)


def gain_row(data: str, objects: int, value: float, baselines: tuple[Baseline, ...]) -> Row:
    """Return the row of what one click gains over the best baseline, with the target of any set."""
    gain, error = value - baselines[0].value, 1 - baselines[0].value
    removed = gain / error if error > 0 else math.nan
    met = gain >= GAIN_WANTED or removed >= ERROR_SHARE_WANTED
    target = f"≥ {GAIN_WANTED:.2f}, or ⅓ of error (is {removed:.0%})"
    return Row(GAIN, data, objects, gain, baselines, target, met)
