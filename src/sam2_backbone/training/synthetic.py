"""Clips made from stills: cells that move, turn, deform, divide, touch, leave and come back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_backbone.training.data import (
    MIRRORED,
    CropDrawer,
    CropSource,
    LabelledSequence,
    read_labels,
    read_pixels,
    smooth_field,
)
from sam2_backbone.training.looks import Look, add_noise, apply_look, blur_image

PACED_FRAMES = 8  # of a clip that moves as `MotionRange` has it
FAINTEST = 0.4  # opacity of a cell that a person would still outline
FASTEST = 4.0  # steps of `MotionRange.sprite_step` in a frame, of a cell on its way to another
DAUGHTER_SIZE = 0.8  # length of a daughter cell over its mother's: half the volume


@dataclass(frozen=True)
class Clip:
    """A clip with the same identifiers on all frames.

    Attributes
    ----------
    images, labels
        (T, 3, S, S) 0…1 and (T, S, S) int64.
    complete
        Whether every object is labelled.
    obj_id
        The object that the clip was drawn around.
    """

    images: Tensor
    labels: Tensor
    complete: bool
    obj_id: int


@dataclass(frozen=True)
class MotionRange:
    """How much a made clip moves, per frame and in units of the crop's side.

    The values are the widest; each clip draws its own strength, mostly gentle. Cells that are cut
    out `spin` (radians), `swell` (logarithm of their length), and `leave`, `meet`, `divide` and
    `fade` are the shares of them that leave and come back, that move until they touch a neighbour,
    that divide, and that shrink and fade for good. `bleach` is the light that is lost and `defocus`
    the blur in pixels that comes or goes.
    """

    drift: float = 0.03
    turn: float = 0.06
    grow: float = 0.02
    deform: float = 0.02
    jitter: float = 0.012
    sprite_step: float = 0.06
    max_sprites: int = 4
    spin: float = 0.12
    swell: float = 0.03
    bleach: float = 0.02
    defocus: float = 0.5
    leave: float = 0.4
    meet: float = 0.3
    divide: float = 0.12
    fade: float = 0.15

    def over(self, num_frames: int) -> MotionRange:
        """Return the range for clips of that length: long ones move no farther in all."""
        pace = min(1.0, PACED_FRAMES / num_frames)
        steady = ("drift", "turn", "grow", "deform", "sprite_step", "swell", "bleach")
        slowed = {name: pace * getattr(self, name) for name in steady}
        # what wanders at random gets as far as the root of the frames
        wandering = {name: pace**0.5 * getattr(self, name) for name in ("spin", "defocus")}
        return replace(self, **slowed, **wandering)


@dataclass(frozen=True)
class Sprite:
    """A cell cut out of the still: it moves on its own over the inpainted background.

    Attributes
    ----------
    centre, path
        (2,) and (T, 2): x, y of the cell in −1…1 of the crop, and its displacement.
    angles, sizes
        (T,) radians, and factors of its length.
    opacity
        (T,) 0…1; 0 where it is away.
    apart
        (T, 2) displacement of a daughter cell from the middle of both; zero before division. Both
        daughters keep the identifier: a masklet is all that its first mask becomes.
    """

    obj_id: int
    centre: Tensor
    path: Tensor
    angles: Tensor
    sizes: Tensor
    opacity: Tensor
    apart: Tensor

    def parts(self, t: int) -> list[tuple[Tensor, float]]:
        """Return the displacement and the size of the cell, or of its daughters, at `t`."""
        size = float(self.sizes[t])
        if not bool(self.apart[t].any()):
            return [(self.path[t], size)]
        size *= DAUGHTER_SIZE
        return [(self.path[t] + self.apart[t], size), (self.path[t] - self.apart[t], size)]


def fill_objects(image: Tensor, mask: Tensor, objects: Tensor) -> Tensor:
    """Return (C, H, W) with the pixels of `mask` (H, W) painted over by background.

    Normalised convolution from fine to coarse, of what is outside all `objects` (H, W); its fine
    texture is added back. Other objects keep their pixels, their rims too.
    """
    grown, taken = (
        F.max_pool2d(part.float()[None, None], 7, stride=1, padding=3)[0]
        for part in (mask, objects)
    )
    painted = grown * ~(objects & ~mask)
    known, background = (1 - grown) * ~objects, 1 - taken
    if not bool(known.any()):  # cells everywhere: then what lies around it
        known = 1 - grown
    levels: list[tuple[Tensor, Tensor]] = []
    value, weight = image * known, known
    while min(value.shape[-2:]) > 1:
        levels.append((value, weight))
        value = F.avg_pool2d(value[None], 2, ceil_mode=True)[0]
        weight = F.avg_pool2d(weight[None], 2, ceil_mode=True)[0]
    estimate = value / weight.clamp(min=1e-6)
    for value, weight in reversed(levels):
        coarse = F.interpolate(
            estimate[None], value.shape[-2:], mode="bilinear", align_corners=False
        )[0]
        trust = (weight * 4).clamp(max=1)
        estimate = trust * value / weight.clamp(min=1e-6) + (1 - trust) * coarse
    texture = (image - blur_image(image, 2.0)) * background
    texture = torch.roll(texture, (image.shape[-2] // 3, image.shape[-1] // 3), (1, 2))
    return image * (1 - painted) + (estimate + texture) * painted


class ClipMaker:
    """Makes clips from the stills of a `CropDrawer`, and cuts them from its videos."""

    def __init__(self, drawer: CropDrawer, motion: MotionRange | None = None) -> None:
        self.drawer = drawer
        self.motion = motion or MotionRange()

    def draw(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Draw one clip."""
        sequence, frame_idx = self.drawer.choose(rng)
        if sequence.num_frames >= 2 * num_frames:
            frames = sequence_frames(rng, sequence.num_frames, num_frames)
            if len(sequence.boxes[frames[0]]):
                return self._from_video(rng, sequence, frames)
        coords, obj_id = self.drawer.place(rng, sequence, frame_idx)
        side = float((coords.amax((0, 1)) - coords.amin((0, 1))).max())
        margin = max(40.0, 0.4 * side)  # what may come into view
        source = self.drawer.source(sequence, frame_idx, coords, obj_id, margin=margin)
        return self.from_source(rng, source, num_frames)

    def _from_video(
        self, rng: np.random.Generator, video: LabelledSequence, frames: list[int]
    ) -> Clip:
        """Cut a clip from a real video; the crop stays where its first frame puts it."""
        coords, obj_id = self.drawer.place(rng, video, frames[0])
        look = self.drawer.draw_look(rng)
        images, labels = [], []
        for frame_idx in frames:
            cut = self.drawer.source(video, frame_idx, coords, obj_id)
            image = read_pixels(cut.image, cut.coords, mode="bilinear")
            images.append(apply_look(image, look, rng))
            labels.append(read_labels(cut.labels, cut.coords))
        return Clip(torch.stack(images), torch.stack(labels), video.complete, obj_id)

    def from_source(self, rng: np.random.Generator, source: CropSource, num_frames: int) -> Clip:
        """Make a clip from one still."""
        size = self.drawer.size
        still = read_pixels(source.image, source.coords, mode="bilinear")
        ids = read_labels(source.labels, source.coords).float()
        sprites = self._sprites(rng, ids, source.obj_id, num_frames)
        background, background_ids = source.image, source.labels
        if sprites:
            chosen = torch.tensor([s.obj_id for s in sprites], dtype=source.labels.dtype)
            mask = torch.isin(source.labels, chosen)
            background = fill_objects(source.image, mask, source.labels > 0)
            background_ids = source.labels * ~mask
        motion = self._field_motion(rng, num_frames)
        look, scene = self.drawer.draw_look(rng), _Scene.draw(rng, num_frames, self.motion)
        images, labels = [], []
        for t in range(num_frames):
            coords = _displace(source.coords, motion[t] * size)
            image = read_pixels(background, coords, mode="bilinear")
            label = read_labels(background_ids, coords).float()
            for sprite in sprites:
                if sprite.opacity[t] > 0:
                    image, label = _paste(sprite, t, still, ids, image, label)
            images.append(scene.photograph(image, look, t, rng))
            labels.append(label.round().long())
        return Clip(torch.stack(images), torch.stack(labels), source.complete, source.obj_id)

    def _field_motion(self, rng: np.random.Generator, num_frames: int) -> Tensor:
        """Displacement of the whole field for each frame, (T, S, S, 2) in units of the side."""
        size, motion = self.drawer.size, self.motion
        strength = float(rng.beta(1.0, 2.0))
        grid = self.drawer.grid
        drift = torch.from_numpy(rng.normal(0, motion.drift * strength, 2).astype(np.float32))
        turn = float(rng.normal(0, motion.turn * strength))
        grow = float(rng.normal(0, motion.grow * strength))
        nodes = int(rng.integers(3, 8))
        deform = motion.deform * strength * 3 / nodes
        velocity = smooth_field(rng, size, nodes=nodes, strength=deform)
        jitter = motion.jitter * rng.random() if rng.random() < 0.3 else 0.0
        total = torch.zeros(size, size, 2)
        frames = []
        for t in range(num_frames):
            shake = torch.from_numpy(rng.normal(0, 1, 2).astype(np.float32)) * jitter
            around = torch.stack((-grid[..., 1], grid[..., 0]), -1) * (turn * t)
            frames.append(total + drift * t + around + grid * (grow * t) + shake * (t > 0))
            change = smooth_field(rng, size, nodes=nodes, strength=deform)
            velocity = 0.7 * velocity + 0.5 * change
            total = total + velocity
        return torch.stack(frames)

    def _sprites(
        self, rng: np.random.Generator, ids: Tensor, obj_id: int, num_frames: int
    ) -> list[Sprite]:
        """Choose cells that move on their own, and their paths."""
        motion = self.motion
        areas = torch.bincount(ids.long().flatten())
        areas[0] = areas[MIRRORED:] = 0
        edges = torch.cat((ids[0], ids[-1], ids[:, 0], ids[:, -1]))
        areas[edges.long()] = 0  # cut off, and would be seen so further in
        candidates = torch.nonzero(areas >= 60)[:, 0].numpy()
        number = int(rng.integers(0, motion.max_sprites + 1))
        if number == 0 or len(candidates) == 0:
            return []
        chosen = rng.permutation(candidates)[:number]
        if obj_id in candidates and rng.random() < 0.7:
            chosen[0] = obj_id
        return [self._sprite(rng, ids, each, num_frames) for each in sorted(map(int, set(chosen)))]

    def _sprite(
        self, rng: np.random.Generator, ids: Tensor, obj_id: int, num_frames: int
    ) -> Sprite:
        motion, time = self.motion, np.arange(num_frames)
        centre, radius = _place_of(ids, obj_id)
        step = motion.sprite_step * 2 * float(rng.beta(1.0, 2.0))
        heading = rng.normal(0, step, 2)
        others = [int(i) for i in torch.unique(ids).tolist() if i not in (0, obj_id)]
        if others and rng.random() < motion.meet:
            other, other_radius = _place_of(ids, others[int(rng.integers(len(others)))])
            gap = (other - centre).numpy()
            distance = float(np.hypot(*gap)) + 1e-6
            way = gap * max(1 - (radius + other_radius) / distance, 0)
            arrival = int(rng.integers(1, num_frames)) if num_frames > 1 else 1
            without_leap = np.ceil(float(np.hypot(*way)) / (FASTEST * motion.sprite_step))
            arrival = max(arrival, int(without_leap))
            steps = way / arrival * (time[:, None] <= arrival)
            steps = steps + rng.normal(0, 0.1 * radius, (num_frames, 2))
        else:
            steps = heading + rng.normal(0, 0.5 * step, (num_frames, 2))
        steps[0] = 0
        turns = np.cumsum(rng.normal(0, motion.spin, num_frames)) * (time > 0)
        sizes = np.exp(rng.normal(0, motion.swell) * time)
        opacity = np.ones(num_frames)
        if rng.random() < motion.leave and num_frames > 2:
            gone = int(rng.integers(1, num_frames))
            back = int(rng.integers(gone + 1, num_frames + 2))
            opacity[gone:back] = 0
        apart = np.zeros((num_frames, 2))
        if rng.random() < motion.divide and num_frames > 1:
            first, axis = int(rng.integers(1, num_frames)), rng.uniform(0, 2 * np.pi)
            way = np.clip(0.45 + rng.uniform(0.05, 0.3) * (time - first), 0, 1.1)
            along = np.array([np.cos(axis), np.sin(axis)])
            apart = (time >= first)[:, None] * way[:, None] * along * radius
        if motion.fade > 0 and rng.random() < motion.fade and num_frames > 2:
            first, length = int(rng.integers(1, num_frames)), rng.uniform(0.2, 0.6) * num_frames
            left = np.clip(1 - (time - first + 1) / length, 0, 1)
            opacity = opacity * left
            sizes = sizes * (0.4 + 0.6 * left)
        path = np.cumsum(steps, 0)
        return Sprite(
            obj_id=obj_id,
            centre=centre,
            path=torch.from_numpy(path.astype(np.float32)),
            angles=torch.from_numpy(turns.astype(np.float32)),
            sizes=torch.from_numpy(sizes.astype(np.float32)),
            opacity=torch.from_numpy(opacity.astype(np.float32)),
            apart=torch.from_numpy(apart.astype(np.float32)),
        )


