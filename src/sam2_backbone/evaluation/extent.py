"""How much is evaluated: a quick look, the default or everything, always the same part of it."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import default_rng

SEED = 0


@dataclass(frozen=True)
class Extent:
    """How many images, objects and frames are evaluated; None is all of them.

    Attributes
    ----------
    name
        What the table says it was.
    images
        Stills of a data set.
    objects_per_image, objects_per_set
        Objects of a still: at least so many, and at least so many of a data set in all.
    stacks
        Names of the stacks that are followed.
    movie_objects, movie_frames
        Objects of a stack, video or clip, and frames of a video.
    clips
        How many clips are made of the stills.
    automatic_images
        Stills that are segmented automatically.
    baselines
        Whether the classical methods are run beside the model.
    """

    name: str
    images: int | None
    objects_per_image: int | None
    objects_per_set: int
    stacks: tuple[str, ...] | None
    movie_objects: int | None
    movie_frames: int | None
    clips: int
    automatic_images: int | None
    baselines: bool = True

    def objects_of(self, count: int, images: int) -> int | None:
        """Objects to take of each of `images` stills; `count` is what the user asked for, or 0."""
        if count:
            return count
        if self.objects_per_image is None:
            return None
        return max(self.objects_per_image, -(-self.objects_per_set // max(images, 1)))


QUICK = Extent("quick", 60, 1, 60, ("cells3d_nuclei_3d",), 8, 24, 8, 12, baselines=False)
DEFAULT = Extent("default", None, 2, 100, None, 12, None, 12, 40)
FULL = Extent("full", None, None, 0, None, None, None, 32, None)
EXTENTS = {extent.name: extent for extent in (QUICK, DEFAULT, FULL)}


def fixed_choice(available: int, wanted: int | None) -> list[int]:
    """Positions of a fixed random part of `available` things, in order; smaller parts nest."""
    order = default_rng(SEED).permutation(available)
    return sorted(int(i) for i in order[:wanted])
