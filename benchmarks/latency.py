"""How long a person waits: first mask, next click, following, everything; ours and the reference.

    python benchmarks/latency.py [--variant micro] [--threads 2] [--dtype float32] [--side 512]
        [--repeats 5] [--out latency.json] [--reference]

Medians after a warm-up, on a made movie of 16 moving discs: time on the clock, and on all cores
together, which other work on the machine disturbs less. `--reference` measures
`sam2.1_hiera_tiny` with random weights beside the reference implementation, which must be installed
(extra `test`): one image with a click, and a frame of following one object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from sam2_backbone import ImagePredictor, MaskGenerator, VideoPredictor, build_sam2

FRAMES = 10
WARM_UP_FRAMES = 3  # of following; memories are few at first
REFERENCE = "sam2.1_hiera_tiny"
ROOT = Path(__file__).resolve().parent.parent


def movie(side: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return (FRAMES, side, side) uint8 with 16 discs that move, and where they are at first."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:side, :side]
    cell = side / 4
    centres = [((i + 0.5) * cell, (j + 0.5) * cell) for i in range(4) for j in range(4)]
    speeds = rng.uniform(-1.5, 1.5, (16, 2))
    frames = np.zeros((FRAMES, side, side), np.uint8)
    for t in range(FRAMES):
        drawn = np.full((side, side), 25.0)
        for (y, x), (dy, dx) in zip(centres, speeds, strict=True):
            drawn[np.hypot(yy - y - dy * t, xx - x - dx * t) < 0.16 * cell] = 170
        noisy = ndimage.gaussian_filter(drawn, 1.5) + rng.normal(0, 4, drawn.shape)
        frames[t] = noisy.clip(0, 255)
    return frames, [(x, y) for y, x in centres]


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of all cores together."""

    clock: float
    cores: float


class Stopwatch:
    """Collects the times between `start` and `stop`."""

    def __init__(self) -> None:
        self.laps: list[Spent] = []
        self.start()

    def start(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        clock, cores = self._began
        self.laps.append(Spent(time.perf_counter() - clock, time.process_time() - cores))

    def median(self, warm_up: int = 1) -> Spent:
        """Return the medians of the laps after the first few."""
        counted = self.laps[warm_up:]
        return Spent(
            statistics.median(lap.clock for lap in counted),
            statistics.median(lap.cores for lap in counted),
        )


def timed(run: Callable[[], object], repeats: int) -> Spent:
    """Return the median of `repeats` runs after one that is not counted."""
    watch = Stopwatch()
    for _ in range(repeats + 1):
        watch.start()
        run()
        watch.stop()
    return watch.median()


def clicks(predictor: VideoPredictor, image: np.ndarray, repeats: int) -> dict[str, Spent]:
    """Time the first mask on a new image, and the answer of a second click."""
    x = y = 0.375 * image.shape[0]
    first, following = Stopwatch(), Stopwatch()
    for _ in range(repeats + 1):
        first.start()
        state = predictor.init_state(image[None], window="auto")
        predictor.answer(state, 0, 1, points=[[x, y]], labels=[1])
        first.stop()
        following.start()
        predictor.answer(state, 0, 1, points=[[x + 3, y - 2]], labels=[1], clear_old_points=False)
        following.stop()
    return {"first mask": first.median(), "next click": following.median()}


def per_frame(steps: Iterable[object]) -> Spent:
    """Return the time of a frame, the median over frames."""
    watch = Stopwatch()
    for _ in steps:
        watch.stop()
        watch.start()
    return watch.median(WARM_UP_FRAMES)


def following(predictor: VideoPredictor, objects: int, side: int) -> Spent:
    """Time a frame of following so many objects."""
    frames, places = movie(side)
    state = predictor.init_state(frames, window="auto")
    for obj_id, (x, y) in enumerate(places[:objects], start=1):
        predictor.answer(state, 0, obj_id, points=[[x, y]], labels=[1])
    return per_frame(predictor.propagate(state, direction="forward"))


def ours(variant: str, dtype: str, side: int, repeats: int) -> dict[str, Spent]:
    """Measure what a person waits for."""
    model = build_sam2(variant, "default" if variant == "micro" else None, dtype=dtype)
    predictor = VideoPredictor(model)
    frames, _ = movie(side)
    rows = clicks(predictor, frames[0], repeats)
    for objects in (1, 16):
        rows[f"a frame, {objects} objects"] = following(predictor, objects, side)
    if variant == "micro":  # the grid of the others takes minutes on a CPU
        generator = MaskGenerator.tuned(model)
        rows["everything"] = timed(lambda: generator.generate(frames[0]), 1)
    return rows


def beside_reference(repeats: int) -> dict[str, tuple[Spent, Spent]]:
    """Measure ours and the reference on the same random weights."""
    sys.path.insert(0, str(ROOT))
    from sam2.sam2_image_predictor import SAM2ImagePredictor
    from tests.parity import reference

    frames, places = movie(512)
    colour = np.repeat(frames[..., None], 3, axis=-1)
    point, label = np.array([places[5]]), np.array([1])
    rows = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        theirs = reference.build_reference(REFERENCE, video=True, input_size=1024)
        path = reference.save_checkpoint(theirs, Path(folder) / "random.pt")
        model = build_sam2(REFERENCE, path, device="cpu", dtype="float32")
        pair = (ImagePredictor(model), SAM2ImagePredictor(theirs))

        def one_image(predictor: ImagePredictor) -> None:
            predictor.set_image(colour[0])
            predictor.predict(point, label)

        images = [timed(lambda p=p: one_image(p), repeats) for p in pair]
        rows["an image and a click"] = (images[0], images[1])
        files = reference.write_frames(colour, Path(folder) / "frames")
        frames_of = []
        for predictor, video in ((VideoPredictor(model), colour), (theirs, str(files))):
            state = predictor.init_state(video)
            predictor.add_new_points_or_box(state, 0, 1, points=point, labels=label)
            frames_of.append(per_frame(predictor.propagate_in_video(state)))
        rows["a frame, one object"] = (frames_of[0], frames_of[1])
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="micro")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report: dict[str, object] = {
        "variant": options.variant,
        "threads": options.threads,
        "dtype": options.dtype,
        "side": options.side,
        "torch": torch.__version__,
    }
    print(", ".join(f"{name} {value}" for name, value in report.items()), flush=True)
    rows = ours(options.variant, options.dtype, options.side, options.repeats)
    report["seconds"] = {name: asdict(spent) for name, spent in rows.items()}
    print(f"\n| {options.variant} | ms | a second | ms of all cores |\n|---|---|---|---|")
    for name, spent in rows.items():
        numbers = (
            f"{1000 * spent.clock:.0f}",
            f"{1 / spent.clock:.1f}",
            f"{1000 * spent.cores:.0f}",
        )
        print(f"| {name} | {' | '.join(numbers)} |")
    if options.reference:
        pairs = beside_reference(options.repeats)
        report["reference"] = {
            name: {"ours": asdict(mine), "reference": asdict(other)}
            for name, (mine, other) in pairs.items()
        }
        print(
            f"\n| {REFERENCE}, 1024 pixels | ours, ms | reference, ms | ratio |\n|---|---|---|---|"
        )
        for name, (mine, other) in pairs.items():
            times = f"{1000 * mine.clock:.0f} | {1000 * other.clock:.0f}"
            print(f"| {name} | {times} | {other.clock / mine.clock:.2f} |")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
