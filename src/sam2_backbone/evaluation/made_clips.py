"""Made clips of held-out cells: stills set in motion by a fixed seed, several objects in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sam2_backbone.evaluation.data_sets import Movie, objects_on
from sam2_backbone.evaluation.extent import SEED
from sam2_backbone.training.data import MIRRORED, CropDrawer, LabelledSequence
from sam2_backbone.training.synthetic import ClipMaker, MotionRange

FRAMES = 32
SIDE = 256  # pixels: several windows of a small model
ZOOM = (3.0, 9.0)  # side over the extent of the object in the middle: objects of 28 to 85 pixels
SMALLEST_OBJECT = 100  # pixels on the first frame
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
        makers.append(ClipMaker(CropDrawer(own, size=SIDE, zoom=ZOOM), MOTION))
    for index in range(count):
        turn = index % len(kinds)
        clip = makers[turn].draw(np.random.default_rng((SEED, index)), FRAMES)
        frames = (clip.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        labels = clip.labels.numpy().astype(np.uint16)
        present = labels[0] * (labels[0] < MIRRORED)
        obj_ids = objects_on(present, SMALLEST_OBJECT, OBJECTS, first=(clip.obj_id,))
        yield Movie(f"clip {index}", frames, labels, 0, obj_ids, kinds[turn])
