"""The functions for scripts: an image or a movie and prompts in, labels out; x, y in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam2.progress import shown
from napari_sam2.session.exchange import export_results
from napari_sam2.session.given_numbers import as_floats, as_polarity
from napari_sam2.session.history import Direction
from napari_sam2.session.images import is_array_file, open_frames, read_array
from napari_sam2.session.label_files import check_target, streamed_zarr, write_labels
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.overlay import MovieStyle
from napari_sam2.session.prompt_files import Passing, Prompts, prompt
from napari_sam2.session.prompts import PromptRecord
from napari_sam2.session.replay import replaying
from napari_sam2.session.result_masks import SessionMasks
from napari_sam2.session.session import PredictorFactory, Session
from napari_sam2.session.settings import SessionSettings, Window

Labels = npt.NDArray[np.unsignedinteger]

_PADDING = -1


def segment_image(
    image: Any,
    points: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
    *,
    variant: str | None = "micro",
    window: Window = "auto",
    value_range: tuple[float, float] | None = None,
    weights: str | Path = "default",
    device: str = "auto",
    dtype: str = "auto",
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Labels:
    """
    Segment objects in one image from points or boxes.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, 3|4)``, any real dtype; or a path.
    points
        x, y in pixels, an integer is a pixel's centre: ``(N, 2)`` for one object, ``(B, N, 2)`` for
        several. They are taken in order, each with the answer before it.
    point_labels
        ``(N,)`` or ``(B, N)``: 1 positive, 0 negative, −1 padding. All positive if not given.
    boxes
        x0, y0, x1, y1 edges: ``(4,)`` for one object, ``(B, 4)`` for several.
    variant, weights, device, dtype
        As `sam2_backbone.build_sam2` takes them.
    window
        ``"auto"``, ``None`` (the whole image) or a side in pixels.
    value_range
        Intensities shown to the model as black and white.
    models
        Keeps the loaded model for the next call.
    predictor_factory
        See `Session`.

    Returns
    -------
    ``(H, W)`` uint16 or uint32 labels 1…B; where masks overlap the higher logit wins.
    """
    records = _image_records(points, point_labels, boxes)
    if not records:  # no box found is a result, not a mistake
        source = open_frames(image)
        return np.zeros((source.height, source.width), np.uint16)
    settings = SessionSettings(
        variant=variant,
        window=window,
        value_range=value_range,
        weights=str(weights),
        device=device,
        dtype=dtype,
    )
    models = kept_models(settings) if models is None else models
    session = segmented_session(
        image, records, settings, models=models, predictor_factory=predictor_factory
    )
    return session.labels(0)


def kept_models(settings: SessionSettings) -> ModelHub | None:
    """Return where functions keep models between calls: a loop over images loads one once."""
    # a file of one's own may change between two calls, so it is read again
    return _models_of_functions() if settings.weights == "default" else None


@cache
def _models_of_functions() -> ModelHub:
    return ModelHub()


def segmented_session(
    image: Any,
    prompts: Prompts,
    settings: SessionSettings,
    *,
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
    progress: bool = False,
) -> Session:
    """Return a new session on one image with its objects prompted."""
    session = Session(image, **vars(settings), models=models, predictor_factory=predictor_factory)
    if session.num_frames != 1:
        raise ValueError(
            f"One image is needed, got a movie of {session.num_frames} frames: track it."
        )
    prompt(session, prompts, passing=_passing(wanted=progress))
    return session


def _passing(*, wanted: bool) -> Passing:
    """Return what shows a bar of prompts, if it is wanted."""

    def passed(prompts: Sequence[Any]) -> Iterator[Any]:
        return shown(prompts, title="Prompting", total=len(prompts), wanted=wanted, unit="prompt")

    return passed


def _image_records(
    points: npt.ArrayLike | None, point_labels: npt.ArrayLike | None, boxes: npt.ArrayLike | None
) -> list[PromptRecord]:
    """Return one record per object of the arrays of `segment_image`."""
    if points is None and boxes is None:
        raise ValueError("Give points, boxes or both: there is nothing to segment.")
    xy = None if points is None else as_floats(points, "points")
    edges = None if boxes is None else as_floats(boxes, "boxes")
    # nothing found is a result too, and lists of nothing have no width
    xy = np.zeros((0, 1, 2)) if xy is not None and xy.size == 0 else xy
    edges = np.zeros((0, 4)) if edges is not None and edges.size == 0 else edges
    signs = None if point_labels is None else as_polarity(point_labels)
    if xy is not None:
        if xy.ndim not in (2, 3) or xy.shape[-1] != 2:
            raise ValueError(f"Points must have the shape (N, 2) or (B, N, 2), got {xy.shape}.")
        if signs is None:
            signs = np.ones(xy.shape[:-1], np.int64)
        if signs.shape != xy.shape[:-1]:
            raise ValueError(
                f"point_labels must have the shape {xy.shape[:-1]} to match the points, "
                f"got {signs.shape}."
            )
        xy, signs = (xy, signs) if xy.ndim == 3 else (xy[None], signs[None])
    elif signs is not None:
        raise ValueError("point_labels were given without points.")
    if edges is not None:
        if edges.ndim not in (1, 2) or edges.shape[-1] != 4:
            raise ValueError(f"Boxes must have the shape (4,) or (B, 4), got {edges.shape}.")
        edges = edges if edges.ndim == 2 else edges[None]
    if xy is not None and edges is not None and len(xy) != len(edges):
        raise ValueError(f"There are points for {len(xy)} objects and {len(edges)} boxes.")
    count = len(xy) if xy is not None else len(edges) if edges is not None else 0
    records = []
    for row in range(count):
        kept = signs[row] != _PADDING if signs is not None else None
        records.append(
            PromptRecord(
                frame_idx=0,
                obj_id=row + 1,
                points=None if xy is None else xy[row][kept],
                point_labels=None if signs is None else signs[row][kept],
                box=None if edges is None else edges[row],
            )
        )
    return records


def track(
    stack: Any,
    prompts: Prompts,
    *,
    variant: str | None = "micro",
    direction: Direction = "both",
    window: Window = "auto",
    out: str | Path | None = None,
    progress: bool = True,
    overwrite: bool = False,
    value_range: tuple[float, float] | None = None,
    weights: str | Path = "default",
    device: str = "auto",
    dtype: str = "auto",
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Any:
    """
    Follow objects through a movie or a stack of slices.

    Parameters
    ----------
    stack
        ``(T, H, W)`` or ``(T, H, W, 3)``: NumPy, dask or zarr, read a frame at a time; or a path.
    prompts
        ``{frame_idx: labels}``, every label an object whose value is kept; or a list of
        `PromptRecord`, x, y; or the path of a JSON file of such records or of a session.
    variant, weights, device, dtype
        As `sam2_backbone.build_sam2` takes them.
    direction
        ``"forward"``, ``"backward"`` or ``"both"`` from each object's prompts.
    window
        ``"auto"``, ``None`` (the whole frame) or a side in pixels.
    out
        A ``.zarr`` to stream the labels into while they come.
    progress
        Show a bar on a terminal.
    overwrite
        Replace `out` if it exists.
    value_range
        Intensities shown to the model as black and white.
    models, predictor_factory
        See `Session`.

    Returns
    -------
    ``(T, H, W)`` uint16 or uint32 labels, or the zarr array of `out`.
    """
    target = _zarr_target(out, overwrite=overwrite)
    settings = SessionSettings(
        variant=variant,
        window=window,
        value_range=value_range,
        weights=str(weights),
        device=device,
        dtype=dtype,
    )
    session, steps = _tracking(
        stack,
        prompts,
        settings,
        direction=direction,
        progress=progress,
        models=kept_models(settings) if models is None else models,
        predictor_factory=predictor_factory,
    )
    if target is not None:
        import zarr

        _stream(session, steps, target)
        return zarr.open(str(target), mode="r")
    for _ in steps:
        pass
    return np.stack([session.labels(frame_idx) for frame_idx in range(session.num_frames)])


def tracked_to(
    target: Path,
    stack: Any,
    prompts: Prompts,
    settings: SessionSettings,
    *,
    direction: Direction = "both",
    format_name: str | None = None,
    style: MovieStyle | None = None,
    progress: bool = True,
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Session:
    """
    Track, write the results to `target`, and return the session.

    Without `format_name` they are labels, ``.tif`` or ``.zarr``, else what that format has; a
    movie looks as `style` says.
    """
    session, steps = _tracking(
        stack,
        prompts,
        settings,
        direction=direction,
        progress=progress,
        models=models,
        predictor_factory=predictor_factory,
    )
    if target.suffix.lower() == ".zarr":
        _stream(session, steps, target)
        return session
    for _ in steps:
        pass
    _write(session, target, format_name, style, as_movie=True, progress=progress)
    return session


def _write(
    session: Session,
    target: Path,
    format_name: str | None,
    style: MovieStyle | None,
    *,
    as_movie: bool,
    progress: bool,
) -> None:
    """Write what a session holds, over what is there: that was checked before."""
    num_frames = session.num_frames
    if format_name is not None:
        results = SessionMasks(session)
        steps = export_results(results, target, format_name, overwrite=True, style=style)
        for _ in shown(steps, title="Writing", total=num_frames, wanted=progress):
            pass
        return
    shape: tuple[int, ...] = (num_frames, session.height, session.width)
    frames = (session.labels(frame_idx) for frame_idx in range(num_frames))
    write_labels(target, frames, shape if as_movie else shape[1:], session.labels(0).dtype)


def _tracking(
    stack: Any,
    prompts: Prompts,
    settings: SessionSettings,
    *,
    direction: Direction,
    progress: bool,
    models: ModelHub | None,
    predictor_factory: PredictorFactory | None,
) -> tuple[Session, Iterator[int]]:
    """Return a prompted session and the steps that track in it."""
    session = Session(
        _as_movie(stack),
        **vars(settings),
        path=stack if isinstance(stack, (str, Path)) else None,
        models=models,
        predictor_factory=predictor_factory,
    )
    prompt(session, prompts, passing=_passing(wanted=progress))
    steps = shown(
        session.propagate(direction),
        title="Tracking",
        total=session.propagation_length(direction),
        wanted=progress,
    )
    return session, steps


def _as_movie(stack: Any) -> Any:
    """Open a stack so that a 3-D array is a movie whatever its last axis; refuse a 2-D image."""
    if isinstance(stack, (str, Path)) and is_array_file(Path(stack)):
        stack = read_array(stack)
    if len(getattr(stack, "shape", (0, 0, 0))) == 2:
        raise ValueError("A movie has three axes (T, H, W), got one image: segment it instead.")
    return open_frames(stack, as_movie=True)


def _zarr_target(out: str | Path | None, *, overwrite: bool) -> Path | None:
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() != ".zarr":
        raise ValueError(f"out must end in .zarr, got {path.name!r}.")
    check_target(path, overwrite=overwrite)
    return path


def _stream(session: Session, steps: Iterator[int], target: Path) -> None:
    shape = (session.num_frames, session.height, session.width)
    with streamed_zarr(target, shape, session.labels(0).dtype) as array:
        for frame_idx in steps:
            array[frame_idx] = session.labels(frame_idx)
        # Frames with prompts that tracking did not come to.
        for frame_idx in {frame for row in session.objects for frame in row.prompted_frames}:
            array[frame_idx] = session.labels(frame_idx)


def replay(
    session: str | Path,
    image: Any = None,
    out: str | Path | None = None,
    *,
    variant: str | None = None,
    device: str | None = None,
    progress: bool = True,
    overwrite: bool = False,
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Any:
    """
    Compute the masks of an interactive session again, action by action, without a window.

    Parameters
    ----------
    session
        A session file.
    image
        The image, where the one that the file names is no longer there.
    out
        A ``.tif`` or ``.zarr`` to write the labels to.
    variant, device
        Another network or device than the session's; the masks then differ.
    progress
        Show a bar on a terminal.
    overwrite
        Replace `out` if it exists.
    models, predictor_factory
        See `Session`.

    Returns
    -------
    ``(T, H, W)`` labels, ``(H, W)`` for an image; or the path `out`.
    """
    target = None if out is None else Path(out)
    if target is not None:
        check_target(target, overwrite=overwrite)
    # warnings are for the caller: nothing may come between this and `replaying`
    again, steps, total = replaying(
        Path(session),
        image,
        variant=variant,
        device=device,
        models=models,
        predictor_factory=predictor_factory,
    )
    _finish_replay(again, steps, total, target, progress=progress)
    if target is not None:
        return target
    stacked = np.stack([again.labels(frame_idx) for frame_idx in range(again.num_frames)])
    return stacked[0] if again.num_frames == 1 else stacked


def replayed_to(
    target: Path,
    session: Path,
    image: Any = None,
    *,
    variant: str | None = None,
    device: str | None = None,
    format_name: str | None = None,
    style: MovieStyle | None = None,
) -> None:
    """Replay a session, and write the results to `target` as `tracked_to` does."""
    again, steps, total = replaying(session, image, variant=variant, device=device)
    _finish_replay(again, steps, total, target, format_name, style)


def _finish_replay(
    again: Session,
    steps: Iterator[None],
    total: int,
    target: Path | None,
    format_name: str | None = None,
    style: MovieStyle | None = None,
    *,
    progress: bool = True,
) -> None:
    for _ in shown(steps, title="Replaying", total=total, wanted=progress):
        pass
    if target is not None:
        as_movie = again.num_frames > 1
        _write(again, target, format_name, style, as_movie=as_movie, progress=progress)
