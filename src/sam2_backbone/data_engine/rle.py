"""Masks as run lengths, in COCO's compressed text: column by column, background first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 48  # the character "0"
_BITS, _MORE = 5, 32  # a character holds five bits, and whether another one follows
_LONGEST = 12  # characters of a number of 64 bits, sign included


@dataclass(frozen=True)
class Rle:
    """
    A mask (H, W) as COCO keeps it.

    Attributes
    ----------
    size
        Height and width of the frame in pixels.
    counts
        The run lengths as COCO's compressed text.
    """

    size: tuple[int, int]
    counts: str

    @classmethod
    def of(
        cls,
        mask: NDArray[np.bool_],
        size: tuple[int, int] | None = None,
        *,
        top: int = 0,
        left: int = 0,
    ) -> Rle:
        """
        Encode a mask.

        Parameters
        ----------
        mask
            (h, w) bool, the whole frame or the part of it that begins at (`top`, `left`).
        size
            Height and width of the frame; those of the mask if ``None``.
        top, left
            First row and column of the part in the frame, in pixels.
        """
        height, width = mask.shape if size is None else size
        runs = run_lengths(mask, (height, width), top=top, left=left)
        return cls((int(height), int(width)), text_of_runs(runs))

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Rle:
        """Return the mask without a pixel."""
        return cls.of(np.zeros((0, 0), np.bool_), size)

    @classmethod
    def from_json(cls, tree: Any) -> Rle:
        """
        Read ``{"size": [height, width], "counts": text}``; `counts` may be a list of runs too.

        Raises
        ------
        ValueError
            It is no such thing, or its runs do not fill the frame.
        """
        if not isinstance(tree, Mapping) or not {"size", "counts"} <= tree.keys():
            raise ValueError('A mask must be {"size": [height, width], "counts": runs}.')
        size, counts = tree["size"], tree["counts"]
        if not isinstance(size, (list, tuple)) or len(size) != 2:
            raise ValueError(f"The size of a mask must be [height, width], not {size!r}.")
        if any(not isinstance(length, (int, float)) or length != int(length) for length in size):
            raise ValueError(f"The size of a mask must be whole numbers, not {size!r}.")
        height, width = (int(length) for length in size)
        if not isinstance(counts, str):
            try:
                counts = text_of_runs(np.asarray(counts, np.int64).reshape(-1))
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError("The runs of a mask must be whole numbers or text.") from error
        made = cls((height, width), counts)
        _ = made.runs  # refuses what does not fill the frame
        return made

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"size": list(self.size), "counts": self.counts}

    @cached_property
    def runs(self) -> NDArray[np.int64]:
        """Lengths of the runs, background first.

        Raises
        ------
        ValueError
            They are no run lengths, or do not fill the frame.
        """
        runs = runs_of_text(self.counts)
        if (runs < 0).any() or int(runs.sum()) != self.size[0] * self.size[1]:
            raise ValueError(f"The runs do not fill a mask of {self.size[0]} x {self.size[1]}.")
        return runs

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(self.runs[1::2].sum())

    def to_array(self) -> NDArray[np.bool_]:
        """Return the mask (H, W)."""
        mask = np.zeros(self.size, np.bool_, order="F")
        self.paint(mask, True)
        return mask

    def paint(self, image: NDArray[Any], value: Any) -> None:
        """Set the pixels inside to a value.

        Parameters
        ----------
        image
            (H, W), its columns contiguous (``order="F"``); changed in place.
        """
        if image.shape != self.size or not image.flags.f_contiguous:
            raise ValueError(f"A mask of {self.size} needs an image of that size, in columns.")
        runs = self.runs[: len(self.runs) // 2 * 2]  # up to the last one inside
        if len(runs):
            inside = np.repeat(np.arange(1, len(runs)) % 2 == 1, runs[1:])
            first = int(runs[0])
            image.T.reshape(-1)[first : first + len(inside)][inside] = value


def run_lengths(
    mask: NDArray[np.bool_], size: tuple[int, int], *, top: int = 0, left: int = 0
) -> NDArray[np.int64]:
    """
    Return the runs of a mask, column by column, background first.

    Parameters
    ----------
    mask
        (h, w) bool, a part of the frame.
    size
        Height and width of the frame.
    top, left
        First row and column of the part, in pixels of the frame.
    """
    height, width = size
    rows, columns = mask.shape
    if not (0 <= top <= height - rows and 0 <= left <= width - columns):
        raise ValueError(f"A part of {mask.shape} at ({top}, {left}) lies beyond {size}.")
    padded = np.zeros((columns, rows + 2), np.int8)
    padded[:, 1:-1] = mask.T
    steps = np.diff(padded, axis=1)  # (w, h + 1): 1 where a run begins, -1 behind its end
    starts, stops = (
        (left + column) * height + top + row
        for column, row in (np.nonzero(steps == 1), np.nonzero(steps == -1))
    )
    apart = stops[:-1] != starts[1:]  # a run may go on at the top of the next column
    bounds = np.empty(2 * (int(apart.sum()) + min(len(starts), 1)), np.int64)
    bounds[0::2] = starts[np.append(True, apart)[: len(starts)]]
    bounds[1::2] = stops[np.append(apart, True)[: len(stops)]]
    runs = np.diff(np.concatenate([[0], bounds, [height * width]])).astype(np.int64)
    return runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs


def text_of_runs(runs: NDArray[np.int64]) -> str:
    """Return COCO's compressed text of run lengths.

    From the fourth on a run is told by how much it is longer than the one of its kind before. A
    number is written in groups of five bits, the lowest first, with two's complement for its sign.
    """
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    magnitude = np.where(values < 0, ~values, values)
    num_bits = np.frexp(magnitude.astype(np.float64))[1] + 1  # one for the sign
    lengths = np.maximum(-(-num_bits // _BITS), 1)
    place = np.arange(int(lengths.max(initial=1)))
    groups = (values[:, None] >> (_BITS * place)) & (_MORE - 1)  # (N, longest)
    groups += np.where(place < lengths[:, None] - 1, _MORE, 0) + _FIRST
    return bytes(groups[place < lengths[:, None]].astype(np.uint8)).decode("ascii")


def runs_of_text(text: str) -> NDArray[np.int64]:
    """Return the run lengths of COCO's compressed text.

    Raises
    ------
    ValueError
        It is not such a text.
    """
    groups = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _FIRST
    stops = np.flatnonzero((groups & _MORE) == 0)
    if len(groups) == 0 or groups.min() < 0 or groups.max() >= 2 * _MORE:
        raise ValueError("The text is no compressed run length encoding.")
    if len(stops) == 0 or stops[-1] != len(groups) - 1:
        raise ValueError("The run length encoding is cut off.")
    starts = np.append(0, stops[:-1] + 1)
    lengths = stops - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("The text is no compressed run length encoding: a number is too long.")
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & (_MORE - 1)) << (_BITS * place), starts)
    is_negative = (groups[stops] & (_MORE >> 1)) != 0
    values -= np.where(is_negative, 1 << (_BITS * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
