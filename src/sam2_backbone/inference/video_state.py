"""What has been said of this video, and what was answered; never runs the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sam2_backbone.inference.feature_cache import FeatureCache
from sam2_backbone.inference.frames import FrameSource
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.trails import Anchor, Trail
from sam2_backbone.inference.transforms import Intensities, View
from sam2_backbone.memory.bank import MemoryBank


@dataclass(frozen=True)
class Sighting:
    """Through which view an object was looked at on a frame, and where it was seen.

    Attributes
    ----------
    extent
        top, left, bottom, right in pixels; None where the mask is empty.
    """

    view: View
    extent: tuple[float, float, float, float] | None


@dataclass
class ObjectState:
    """One object: its prompts, its memories and how far it has been followed.

    Attributes
    ----------
    visited
        Frames that propagation has been on, and whether it ran backward there.
    stale
        Visited frames whose result a later prompt can change.
    recallable
        Filled-in frames whose memory may be recalled.
    trails, anchors
        Ways to filled-in frames, and the prompted frames where they begin.
    """

    obj_id: int
    bank: MemoryBank
    prompts: dict[int, FramePrompts] = field(default_factory=dict)
    sightings: dict[int, Sighting] = field(default_factory=dict)
    visited: dict[int, bool] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    recallable: set[int] = field(default_factory=set)
    trails: dict[int, Trail] = field(default_factory=dict)
    anchors: dict[int, Anchor] = field(default_factory=dict)

    def anchored(self, frame_idx: int, *, reverse: bool) -> bool:
        """Whether a prompted frame lies at or before a frame in tracking direction."""
        frames = self.bank.conditioning_frames
        return any(t >= frame_idx if reverse else t <= frame_idx for t in frames)

    def fresh(self, frame_idx: int) -> bool:
        """Whether the result on a frame is there and nothing said since can change it."""
        return frame_idx in self.visited and frame_idx not in self.stale

    def prompt_changed(self, frame_idx: int, *, reach: int) -> None:
        """Mark what a changed prompt can change: frames that were reached through this one.

        To be called before the prompt's own memory changes. Memories up to `reach` frames around
        it are not recalled any more: they may carry the error that the prompt corrects.
        """
        passes = {False, True}  # an anchor, or a frame never visited, may lie on both
        if frame_idx in self.visited and frame_idx not in self.bank.conditioning_frames:
            passes = {self.visited[frame_idx]}
        for t, reverse in self.visited.items():
            beyond = t < frame_idx if reverse else t > frame_idx
            if t == frame_idx or (beyond and reverse in passes):
                self.stale.add(t)
        self.recallable -= self.stale
        self.recallable -= set(range(frame_idx - reach, frame_idx + reach + 1))


class VideoState:
    """A video, its objects and the features that were computed lately."""

    def __init__(
        self,
        source: FrameSource,
        intensities: Intensities,
        *,
        window: str | int | None,
        cache: FeatureCache,
    ) -> None:
        self.source = source
        self.intensities = intensities
        self.window = window
        self.cache = cache
        self.objects: dict[int, ObjectState] = {}

    @property
    def num_frames(self) -> int:
        """How many frames the video has."""
        return self.source.num_frames

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.source.height

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.source.width

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.source.height, self.source.width

    @property
    def fixed_side(self) -> int | None:
        """Side of the window that was asked for; None where it follows the object's size."""
        return self.window if isinstance(self.window, int) else None

    @property
    def obj_ids(self) -> tuple[int, ...]:
        """Ids in the order in which the objects were made."""
        return tuple(self.objects)

    def prompted_frames(self, obj_id: int) -> tuple[int, ...]:
        """Frames with prompts of an object, ascending."""
        return tuple(sorted(self.get(obj_id).prompts))

    def get(self, obj_id: int) -> ObjectState:
        """Return an object.

        Raises
        ------
        ValueError
            If the id is unknown.
        """
        if obj_id not in self.objects:
            known = ", ".join(map(str, self.objects)) or "none yet"
            raise ValueError(f"there is no object {obj_id}; the objects are: {known}")
        return self.objects[obj_id]

    def check_frame(self, frame_idx: int) -> None:
        """Raise ValueError if there is no such frame."""
        if not 0 <= frame_idx < self.num_frames:
            raise ValueError(
                f"there is no frame {frame_idx}; the frames are 0 to {self.num_frames - 1}"
            )

    def iterate(self, obj_ids: Iterable[int] | None = None) -> Iterator[ObjectState]:
        """Objects by id, all of them for None."""
        ids = self.obj_ids if obj_ids is None else tuple(obj_ids)
        for obj_id in ids:
            yield self.get(int(obj_id))
