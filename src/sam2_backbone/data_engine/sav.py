"""The annotations of SA-V's training videos, `{id}_manual.json` and `{id}_auto.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.errors import AnnotationError

MaskletType = Literal["manual", "auto"]

_SAV_STEP = 4  # videos of 24 frames a second are annotated at 6
#: Areas in pixels below which a masklet counts as small and as medium.
_SMALL, _MEDIUM = 32**2, 96**2


@dataclass(frozen=True)
class SavVideo:
    """
    What SA-V says of a video.

    Attributes
    ----------
    video_id
        Its name, such as ``sav_000001``.
    duration
        In seconds, None where it is not known.
    frame_count, height, width
        Frames of the video, annotated or not, and their size in pixels.
    environment, split
        Where it was filmed ("Indoor", "Outdoor"), and the part of the data set it belongs to.
    """

    video_id: str
    duration: float | None
    frame_count: int
    height: int
    width: int
    environment: str = ""
    split: str = ""


@dataclass(frozen=True)
class Masklet:
    """
    One object through the annotated frames of a video.

    Attributes
    ----------
    masklet_id
        Number of the object in the video.
    masks
        One for each annotated frame, without a pixel where the object is absent.
    kind
        Whether people had a hand in it, or it was made and filtered automatically.
    edited_frame_count
        Frames on which a person changed it.
    stability_scores
        One for each mask of an automatic masklet, else none.
    """

    masklet_id: int
    masks: tuple[Rle, ...]
    kind: MaskletType = "manual"
    edited_frame_count: int = 0
    stability_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class SavAnnotation:
    """All masklets of one kind of a video."""

    video: SavVideo
    masklets: tuple[Masklet, ...]

    @property
    def num_annotated(self) -> int:
        """Number of annotated frames."""
        return max((len(masklet.masks) for masklet in self.masklets), default=0)

    @property
    def frame_step(self) -> int:
        """From one annotated frame to the next, which no field tells: 4 in SA-V if that fits."""
        num_frames, num_annotated = self.video.frame_count, max(self.num_annotated, 1)
        for step in (1, _SAV_STEP):
            if -(-num_frames // step) == num_annotated:
                return step
        return max(round(num_frames / num_annotated), 1)


@dataclass
class _Statistics:
    """What is said of a masklet as a whole, gathered while its masks go by."""

    num_frames: int = 0
    num_visible: int = 0
    area: int = 0
    first_frame: int | None = None
    num_changes: int = 0
    was_visible: bool = False

    def add(self, area: int) -> None:
        is_visible = area > 0
        if is_visible and self.first_frame is None:
            self.first_frame = self.num_frames
        elif self.first_frame is not None and is_visible != self.was_visible:
            self.num_changes += 1
        self.was_visible = is_visible
        self.num_visible += is_visible
        self.area += area
        self.num_frames += 1

    @property
    def mean_area(self) -> float:
        """Pixels on the frames where the object is visible."""
        return self.area / max(self.num_visible, 1)

    @property
    def bucket(self) -> str:
        if self.mean_area < _SMALL:
            return "small"
        return "medium" if self.mean_area < _MEDIUM else "large"


def write_sav(path: Path, annotation: SavAnnotation) -> None:
    """Write masklets as `read_sav` reads them."""
    masklets = annotation.masklets
    frames = (
        {masklet.masklet_id: masklet.masks[at] for masklet in masklets if at < len(masklet.masks)}
        for at in range(annotation.num_annotated)
    )
    with path.open("w", encoding="utf-8") as file:
        for _ in stream_sav(file, annotation.video, masklets, frames):
            pass


def stream_sav(
    file: TextIO,
    video: SavVideo,
    masklets: Sequence[Masklet],
    frames: Iterable[Mapping[int, Rle]],
) -> Iterator[int]:
    """
    Write masks frame by frame, yielding the number of each annotated frame once it is written.

    Parameters
    ----------
    file
        An empty text file.
    video
        Whose frames they are.
    masklets
        The objects; their masks come from `frames`, and may be missing here.
    frames
        The masks of each annotated frame by `masklet_id`; an object without one is absent there.
    """
    size = (video.height, video.width)
    absent = Rle.empty(size)
    statistics = [_Statistics() for _ in masklets]
    # the facts of the video, but for the brace that closes them
    file.write(json.dumps(_video_facts(video))[:-1] + ', "masklet": [')
    for at, masks in enumerate(frames):
        row = []
        for masklet, seen in zip(masklets, statistics, strict=True):
            mask = masks.get(masklet.masklet_id, absent)
            if mask.size != size:
                raise ValueError(f"A mask of {mask.size} is none of a video of {size}.")
            seen.add(mask.area)
            row.append(mask.to_json())
        file.write((", " if at else "") + json.dumps(row))
        yield at
    file.write("], " + json.dumps(_masklet_facts(video, masklets, statistics))[1:] + "\n")


def _video_facts(video: SavVideo) -> dict[str, Any]:
    return {
        "video_id": video.video_id,
        "video_duration": video.duration,
        "video_frame_count": float(video.frame_count),
        "video_height": float(video.height),
        "video_width": float(video.width),
        "video_resolution": float(video.height * video.width),
        "video_environment": video.environment,
        "video_split": video.split,
    }


def _masklet_facts(
    video: SavVideo, masklets: Sequence[Masklet], statistics: Sequence[_Statistics]
) -> dict[str, Any]:
    resolution = video.height * video.width
    # an object that never appears has no first frame; SA-V has no such masklets
    firsts = [0 if seen.first_frame is None else seen.first_frame for seen in statistics]
    return {
        "masklet_id": [masklet.masklet_id for masklet in masklets],
        "masklet_size_rel": [round(seen.mean_area / resolution, 10) for seen in statistics],
        "masklet_size_abs": [round(seen.mean_area, 10) for seen in statistics],
        "masklet_size_bucket": [seen.bucket for seen in statistics],
        "masklet_visibility_changes": [seen.num_changes for seen in statistics],
        "masklet_first_appeared_frame": [float(first) for first in firsts],
        "masklet_frame_count": [seen.num_frames for seen in statistics],
        "masklet_edited_frame_count": [masklet.edited_frame_count for masklet in masklets],
        "masklet_type": [masklet.kind for masklet in masklets],
        "masklet_stability_score": [list(m.stability_scores) or None for m in masklets],
        "masklet_num": len(masklets),
    }


def is_sav(path: Path) -> bool:
    """Whether a file looks like the annotations of a video; its first characters say so."""
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(4096)
    except (OSError, UnicodeDecodeError):
        return False
    return start.lstrip().startswith("{") and '"video_id"' in start and '"video_height"' in start


def read_sav(path: Path) -> SavAnnotation:
    """
    Read the masklets of a video.

    Raises
    ------
    AnnotationError
        The file cannot be read, or is no such file; the message says what is wrong.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read as annotations of SA-V: {error}.") from error
    try:
        return _annotation_of(tree)
    except KeyError as error:
        raise AnnotationError(f"{path} lacks {error}, which annotations of SA-V have.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{path} holds no masklets of SA-V: {error}") from error


