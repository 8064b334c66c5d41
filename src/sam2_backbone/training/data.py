"""Training data: labelled images and sequences read from folders, and augmented crops of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from sam2_backbone.inference.frames import ArrayFrames, choose_intensities
from sam2_backbone.training.looks import Look, apply_look, draw_look

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
SPLITS = ("train", "dev")
MIRRORED = 1 << 14  # what the identifier of an object's mirror image is greater by
# a kind is drawn by its number of objects to this power, and never more rarely than the floor
KIND_POWER, KIND_FLOOR = 0.35, 0.06
VIDEO_FLOOR = 0.16  # of a kind that has videos: they alone show real motion


@dataclass(frozen=True)
class LabelledSequence:
    """A still (one frame) or a video with a label image per frame.

    Attributes
    ----------
    frames : uint8, (T, H, W, 1 or 3).
    labels : uint16, (T, H, W); 0 is background, an integer is the same object over frames.
    kind : modality; kinds are balanced against each other when crops are drawn.
    complete : whether every object of the kind is labelled, so that 0 really is background.
    """

    name: str
    kind: str
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    complete: bool = True
    boxes: tuple[NDArray[np.int64], ...] = field(default=(), repr=False)

    @property
    def num_frames(self) -> int:
        return int(self.frames.shape[0])


def object_boxes(labels: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return one row (id, y0, x0, y1, x1) for each object of a label image, (n, 5)."""
    rows = [
        (index + 1, place[0].start, place[1].start, place[0].stop, place[1].stop)
        for index, place in enumerate(ndimage.find_objects(labels.astype(np.int32)))
        if place is not None
    ]
    return np.asarray(rows, dtype=np.int64).reshape(-1, 5)


def _read_pixels(path: Path) -> NDArray[np.generic]:
    """Read (H, W, 1 or 3) of any dtype; opacity is left out."""
    image = np.asarray(iio.imread(path))
    if image.ndim == 2:
        return image[..., None]
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1]


