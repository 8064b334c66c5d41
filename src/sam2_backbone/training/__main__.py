"""The command `python -m sam2_backbone.training`, which `accelerate launch -m` can start too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sam2_backbone.errors import SAM2Error
from sam2_backbone.training.command import ABOUT, EPILOG, add_options, run_training


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit status: 1 if the run could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m sam2_backbone.training",
        description=ABOUT,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    try:
        run_training(parser.parse_args(argv))
    except (ValueError, OSError, SAM2Error) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