def _place_of(ids: Tensor, obj_id: int) -> tuple[Tensor, float]:
    """Return the centre (2,) of an object and its radius, both in −1…1 of the crop."""
    rows, columns = torch.nonzero(ids == obj_id, as_tuple=True)
    size = ids.shape[-1]
    centre = torch.stack((columns.float().mean(), rows.float().mean()))
    return (centre + 0.5) / size * 2 - 1, 2 * float(len(rows) / np.pi) ** 0.5 / size


@dataclass(frozen=True)
class _Scene:
    """What the microscope does over a clip: bleaching, drift of light and focus, counting noise."""

    light: np.ndarray
    tilt: np.ndarray
    focus: np.ndarray
    photons: float

    @classmethod
    def draw(cls, rng: np.random.Generator, num_frames: int, motion: MotionRange) -> _Scene:
        time = np.arange(num_frames)
        bleach = np.exp(-time * rng.exponential(motion.bleach) * (rng.random() < 0.5))
        flicker = np.exp(rng.normal(0, 0.05 * rng.random(), num_frames))
        tilt = rng.normal(0, 0.1, 2) * np.minimum(time[:, None] / max(num_frames - 1, 1), 1)
        focus = np.abs(np.cumsum(rng.normal(0, motion.defocus, num_frames))) * (rng.random() < 0.25)
        photons = float(np.exp(rng.uniform(np.log(30), np.log(600))))
        return cls(bleach * flicker, tilt, focus, photons if rng.random() < 0.4 else 0.0)

    def photograph(self, image: Tensor, look: Look, t: int, rng: np.random.Generator) -> Tensor:
        size = image.shape[-1]
        line = torch.linspace(-0.5, 0.5, size)
        slope = 1 + float(self.tilt[t, 0]) * line[None, :] + float(self.tilt[t, 1]) * line[:, None]
        image = image * (float(self.light[t]) * slope)
        if self.focus[t] > 0.3:
            image = blur_image(image, min(float(self.focus[t]), 2.5))
        if self.photons:
            image = add_noise(image, (image.clamp(min=0) / self.photons).sqrt(), rng, look.grain)
        return apply_look(image.clamp(0, 1), look, rng)