def _as_bytes(frames: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bring (T, H, W, C) to uint8 by one mapping for all frames, as the predictors have it."""
    if frames.dtype != np.uint8:
        brightness = choose_intensities(ArrayFrames(frames))
        frames = np.stack([(brightness.apply(frame) * 255).astype(np.uint8) for frame in frames])
    if frames.shape[-1] == 3 and (frames[..., 1:] == frames[..., :1]).all():
        frames = frames[..., :1]  # grey stored as colour
    return np.ascontiguousarray(frames, dtype=np.uint8)


def _read_labels(path: Path) -> NDArray[np.uint16]:
    labels = np.asarray(iio.imread(path))
    if labels.ndim != 2:
        raise ValueError(f"{path} is not a label image: expected two axes, found {labels.shape}")
    most = np.iinfo(np.uint16).max
    if labels.size and not 0 <= labels.min() <= labels.max() <= most:
        raise ValueError(f"{path} holds labels below 0 or above {most}: number its objects anew")
    return labels.astype(np.uint16)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Images with their masks: frames of a video in the order of their numbers."""
    images = {p.stem: p for p in (folder / "images").iterdir() if p.suffix in IMAGE_SUFFIXES}
    masks = {p.stem: p for p in (folder / "masks").iterdir() if p.suffix in IMAGE_SUFFIXES}
    stems = sorted(
        images.keys() & masks.keys(),
        key=lambda stem: (int(stem), stem) if stem.isdecimal() else (-1, stem),
    )
    return [(images[stem], masks[stem]) for stem in stems]


def read_folder(folder: Path) -> list[LabelledSequence]:
    """Read one folder that holds `images/` and `masks/` with equal file stems.

    Stems that are plain numbers are the frames of one video; any others are stills. An
    `index.csv` with the columns `id, modality` names the kind of each still.
    """
    pairs = _pairs(folder)
    kind = next((p for p in reversed(folder.parts[:-1]) if p not in SPLITS), folder.name)
    if folder.name not in SPLITS and folder.parent.name not in SPLITS:
        kind = folder.name
    if pairs and all(image.stem.isdecimal() for image, _ in pairs):
        frames = _as_bytes(np.stack([_read_pixels(image) for image, _ in pairs]))
        labels = np.stack([_read_labels(mask) for _, mask in pairs])
        boxes = tuple(object_boxes(frame) for frame in labels)
        return [LabelledSequence(folder.name, kind, frames, labels, False, boxes)]
    modality: dict[str, str] = {}
    if (folder / "index.csv").exists():
        with (folder / "index.csv").open(newline="") as table:
            modality = {row["id"]: row["modality"] for row in csv.DictReader(table)}
    stills = []
    for image_path, mask_path in pairs:
        labels = _read_labels(mask_path)[None]
        boxes = (object_boxes(labels[0]),)
        if len(boxes[0]):
            frames = _as_bytes(_read_pixels(image_path)[None])
            name = image_path.stem
            stills.append(
                LabelledSequence(name, modality.get(name, kind), frames, labels, True, boxes)
            )
    return stills


def split_of(folder: Path, root: Path) -> str | None:
    """Name the split that a folder belongs to by `root` and what lies below, nothing above it."""
    names = (root.name, *folder.relative_to(root).parts)
    return next((name for name in reversed(names) if name in SPLITS), None)


def read_tree(root: str | Path, split: str = "train") -> list[LabelledSequence]:
    """Read every folder below `root` that holds `images/` and `masks/`.

    Where folders are named `train` or `dev`, only those of `split` are read; a tree without such
    names is read whole.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: give the folder that holds images and masks")
    folders = sorted(p.parent for p in root.rglob("masks") if (p.parent / "images").is_dir())
    named = {folder: split_of(folder, root) for folder in folders}
    if any(named.values()):
        folders = [folder for folder in folders if named[folder] == split]
    sequences = [sequence for folder in folders for sequence in read_folder(folder)]
    if not sequences:
        raise ValueError(f"no images/ and masks/ with equal names below {root} (split {split!r})")
    return sequences


@dataclass(frozen=True)
class CropSource:
    """What a crop is cut from: one frame and its labels, and the coordinates to read.

    Attributes
    ----------
    image : float32 0…1, (C, H, W).
    labels : float32 holding integers, (H, W).
    coords : (S, S, 2), x and y in pixels of `image` for each pixel of the crop.
    """

    image: torch.Tensor
    labels: torch.Tensor
    coords: torch.Tensor
    complete: bool
    obj_id: int


@dataclass(frozen=True)
class Crop:
    """An augmented crop.

    Attributes
    ----------
    image : float32 0…1, (3, S, S).
    labels : int64, (S, S).
    complete : whether every object is labelled.
    obj_id : the object that it was drawn around.
    beyond : area outside of the crop of each object that the crop's border cuts, in crop pixels.
    """

    image: torch.Tensor
    labels: torch.Tensor
    complete: bool
    obj_id: int
    beyond: Mapping[int, float]


def areas_beyond(
    labels: torch.Tensor, coords: torch.Tensor, sequence: LabelledSequence, frame_idx: int
) -> dict[int, float]:
    """Return how much of each cut object lies outside of a crop, in crop pixels.

    `labels` (S, S) are those of the crop, `coords` (S, S, 2) where its pixels are in the frame.
    """
    border = torch.cat((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    cut = set(torch.unique(border).tolist()) - {0}
    right, down = coords[:-1, 1:] - coords[:-1, :-1], coords[1:, :-1] - coords[:-1, :-1]
    # frame pixels that one crop pixel covers
    grain = float((right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).abs().mean())
    beyond: dict[int, float] = {}
    for obj_id, y0, x0, y1, x1 in sequence.boxes[frame_idx].tolist():
        if obj_id in cut:
            part = sequence.labels[frame_idx, y0:y1, x0:x1]
            whole = np.count_nonzero(part == obj_id) / grain
            beyond[obj_id] = max(whole - float((labels == obj_id).sum()), 0.0)
    return beyond


def read_labels(labels: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """Sample labels (H, W) at pixel coordinates (S, S, 2) as `read_pixels` does, int64.

    The mirror image of an object beyond the border is another object, with an identifier greater
    by `MIRRORED`, unless it touches the object itself.
    """
    read = read_pixels(labels[None], coords, mode="nearest")[0].long()
    height, width = labels.shape
    limits = torch.tensor([width, height], dtype=coords.dtype) - 0.5
    beyond = ((coords < -0.5) | (coords >= limits)).any(-1)
    for obj_id in torch.unique(read[beyond]).tolist():
        if obj_id:
            pieces, _ = ndimage.label((read == obj_id).numpy())
            within = np.unique(pieces[~beyond.numpy()])
            mirrored = torch.from_numpy((pieces > 0) & ~np.isin(pieces, within))
            read[mirrored] = obj_id + MIRRORED
    return read


def read_pixels(image: torch.Tensor, coords: torch.Tensor, *, mode: str) -> torch.Tensor:
    """Sample `image` (C, H, W) at pixel coordinates (S, S, 2); beyond its border it is mirrored.

    Windows on a frame are mirrored in the same way when the network is used.
    """
    height, width = image.shape[-2:]
    size = torch.tensor([width, height], dtype=torch.float32)
    grid = (coords + 0.5) / size * 2 - 1
    return F.grid_sample(
        image[None], grid[None], mode=mode, padding_mode="reflection", align_corners=False
    )[0]


def smooth_field(
    rng: np.random.Generator, size: int, *, nodes: int, strength: float
) -> torch.Tensor:
    """Return a smooth random displacement (size, size, 2) in pixels with the given deviation."""
    noise = torch.from_numpy(rng.standard_normal((1, 2, nodes, nodes)).astype(np.float32))
    field_ = F.interpolate(noise, (size, size), mode="bicubic", align_corners=True)[0]
    return field_.permute(1, 2, 0) * strength


def output_grid(size: int) -> torch.Tensor:
    """Return x and y of each pixel of a crop, relative to its centre, in −0.5…0.5 (S, S, 2)."""
    line = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), dim=-1)


class CropDrawer:
    """Draws crops around random objects, kinds balanced against each other.

    Parameters
    ----------
    size
        Side of the crops in pixels.
    zoom
        Side of a crop in units of its object's size, smallest and largest.
    favoured
        (kind, factor): how many times more often a kind is drawn than its balance says.
    plain_share
        This share of the crops looks as the images do.
    smallest_side
        Of a crop, in pixels of the image: what is smaller is shown with more around it.
    coarsest_grain
        Noise has grains of one to so many pixels of a crop: a window that magnifies shows each
        pixel of the image so.
    """

    def __init__(
        self,
        sequences: Sequence[LabelledSequence],
        *,
        size: int,
        zoom: tuple[float, float] = (1.3, 7.0),
        favoured: Sequence[tuple[str, float]] = (),
        plain_share: float = 0.0,
        smallest_side: float = 20.0,
        coarsest_grain: float = 1.0,
    ) -> None:
        self.sequences = list(sequences)
        self.plain_share = plain_share
        self.smallest_side = smallest_side
        self.coarsest_grain = coarsest_grain
        self.size = size
        self.zoom = zoom
        kinds = sorted({s.kind for s in self.sequences})
        self._by_kind = [[i for i, s in enumerate(self.sequences) if s.kind == k] for k in kinds]
        counts = [sum(len(self.sequences[i].boxes[0]) for i in rows) for rows in self._by_kind]
        weights = np.asarray(counts, dtype=np.float64) ** KIND_POWER
        moving = [any(self.sequences[i].num_frames > 1 for i in rows) for rows in self._by_kind]
        floors = np.where(moving, VIDEO_FLOOR, KIND_FLOOR)
        weights = np.maximum(weights / weights.sum(), floors)
        weights = weights * np.asarray([dict(favoured).get(kind, 1.0) for kind in kinds])
        self._weights = weights / weights.sum()
        self.grid = output_grid(size)

    def choose(self, rng: np.random.Generator) -> tuple[LabelledSequence, int]:
        """Choose a sequence and a frame that shows at least one object."""
        while True:
            rows = self._by_kind[rng.choice(len(self._by_kind), p=self._weights)]
            sequence = self.sequences[rows[rng.integers(len(rows))]]
            frame_idx = int(rng.integers(sequence.num_frames))
            if len(sequence.boxes[frame_idx]):
                return sequence, frame_idx

    def place(
        self, rng: np.random.Generator, sequence: LabelledSequence, frame_idx: int
    ) -> tuple[torch.Tensor, int]:
        """Choose an object and return the coordinates (S, S, 2) of a crop around it, and its id."""
        boxes = sequence.boxes[frame_idx]
        obj_id, y0, x0, y1, x1 = boxes[rng.integers(len(boxes))]
        extent = max(y1 - y0, x1 - x0, 8)
        side = extent * np.exp(rng.uniform(*np.log(self.zoom)))
        height, width = sequence.labels.shape[1:]
        side = float(np.clip(side, self.smallest_side, 1.15 * max(height, width)))
        shift = rng.uniform(-0.3, 0.3, 2) * max(side - extent, 0.3 * extent)
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + shift
        turned = rng.random() < 0.4
        if not turned:  # keep an upright crop inside the frame where it fits
            for axis, extent_axis in enumerate((width, height)):
                if side <= extent_axis:
                    centre[axis] = np.clip(centre[axis], side / 2, extent_axis - side / 2)
                else:
                    centre[axis] = extent_axis / 2
        angle = rng.uniform(-np.pi, np.pi) if turned else rng.integers(4) * np.pi / 2
        stretch = np.exp(rng.normal(0, 0.08, 2)) if rng.random() < 0.5 else np.ones(2)
        flip = np.array([rng.choice((-1.0, 1.0)), 1.0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = torch.from_numpy((turn * (stretch * flip * side)).astype(np.float32))
        coords = self.grid @ matrix.T + torch.from_numpy((centre - 0.5).astype(np.float32))
        if rng.random() < 0.3:
            nodes = int(rng.integers(3, 7))
            strength = float(rng.uniform(0.1, 0.5)) * side / nodes / 4
            coords = coords + smooth_field(rng, self.size, nodes=nodes, strength=strength)
        return coords, int(obj_id)

    def source(
        self,
        sequence: LabelledSequence,
        frame_idx: int,
        coords: torch.Tensor,
        obj_id: int,
        *,
        margin: float = 2.0,
    ) -> CropSource:
        """Cut the part of a frame that `coords` need, shrunk by averaging where it is too fine."""
        height, width = sequence.labels.shape[1:]
        low = (coords.amin((0, 1)) - margin).floor().clamp(min=0).int().tolist()
        high = (coords.amax((0, 1)) + margin).ceil().int().tolist()
        x0, y0 = min(low[0], width - 1), min(low[1], height - 1)
        x1, y1 = max(min(high[0], width), x0 + 1), max(min(high[1], height), y0 + 1)
        part = np.ascontiguousarray(sequence.frames[frame_idx, y0:y1, x0:x1])
        image = torch.from_numpy(part).permute(2, 0, 1).float() / 255
        ids = sequence.labels[frame_idx, y0:y1, x0:x1].astype(np.float32)
        labels = torch.from_numpy(ids)
        coords = coords - torch.tensor([x0, y0], dtype=torch.float32)
        spacing = float((coords[1:] - coords[:-1]).norm(dim=-1).mean())
        factor = min(int(spacing + 0.3), image.shape[-1], image.shape[-2])
        if factor >= 2:
            # to whole blocks first: else labels and pixels drift apart towards the far side
            rest = (0, -image.shape[-1] % factor, 0, -image.shape[-2] % factor)
            image = F.avg_pool2d(F.pad(image[None], rest, mode="replicate"), factor)[0]
            labels = F.pad(labels[None, None], rest, mode="replicate")[0, 0]
            labels = labels[factor // 2 :: factor, factor // 2 :: factor]
            coords = (coords + 0.5) / factor - 0.5
        return CropSource(image, labels, coords, sequence.complete, obj_id)

    def draw_look(self, rng: np.random.Generator) -> Look:
        """Draw a look for a crop or a clip."""
        look = draw_look(rng)
        if self.coarsest_grain <= 1:
            return look
        return replace(look, grain=float(self.coarsest_grain ** rng.random()))

    def draw(self, rng: np.random.Generator) -> Crop:
        """Return an augmented crop around an object."""
        sequence, frame_idx = self.choose(rng)
        coords, obj_id = self.place(rng, sequence, frame_idx)
        source = self.source(sequence, frame_idx, coords, obj_id)
        image = read_pixels(source.image, source.coords, mode="bilinear")
        labels = read_labels(source.labels, source.coords)
        # a seed draws the same crops as ever where none are plain
        plain = self.plain_share > 0 and rng.random() < self.plain_share
        look = Look() if plain else self.draw_look(rng)
        beyond = areas_beyond(labels, coords, sequence, frame_idx)
        return Crop(apply_look(image, look, rng), labels, source.complete, obj_id, beyond)
