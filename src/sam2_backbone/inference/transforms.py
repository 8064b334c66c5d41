"""Where is this pixel in the model: views of a frame, intensities, resizing there and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sam2_backbone.inference.brightness import scaled

# ImageNet statistics, which all published trunks expect
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


_Pixel = TypeVar("_Pixel", bound=np.generic)


@dataclass(frozen=True)
class View:
    """The rectangle of a frame that the model sees, in whole pixels.

    It may reach beyond the frame, so that an object at the border is in its middle all the same;
    the model sees the frame mirrored there. A mirror image is `flipped` along axes 0 (top to
    bottom) or 1 as a whole.
    """

    top: int
    left: int
    height: int
    width: int
    flipped: tuple[int, ...] = ()

    @staticmethod
    def whole(height: int, width: int) -> View:
        """Return the view of a whole frame."""
        return View(0, 0, height, width)

    @staticmethod
    def around(centre_yx: tuple[float, float], side: int, height: int, width: int) -> View:
        """Return a square of `side` pixels around a centre; nowhere longer than the frame."""
        tall, wide = min(side, height), min(side, width)
        top = 0 if tall == height else round(centre_yx[0] + 0.5 - tall / 2)
        left = 0 if wide == width else round(centre_yx[1] + 0.5 - wide / 2)
        return View(top, left, tall, wide)

    @property
    def mirror_images(self) -> list[View]:
        """The view itself and its three mirror images."""
        return [replace(self, flipped=axes) for axes in ((), (1,), (0,), (0, 1))]

    def flip(self, images: Tensor) -> Tensor:
        """Flip (..., h, w) images as the view is flipped, or back."""
        return images.flip([axis - 2 for axis in self.flipped]) if self.flipped else images

    def flip_points(self, points: Tensor, is_edge: Tensor) -> Tensor:
        """Move pixel x, y (P, 2) of the frame to where the mirror image shows them.

        `is_edge` is (P,) bool: x, y are edges between pixels, else numbers of pixels.
        """
        points = points.clone()
        for axis in self.flipped:
            first, count = ((self.top, self.height), (self.left, self.width))[axis]
            last = 2 * first + count - 1 + is_edge.to(points)
            points[:, 1 - axis] = last - points[:, 1 - axis]
        return points

    def inside(self, height: int, width: int) -> View:
        """Return the part of the view that lies in the frame; it may be empty."""
        top, left = min(max(self.top, 0), height), min(max(self.left, 0), width)
        bottom = min(max(self.top + self.height, top), height)
        right = min(max(self.left + self.width, left), width)
        return View(top, left, bottom - top, right - left)

    def crop(self, frame: NDArray[_Pixel], *, mirror: bool) -> NDArray[_Pixel]:
        """Cut the view out of (H, W, …), unflipped; beyond the frame it is mirrored, or zero."""
        part = self.inside(*frame.shape[:2])
        pixels = frame[part.top : part.top + part.height, part.left : part.left + part.width]
        if part == self:
            return pixels
        before = (part.top - self.top, part.left - self.left)
        after = (self.height - part.height - before[0], self.width - part.width - before[1])
        widths = [(before[0], after[0]), (before[1], after[1])] + [(0, 0)] * (frame.ndim - 2)
        return np.pad(pixels, widths, mode="symmetric" if mirror else "constant")

    def to_model(self, points: Tensor, input_size: int) -> Tensor:
        """Map pixel x, y (..., 2) to model coordinates 0…input_size, unflipped.

        As the reference does it: x / width * input size; the half pixel is added where points are
        encoded.
        """
        origin = points.new_tensor((self.left, self.top))
        extent = points.new_tensor((self.width, self.height))
        return (points - origin) / extent * input_size

    @property
    def placement(self) -> Tensor:
        """Map (3, 3) of x, y from -1 to 1 over the view, unflipped, to pixel x, y of the frame."""
        half_width, half_height = self.width / 2, self.height / 2
        middle_x, middle_y = self.left + half_width - 0.5, self.top + half_height - 0.5
        return torch.tensor(
            ((half_width, 0.0, middle_x), (0.0, half_height, middle_y), (0.0, 0.0, 1.0))
        )

    def contains(self, points: Tensor) -> bool:
        """Whether all pixel x, y (..., 2) lie inside."""
        x, y = points[..., 0], points[..., 1]
        inside_x = (x >= self.left - 0.5) & (x <= self.left + self.width)
        inside_y = (y >= self.top - 0.5) & (y <= self.top + self.height)
        return bool((inside_x & inside_y).all())


@dataclass(frozen=True)
class Intensities:
    """One mapping of pixel values to 0…1 for a whole stack, never per frame."""

    low: float
    high: float

    def apply(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map to 0…1 and clip; NaN and infinities count as `low`."""
        if self.high <= self.low:
            return np.zeros(np.shape(pixels), np.float32)
        return scaled(np.asarray(pixels), self.low, self.high).astype(np.float32, copy=False)