def _annotation_of(tree: Mapping[str, Any]) -> SavAnnotation:
    height, width = int(tree["video_height"]), int(tree["video_width"])
    environment, duration = tree.get("video_environment") or "", tree.get("video_duration")
    video = SavVideo(
        video_id=str(tree["video_id"]),
        duration=None if duration is None else float(duration),
        frame_count=int(tree["video_frame_count"]),
        height=height,
        width=width,
        environment=environment if isinstance(environment, str) else ", ".join(environment),
        split=str(tree.get("video_split") or ""),
    )
    ids = [int(masklet_id) for masklet_id in tree["masklet_id"]]
    if len(set(ids)) < len(ids) or min(ids, default=0) < 0:
        raise ValueError(f"the ids {ids} are not those of different objects.")
    masks: list[list[Rle]] = [[] for _ in ids]
    for at, row in enumerate(tree["masklet"]):
        if len(row) != len(ids):
            raise ValueError(f"annotated frame {at} has {len(row)} masks for {len(ids)} objects.")
        for known, entry in zip(masks, row, strict=True):
            mask = Rle.empty((height, width)) if entry is None else Rle.from_json(entry)
            if mask.size != (height, width):
                raise ValueError(
                    f"annotated frame {at} has a mask of {mask.size[0]} x {mask.size[1]} pixels, "
                    f"the video is {height} x {width}."
                )
            known.append(mask)
    kinds = tree.get("masklet_type") or ["manual"] * len(ids)
    edited = tree.get("masklet_edited_frame_count") or [0] * len(ids)
    scores = tree.get("masklet_stability_score") or [None] * len(ids)
    masklets = (
        Masklet(
            masklet_id,
            tuple(known),
            "auto" if kind == "auto" else "manual",
            int(count),
            tuple(float(score) for score in per_mask or ()),
        )
        for masklet_id, known, kind, count, per_mask in zip(
            ids, masks, kinds, edited, scores, strict=True
        )
    )
    return SavAnnotation(video, tuple(masklets))