def _displace(coords: Tensor, displacement: Tensor) -> Tensor:
    """Move source coordinates by a displacement in crop pixels, along the crop's own axes."""
    across = coords[:, 1:] - coords[:, :-1]
    down = coords[1:] - coords[:-1]
    right = across.mean((0, 1))
    below = down.mean((0, 1))
    return coords + displacement[..., :1] * right + displacement[..., 1:] * below


def _paste(
    sprite: Sprite, t: int, still: Tensor, ids: Tensor, image: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw a sprite over a frame: its pixels of the still, moved, turned and resized."""
    size = image.shape[-1]
    line = (torch.arange(size, dtype=torch.float32) * 2 + 1) / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    cos, sin = torch.cos(sprite.angles[t]), torch.sin(sprite.angles[t])
    turn = torch.stack((torch.stack((cos, sin)), torch.stack((-sin, cos))))
    mask = (ids == sprite.obj_id).float()[None, None]
    for displacement, scale in sprite.parts(t):
        offset = torch.stack((x, y), -1) - (sprite.centre + displacement)
        grid = (offset @ turn.T / scale + sprite.centre)[None]
        alpha = F.grid_sample(mask, grid, mode="bilinear", align_corners=False)[0]
        pixels = F.grid_sample(
            still[None], grid, mode="bilinear", padding_mode="border", align_corners=False
        )[0]
        soft = blur_image(F.max_pool2d(alpha[None], 3, stride=1, padding=1)[0], 0.8)
        soft = soft * sprite.opacity[t]
        image = soft * pixels + (1 - soft) * image
        if sprite.opacity[t] >= FAINTEST:
            label = torch.where(alpha[0] > 0.5, torch.tensor(float(sprite.obj_id)), label)
    return image, label


def sequence_frames(rng: np.random.Generator, available: int, wanted: int) -> list[int]:
    """Choose frames of a real video: every k-th, half of the time backwards."""
    stride = int(rng.integers(1, max(min(4, (available - 1) // max(wanted - 1, 1)), 1) + 1))
    span = stride * (wanted - 1)
    start = int(rng.integers(0, available - span))
    frames = [start + stride * i for i in range(wanted)]
    return frames[::-1] if rng.random() < 0.5 else frames
