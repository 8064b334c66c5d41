"""Made clips of held-out cells: stills set in motion by a fixed seed, several objects in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.data_sets import Movie, objects_on
from sam2_backbone.evaluation.extent import SEED
from sam2_backbone.inference.postprocess import distance_inside
from sam2_backbone.training.data import MIRRORED, CropDrawer, LabelledSequence
from sam2_backbone.training.synthetic import ClipMaker, MotionRange

FRAMES = 32
SIDE = 256  # pixels: several windows of a small model
ZOOM = (3.0, 9.0)  # side over the extent of the object in the middle: objects of 28 to 85 pixels
MAGNIFIED = 2  # pixels of a clip for one of the still, at most: outlines are no finer than stills
SMALLEST_OBJECT = 100  # pixels on the first frame
THINNEST_OBJECT = 5  # pixels from its innermost one to its outside: no slivers at the border
OBJECTS = 4  # followed in a clip, at most
# four times as many frames as the clips of training, so about a quarter of the motion in each:
# the cells go as far and deform as much in all, as in a time-lapse that somebody would track;
# all values are named, so that another recipe of training does not make other clips
MOTION = MotionRange(
    drift=0.008,
    turn=0.015,
    grow=0.005,
    deform=0.006,
    jitter=0.006,
    sprite_step=0.02,
    max_sprites=4,
    spin=0.06,
    swell=0.0075,
    bleach=0.005,
    defocus=0.25,
    leave=0.4,
    meet=0.3,
    divide=0.12,
    fade=0.0,
)


def made_clips(stills: Sequence[LabelledSequence], count: int) -> Iterator[Movie]:
    """Yield `count` clips, each of the next modality in turn; fewer are the first of them."""
    kinds = sorted({still.kind for still in stills})
    makers = []
    for kind in kinds:
        own = [still for still in stills if still.kind == kind]
        drawer = CropDrawer(own, size=SIDE, zoom=ZOOM, smallest_side=SIDE / MAGNIFIED)
        makers.append(ClipMaker(drawer, MOTION))
    for index in range(count):
        turn = index % len(kinds)
        clip = makers[turn].draw(np.random.default_rng((SEED, index)), FRAMES)
        frames = (clip.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        labels = clip.labels.numpy().astype(np.uint16)
        obj_ids = objects_on(_clickable(labels[0]), SMALLEST_OBJECT, OBJECTS, first=(clip.obj_id,))
        yield Movie(f"clip {index}", frames, labels, 0, obj_ids, kinds[turn])


def _clickable(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return labels (H, W) without mirror images and slivers, which the border leaves of some."""
    kept = labels * (labels < MIRRORED)
    for obj_id in np.unique(kept[kept > 0]):
        mask = kept == obj_id
        if distance_inside(mask).max() < THINNEST_OBJECT:
            kept[mask] = 0
    return kept