def with_channels(frame: NDArray[_Pixel]) -> NDArray[_Pixel]:
    """Return a frame (H, W) or (H, W, C) as (H, W, 1 or 3): opacity is left out."""
    return frame[..., None] if frame.ndim == 2 else frame[..., :3]


def to_model_input(
    frame: NDArray[np.generic],
    view: View,
    intensities: Intensities,
    *,
    input_size: int,
    bicubic_8bit: bool = False,
) -> Tensor:
    """Turn a view of a frame into a normalised model input.

    Parameters
    ----------
    frame
        (H, W) or (H, W, C), C of 1, 3 or 4 (alpha is dropped), any real dtype.
    bicubic_8bit
        Resize as the reference does video frames: bicubic, on 8-bit values.

    Returns
    -------
    Tensor
        (3, input_size, input_size) float32 on the CPU.
    """
    values = intensities.apply(view.crop(with_channels(frame), mirror=True))
    channels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
    if tuple(channels.shape[1:]) != (input_size, input_size):
        if bicubic_8bit:
            channels = _resize_bicubic_8bit(channels, input_size)
        else:
            channels = functional.interpolate(
                channels[None], size=(input_size, input_size), mode="bilinear", antialias=True
            )[0]
    mean = torch.tensor(IMAGE_MEAN)[:, None, None]
    std = torch.tensor(IMAGE_STD)[:, None, None]
    return view.flip((channels.expand(3, -1, -1) - mean) / std)


def _resize_bicubic_8bit(channels: Tensor, size: int) -> Tensor:
    from PIL import Image  # only for the reference's rule

    array = (channels.numpy() * 255).round().astype(np.uint8)
    planes = [
        Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC) for plane in array
    ]
    return (
        torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]).astype(np.float32)) / 255
    )


def to_view_size(low_res_masks: Tensor, view: View) -> Tensor:
    """Bring (N, M, l, l) low-res logits to the pixels of a view, (N, M, height, width)."""
    return functional.interpolate(
        low_res_masks.float(), size=(view.height, view.width), mode="bilinear"
    )


def mask_to_model(mask: NDArray[np.bool_], view: View, input_size: int) -> Tensor:
    """Bring the part of a (H, W) mask in a view to (1, 1, input_size, input_size), 0 or 1."""
    part = torch.from_numpy(view.crop(mask, mirror=False).astype(np.float32))[None, None]
    if part.shape[-2:] != (input_size, input_size):
        part = functional.interpolate(
            part, size=(input_size, input_size), mode="bilinear", antialias=True
        )
    return (part >= 0.5).float()


def cut_by_view(masks: Tensor, view: View, frame_size: tuple[int, int]) -> Tensor:
    """Whether masks (N, h, w) touch a side of their view that is not a side of the frame, (N,)."""
    cut = torch.zeros(masks.shape[0], dtype=torch.bool, device=masks.device)
    if view.top > 0:
        cut |= masks[:, 0].any(-1)
    if view.left > 0:
        cut |= masks[:, :, 0].any(-1)
    if view.top + view.height < frame_size[0]:
        cut |= masks[:, -1].any(-1)
    if view.left + view.width < frame_size[1]:
        cut |= masks[:, :, -1].any(-1)
    return cut


def within_frame(view: View, frame_size: tuple[int, int], side: int) -> Tensor:
    """Which pixels (side, side) of an unflipped view have their middle within the frame, bool."""
    cells = (torch.arange(side) + 0.5) / side
    y, x = view.top + cells * view.height, view.left + cells * view.width
    rows = (y > 0) & (y < frame_size[0])
    return rows[:, None] & (x > 0) & (x < frame_size[1])


def resample_logits(low_res_masks: Tensor, source: View, target: View) -> Tensor:
    """Carry (N, 1, l, l) logits from one view of a frame to another; outside is the minimum."""
    side = low_res_masks.shape[-1]
    cells = (torch.arange(side, device=low_res_masks.device) + 0.5) / side
    y = ((target.top + cells * target.height) - source.top) / source.height * 2 - 1
    x = ((target.left + cells * target.width) - source.left) / source.width * 2 - 1
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    grid = torch.stack((xx, yy), dim=-1)[None].expand(low_res_masks.shape[0], -1, -1, -1)
    floor = low_res_masks.amin()
    moved = functional.grid_sample(low_res_masks - floor, grid, align_corners=False)
    return moved + floor
