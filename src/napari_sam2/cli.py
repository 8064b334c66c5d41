"""The command line ``napari-sam2``: what can be typed, and with which status it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_sam2 import evaluate_command
from napari_sam2.command_options import (
    Said,
    Say,
    numbers,
    settings_of,
    shared_options,
    style_of,
    with_signs,
)
from napari_sam2.session.atomic import written_whole
from napari_sam2.session.errors import SessionError
from napari_sam2.session.exchange import FORMATS, MOVIE, check_exchange
from napari_sam2.session.label_files import check_target
from napari_sam2.session.overlay import MovieStyle
from sam2_backbone.errors import SAM2Error
from sam2_backbone.training import command as command_of_training
from sam2_backbone.variants import list_variants

_FAILED, _WRONG_USE, _STOPPED = 1, 2, 130

_EPILOG = """\
examples:
  napari-sam2 demo
  napari-sam2 segment cells.tif --point 105,80
  napari-sam2 segment cells.tif --point 105,80 --negative 120,90 --and --box 10,20,60,75
  napari-sam2 everything cells.tif
  napari-sam2 track movie.tif --labels first_frame.tif -o tracked.zarr
  napari-sam2 doctor

Coordinates are x,y in pixels, the first pixel's centre is 0,0.
Exit status: 0 done, 1 failed, 2 wrong use, 130 stopped."""

_PROMPT_FILE = """\
a prompt file is JSON, a list with one entry per object and frame (x, y in pixels):
  [{"frame_idx": 0, "obj_id": 1, "points": [[105, 80], [120, 90]], "point_labels": [1, 0]},
   {"frame_idx": 0, "obj_id": 2, "box": [10, 20, 60, 75]},
   {"frame_idx": 9, "obj_id": 2, "mask": {"size": [height, width], "counts": [runs]}}]
point_labels are 1 (inside the object) and 0 (outside); a mask is a COCO run length encoding,
its counts a list or compressed text. A session saved by the widget may be given instead."""

_OTHER = "instead of the one the session was computed with; the masks then differ"


class UsageError(Exception):
    """The command was typed in a way that cannot work."""


def _add_segment(segment: argparse.ArgumentParser) -> None:
    segment.add_argument("image", type=Path, metavar="IMAGE")
    group = segment.add_argument_group("what to segment, in the order of the clicks")
    for option, about in (("--point", "inside"), ("--negative", "outside")):
        group.add_argument(
            option, dest="said", action=Say, type=numbers("X,Y"), metavar="X,Y",
            help=f"a point {about} the object; may be repeated",
        )  # fmt: skip
    group.add_argument(
        "--box", dest="said", action=Say, type=numbers("X0,Y0,X1,Y1"), metavar="X0,Y0,X1,Y1",
        help="edges of a box around the object",
    )  # fmt: skip
    group.add_argument(
        "--and", dest="said", action=Say, nargs=0, help="what follows is about the next object"
    )
    group.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt file, see below")


def _add_track(track: argparse.ArgumentParser) -> None:
    track.add_argument("stack", type=Path, metavar="STACK")
    prompts = track.add_mutually_exclusive_group(required=True)
    prompts.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt file, see below")
    prompts.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="label image of one frame, or of all (frames without a label are filled in)",
    )  # fmt: skip
    track.add_argument(
        "--frame", type=int, action="append", metavar="N",
        help="the frame, from 0, that --labels shows (0), or those of it to use; may be repeated",
    )  # fmt: skip
    track.add_argument("--direction", choices=("both", "forward", "backward"), default="both")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument(
        "-o", "--out", type=Path, default=Path("napari-sam2-demo"), metavar="DIR",
        help="folder of labels.tif, overlay.png and tracks.csv (%(default)s)",
    )  # fmt: skip
    demo.add_argument("--gui", action="store_true", help="open the result in napari")


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("session", type=Path, metavar="SESSION")
    replay.add_argument(
        "--image", type=Path, metavar="FILE", help="the image, if it is no longer where it was"
    )
    replay.add_argument("--variant", choices=list_variants(), metavar="NAME", help=_OTHER)
    replay.add_argument(
        "--device", type=command_of_training.device_name, metavar="DEVICE", help=_OTHER
    )


class _Commands:
    """The commands of a parser, which all have `--debug`."""

    def __init__(self, parser: argparse.ArgumentParser, debug: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", required=True)
        self._debug = debug

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], None],
        about: str,
        *shared: argparse.ArgumentParser,
        epilog: str | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of a new command, which has what is `shared` already."""
        made: argparse.ArgumentParser = self._parsers.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=epilog,
            parents=[*shared, self._debug],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made


