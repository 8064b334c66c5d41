"""Peak memory of following one object, for short and long movies.

Each length runs in a process of its own, on lazy frames that are made when they are read; printed
is the peak resident size. ``python benchmarks/video_memory.py [--frames 40 400] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 256


class MovingDisk:
    """Frames of a bright disk that wanders; nothing is kept."""

    height, width, is_rgb = SIDE, SIDE, False
    dtype: np.dtype[np.generic] = np.dtype(np.uint16)

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames

    def read(self, frame_idx: int) -> NDArray[np.generic]:
        """Draw one frame."""
        rng = np.random.default_rng(frame_idx)
        yy, xx = np.mgrid[:SIDE, :SIDE]
        x = SIDE / 2 + SIDE / 4 * np.sin(frame_idx / 20)
        frame = rng.integers(200, 400, (SIDE, SIDE))
        frame[(yy - SIDE / 2) ** 2 + (xx - x) ** 2 < 20**2] += 2000
        return frame.astype(np.uint16)


def follow(variant: str, num_frames: int, window: str | None) -> None:
    """Follow one object through all frames and print the peak resident size in MiB."""
    from sam2_backbone import VideoPredictor, build_sam2

    predictor = VideoPredictor(build_sam2(variant, device="cpu"))
    state = predictor.init_state(MovingDisk(num_frames), window=window)
    predictor.add_new_points_or_box(state, 0, 1, points=[[SIDE / 2, SIDE / 2]], labels=[1])
    count = sum(1 for _ in predictor.propagate_in_video(state))
    assert count == num_frames
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print a table; exit with 1 if the longest run needs over 10 % more than the shortest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="micro")
    parser.add_argument("--frames", type=int, nargs="+", default=[40, 400])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--window", choices=["auto"])
    arguments = parser.parse_args()
    if arguments.one is not None:
        follow(arguments.variant, arguments.one, arguments.window)
        return
    rows = {}
    for num_frames in arguments.frames:
        command = [sys.executable, __file__, "--variant", arguments.variant]
        command += ["--one", str(num_frames)] + (["--window", "auto"] if arguments.window else [])
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows[num_frames] = float(printed.split()[-1])
    first = rows[min(rows)]
    print(f"{arguments.variant}, one object, {SIDE} x {SIDE} pixels, lazy frames")
    print("| frames | peak resident size (MiB) | ratio |\n|---|---|---|")
    for num_frames, peak in rows.items():
        print(f"| {num_frames} | {peak:.0f} | {peak / first:.3f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))
    if rows[max(rows)] > 1.1 * first:
        sys.exit(1)


if __name__ == "__main__":
    main()
