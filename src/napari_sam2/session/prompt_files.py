"""How prompts come in bulk: label images, lists of records, JSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session import files
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.given_numbers import whole_number
from napari_sam2.session.images import read_array
from napari_sam2.session.object_edits import checked_id
from napari_sam2.session.prompts import PromptRecord
from napari_sam2.session.session import Session
from sam2_backbone.data_engine.rle import Rle

Prompts = Mapping[int, npt.ArrayLike] | Iterable[PromptRecord] | str | Path

# what passes on each of several things, and may tell a person how many are done
Passing = Callable[[Sequence[Any]], Iterable[Any]]

_FIELDS = tuple(field.name for field in fields(PromptRecord))


def prompt(session: Session, prompts: Prompts, *, passing: Passing = iter) -> None:
    """
    Give a session prompts, making the objects that they name.

    Parameters
    ----------
    session
        A session.
    prompts
        ``{frame_idx: labels (H, W)}``, every label an object of that id; or records in x, y; or the
        path of a JSON file of records or of a session.
    passing
        Sees every prompt go by; the model answers it before the next.

    Raises
    ------
    TypeError, ValueError
        Labels or records that do not match the image, or no object at all.
    SessionFileError
        A file that cannot be read.
    """
    if isinstance(prompts, (str, Path)):
        records: Iterable[PromptRecord] = read_prompts(Path(prompts))
    elif isinstance(prompts, Mapping):
        # one at a time: the masks of hundreds of labels would not fit into memory unpacked
        records = (
            record
            for frame_idx, labels in prompts.items()
            for record in _records_of_labels(session, frame_idx, labels)
        )
    else:
        records = prompts
    # Everything is checked before the model is first asked, which may take long.
    checked = [_checked(session, record) for record in records]
    if not checked:
        raise ValueError("The prompts name no object: give at least one label, point, box or mask.")
    known = {state.obj_id for state in session.objects}
    for obj_id, frame_idx, frame_prompts in passing(checked):
        if obj_id not in known:
            session.new_object(obj_id=obj_id)
            known.add(obj_id)
        session.set_prompts(
            obj_id,
            frame_idx,
            points=frame_prompts.points,
            point_labels=frame_prompts.point_labels,
            box=frame_prompts.box,
            mask=frame_prompts.mask,
            candidate=frame_prompts.candidate,
        )


def _checked(session: Session, record: PromptRecord) -> tuple[int, int, Any]:
    if not isinstance(record, PromptRecord):
        raise TypeError(f"Prompts must be PromptRecords, got {type(record).__name__}.")
    obj_id, frame_idx = checked_id(record.obj_id), session.frame(record.frame_idx)
    prompts = record.to_frame_prompts(height=session.height, width=session.width)
    if prompts.is_empty:
        raise ValueError(f"The record of object {obj_id} on frame {frame_idx} holds no prompt.")
    return obj_id, frame_idx, prompts


def _records_of_labels(
    session: Session, frame_idx: int, labels: npt.ArrayLike
) -> Iterable[PromptRecord]:
    frame_idx, array = session.frame(frame_idx), np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise TypeError(f"Labels must be whole numbers or bool, got {array.dtype}.")
    if array.shape != (session.height, session.width):
        raise ValueError(
            f"The labels of frame {frame_idx} have the shape {array.shape}, "
            f"the image is {session.height} x {session.width} pixels."
        )
    values = np.unique(array)
    if values.size and values[0] < 0:
        raise ValueError(f"Labels must not be negative, got {values[0]} on frame {frame_idx}.")
    for value in values[values != 0]:
        yield PromptRecord(frame_idx, int(value), mask=array == value)


def read_prompts(path: Path) -> list[PromptRecord]:
    """
    Read a JSON list of records (x, y), or the prompts of a session file.

    A record is an object with the names of `PromptRecord`; its mask is a COCO run length encoding,
    ``{"size": [height, width], "counts": [...]}``, column by column, or with compressed `counts`.

    Raises
    ------
    SessionFileError
        The file is neither.
    """
    if files.is_session(path):
        document = files.read(path).contents.document
        return [
            PromptRecord.from_frame_prompts(frame_idx, obj_id, prompts)
            for obj_id, state in document.objects.items()
            for frame_idx, prompts in state.prompts.items()
        ]
    tree = files.read_json(path)
    if not isinstance(tree, list):
        raise SessionFileError(f"{path} must hold a list of prompts, or be a session file.")
    return [_read_record(path, number, row) for number, row in enumerate(tree)]


def _read_record(path: Path, number: int, row: Any) -> PromptRecord:
    said = f"Prompt {number} of {path}"
    if not isinstance(row, dict):
        raise SessionFileError(f"{said} is not an object with the names {', '.join(_FIELDS)}.")
    unknown = sorted(row.keys() - set(_FIELDS))
    if unknown:
        raise SessionFileError(
            f"{said} has the unknown name {unknown[0]!r}; there are: {', '.join(_FIELDS)}."
        )
    missing = [name for name in _FIELDS[:2] if name not in row]
    if missing:
        raise SessionFileError(f"{said} has no {missing[0]}.")
    values: dict[str, Any] = dict(row)
    if values.get("mask") is not None:
        try:
            mask = values["mask"]
            if isinstance(mask["counts"], str):
                values["mask"] = Rle.from_json(mask).to_array()
            else:
                values["mask"] = decode_rle(mask["size"], mask["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise SessionFileError(
                f'{said}: a mask must be {{"size": [height, width], "counts": [runs]}} '
                "with runs that fill it."
            ) from error
    return PromptRecord(**values)


def decode_rle(size: Sequence[int], counts: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return the mask ``(H, W)`` of run lengths, column by column, background first (COCO)."""
    height, width = (whole_number(length, "size") for length in size)
    runs = np.array([whole_number(count, "counts") for count in counts], np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError("The runs do not fill the mask.")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T.copy()


def labels_by_frame(
    path: Path, frames: Sequence[int] | None = None
) -> dict[int, npt.NDArray[np.integer]]:
    """
    Return the labels of a file as prompts, ``{frame_idx: (H, W)}``.

    Parameters
    ----------
    path
        ``(H, W)``, shown by the one frame named, 0 if none is; or ``(T, H, W)``, of which the
        frames named are used, or all that have a label.
    frames
        Frames.
    """
    array = read_array(path, as_labels=True)
    if array.ndim == 2:
        if frames is not None and len(frames) != 1:
            raise ValueError(f"{path} is the label image of one frame: name only that one.")
        return {frames[0] if frames else 0: np.asarray(array)}
    if array.ndim != 3:
        raise ValueError(f"Labels have the axes (H, W) or (T, H, W), got {array.shape} in {path}.")
    for frame_idx in frames or ():
        if not 0 <= frame_idx < len(array):
            raise ValueError(f"{path} has no frame {frame_idx}, only 0 to {len(array) - 1}.")
    read = {
        frame_idx: np.asarray(array[frame_idx])
        for frame_idx in (range(len(array)) if frames is None else frames)
    }
    return {key: labels for key, labels in read.items() if frames is not None or labels.any()}