def _parser() -> argparse.ArgumentParser:
    shared = shared_options()
    parser = argparse.ArgumentParser(
        prog="napari-sam2",
        description="Segment and track anything with SAM 2.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("napari-sam2"))
    add = _Commands(parser, shared.debug).add
    demo = add(
        "demo", _demo, "follow the cells of a bundled movie from clicks",
        shared.model, shared.window, shared.output,
    )  # fmt: skip
    _add_demo(demo)
    segment = add(
        "segment", _segment, "segment objects in an image",
        shared.model, shared.window, shared.contrast, shared.target,
        epilog=_PROMPT_FILE,
    )  # fmt: skip
    _add_segment(segment)
    everything = add(
        "everything", _everything, "segment all objects in an image, without prompts",
        shared.model, shared.contrast, shared.target,
    )  # fmt: skip
    everything.add_argument("image", type=Path, metavar="IMAGE")
    track = add(
        "track", _track, "follow objects through a movie or a stack",
        shared.model, shared.window, shared.contrast, shared.target, shared.exchange,
        epilog=_PROMPT_FILE,
    )  # fmt: skip
    _add_track(track)
    replay = add(
        "replay", _replay, "compute the masks of a saved session again",
        shared.target, shared.exchange,
    )  # fmt: skip
    _add_replay(replay)
    evaluate = add(
        "evaluate", evaluate_command.run_evaluate, evaluate_command.ABOUT,
        shared.model, shared.window, shared.output,
        epilog=evaluate_command.EPILOG,
    )  # fmt: skip
    evaluate_command.add_options(evaluate)
    train = add(
        "train", command_of_training.run_training, command_of_training.ABOUT,
        epilog=command_of_training.EPILOG,
    )  # fmt: skip
    command_of_training.add_options(train)
    models = add("models", _models, "list the networks, or download one", shared.facts)
    models.add_argument("--download", choices=list_variants(), metavar="NAME")
    add("doctor", _doctor, "print what this installation consists of", shared.facts)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    chosen = parser.parse_args(with_signs(sys.argv[1:] if arguments is None else arguments))
    try:
        chosen.run(chosen)
    except KeyboardInterrupt:
        print("napari-sam2: stopped", file=sys.stderr)
        return _STOPPED
    except Exception as error:
        if chosen.debug:
            raise
        print(f"napari-sam2: {_sentence(error)}", file=sys.stderr)
        return _WRONG_USE if isinstance(error, (UsageError, FileExistsError)) else _FAILED
    return 0


def _sentence(error: Exception) -> str:
    """Return what happened and what to do, on one line."""
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, (UsageError, SessionError, SAM2Error, ValueError, TypeError, OSError)):
        return said or type(error).__name__
    return f"unexpected {type(error).__name__}: {said} (--debug shows where)"


def _target(chosen: argparse.Namespace, source: Path, ending: str) -> Path:
    """Return where the labels go, by default a name made of the input's in this folder."""
    exchanged = FORMATS.get(getattr(chosen, "format", None) or "")
    proposed = f"{source.stem}{ending}.tif" if exchanged is None else exchanged.name_for(source)
    path: Path = chosen.out or Path(proposed)
    if path.resolve() == source.resolve():
        raise UsageError(f"{path} is what the labels are made of: give another -o.")
    try:
        if exchanged is None:
            check_target(path, overwrite=chosen.overwrite)
        else:
            check_exchange(path, exchanged, overwrite=chosen.overwrite, image=source)
    except FileExistsError as error:
        if chosen.overwrite or not path.exists():
            raise UsageError(str(error)) from error
        raise UsageError(f"{path} exists already: give --overwrite or another -o.") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return path


def _style(chosen: argparse.Namespace) -> MovieStyle | None:
    style = style_of(chosen)
    if style is not None and chosen.format != MOVIE:
        raise UsageError("--fps and --fill belong to --format movie.")
    return style


def _demo(chosen: argparse.Namespace) -> None:
    from napari_sam2.demo import NOTE, OUTPUTS, run_demo, table

    folder: Path = chosen.out
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder with --out.")
    existing = [name for name in OUTPUTS if (folder / name).exists()]
    if existing and not chosen.overwrite:
        raise UsageError(
            f"{folder / existing[0]} exists already: give --overwrite or another --out."
        )
    done = run_demo(folder, settings_of(chosen), overwrite=chosen.overwrite)
    frames = done.session.num_frames
    print(f"Followed {len(done.agreements)} cells over {frames} frames in {done.seconds:.0f} s.\n")
    print(f"{table(done)}\n\n{NOTE}\n")
    for name in OUTPUTS:
        print(f"wrote {folder / name}")
    if chosen.gui:
        _show(done.session)


def _show(session: Any) -> None:
    import napari
    import numpy as np

    viewer = napari.Viewer(title="napari-sam2 demo")
    frames = range(session.num_frames)
    viewer.add_image(np.stack([session.source.read(frame) for frame in frames]), name="movie")
    viewer.add_labels(np.stack([session.labels(frame) for frame in frames]), name="cells")
    napari.run()


