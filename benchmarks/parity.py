"""Largest differences to the reference for every variant, as the table of ``docs/parity.md``.

Random weights of the reference, float32 on the CPU. The video scenario has 12 frames, clicks, a
box, masks (one empty), corrections, forward and backward; see ``tests/parity``.
``python benchmarks/parity.py [--variants NAME ...] [--size 256] [--write docs/parity.md]``
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.parity import measure  # noqa: E402

from sam2_backbone import list_variants  # noqa: E402

BEGIN, END = "<!-- table of benchmarks/parity.py -->", "<!-- end of table -->"


def main() -> None:
    """Measure and print; with --write, replace the table of a page."""
    published = [name for name in list_variants() if name != "micro"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="+", default=published, choices=published)
    parser.add_argument("--size", type=int, default=256, help="side of the model input in pixels")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"Model input {arguments.size} pixels, float32, largest difference over largest magnitude.",
        "",
        "| variant | image features | image predictions | video, 12 frames | masks |",
        "|---|---|---|---|---|",
    ]
    for variant in arguments.variants:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            features = measure.image_features(variant, Path(folder), size=arguments.size)
            images = measure.image_predictions(variant, Path(folder), size=arguments.size)
            video = measure.video(variant, Path(folder), size=arguments.size)
        agree = "identical" if images.masks_agree and video.masks_agree else "DIFFERENT"
        lines.append(
            f"| {variant} | {features.difference:.1e} | {images.difference:.1e} "
            f"| {video.difference:.1e} | {agree} |"
        )
        print(lines[-1], f"({time.perf_counter() - started:.0f} s)", flush=True)
    print("\n".join(lines))
    if arguments.write:
        page = arguments.write.read_text()
        head, rest = page.split(BEGIN)
        tail = rest.split(END)[1]
        arguments.write.write_text(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}")


if __name__ == "__main__":
    main()