def _segment(chosen: argparse.Namespace) -> None:
    from napari_sam2.api import segmented_session
    from napari_sam2.session.label_files import write_labels
    from napari_sam2.session.prompt_files import Prompts
    from napari_sam2.session.prompts import PromptRecord

    said: list[Said] = chosen.said or []
    if bool(said) == bool(chosen.prompts):
        raise UsageError("say what to segment: --point, --box, or --prompts FILE.")
    if said and said[-1].is_empty:
        raise UsageError("--and begins another object: give it a --point or a --box.")
    target = _target(chosen, chosen.image, "_labels")
    prompts: Prompts = chosen.prompts or [
        PromptRecord(0, number, row.points or None, row.signs or None, row.box)
        for number, row in enumerate(said, start=1)
    ]
    session = segmented_session(chosen.image, prompts, settings_of(chosen), progress=True)
    labels = session.labels(0)
    write_labels(target, iter([labels]), labels.shape, labels.dtype)
    for row in session.objects:
        mask, scores = session.mask(row.obj_id, 0), session.scores(row.obj_id, 0)
        if mask is not None and scores is not None:
            print(f"{row.name}: {int(mask.sum())} pixels, predicted IoU {scores.iou:.2f}")
    print(f"wrote {target}")


def _everything(chosen: argparse.Namespace) -> None:
    from napari_sam2.everything import everything_to

    target = _target(chosen, chosen.image, "_labels")
    count = everything_to(target, chosen.image, settings_of(chosen))
    print(f"{count} objects\nwrote {target}")


def _track(chosen: argparse.Namespace) -> None:
    from napari_sam2.api import tracked_to
    from napari_sam2.session.prompt_files import labels_by_frame

    if chosen.frame and not chosen.labels:
        raise UsageError("--frame belongs to --labels; a prompt file names its frames itself.")
    style = _style(chosen)
    target = _target(chosen, chosen.stack, "_tracked")
    prompts = chosen.prompts or labels_by_frame(chosen.labels, chosen.frame)
    session = tracked_to(
        target,
        chosen.stack,
        prompts,
        settings_of(chosen),
        direction=chosen.direction,
        format_name=chosen.format,
        style=style,
    )
    for row in session.objects:
        masks = session.document.objects[row.obj_id].masks
        seen = sum(not mask.is_empty for mask in masks.values())
        print(f"{row.name}: on {seen} of {session.num_frames} frames")
    print(f"wrote {target}")


def _replay(chosen: argparse.Namespace) -> None:
    from napari_sam2.api import replayed_to

    style = _style(chosen)
    target = _target(chosen, chosen.session, "_labels")
    replayed_to(
        target,
        chosen.session,
        chosen.image,
        variant=chosen.variant,
        device=chosen.device,
        format_name=chosen.format,
        style=style,
    )
    print(f"wrote {target}")


def _models(chosen: argparse.Namespace) -> None:
    from sam2_backbone.download import cache_folder, download
    from sam2_backbone.variants import VARIANTS, PublishedWeights

    if chosen.download:
        weights = VARIANTS[chosen.download].weights
        if not isinstance(weights, PublishedWeights):
            print(f"{chosen.download} is part of the package: there is nothing to download.")
            return
        target = cache_folder() / weights.file_name
        download(weights.url, target, sha256=weights.sha256, progress=True)
        print(f"{chosen.download} is in {target}")
        return
    lines = [f"{'name':24} {'licence':27} weights"]
    for name in [chosen.variant] if chosen.variant else list_variants():
        variant = VARIANTS[name]
        if isinstance(variant.weights, PublishedWeights):
            path = cache_folder() / variant.weights.file_name
            place = str(path) if path.is_file() else f"not here; from {variant.weights.url}"
        else:
            place = "embedded"
        lines.append(f"{name:24} {variant.licence:27} {place}")
    if chosen.device != "auto":
        from napari_sam2.doctor import computing

        lines += computing(chosen.device)
    _tell(lines, chosen)


def _doctor(chosen: argparse.Namespace) -> None:
    from napari_sam2.doctor import report

    _tell(report(chosen.variant, chosen.device), chosen)


def _tell(lines: Iterable[str], chosen: argparse.Namespace) -> None:
    """Print lines as they come, and write them to --out."""
    out: Path | None = chosen.out
    if out is not None and out.exists() and not chosen.overwrite:
        raise UsageError(f"{out} exists already: give --overwrite or another --out.")
    told = []
    for line in lines:
        print(line, flush=True)
        told.append(line)
    if out is not None:
        with written_whole(out) as part:
            part.write_text("\n".join(told) + "\n", encoding="utf-8")
        print(f"wrote {out}")


if __name__ == "__main__":
    sys.exit(main())
