"""How what lies around an object moved between two frames, so that its last mask can move along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

MOTION_SIDE = 96  # pixels of the views in which motion is looked for
# (side of the images, parameters, iterations): shifts first, then all of the affine map
_LEVELS = ((MOTION_SIDE // 2, 2, 4), (MOTION_SIDE, 6, 4))
_DAMPING = 1e-2  # of all parameters, over the mean of the normal equations' diagonal
_AFFINE_DAMPING = 1e-3  # besides, of all but the shift
_MARGIN = 2  # pixels of a mask around the object that move with it
_UNSURE = 0.5  # agreement up to which a motion is not believed
_STANDS_OUT = 0.1  # growth of contrast that is no accident
_AREA_CHANGE = (0.5, 2.0)  # of a frame to the next; what is beyond was not matched


@dataclass(frozen=True)
class Motion:
    """Affine maps from one frame to another, and how well they explain what is seen.

    Attributes
    ----------
    maps
        (N, 2, 3), of x, y from -1 to 1 over the view: a point of the first frame to the second.
    agreement
        (N,) correlation of the two images over the region after the motion, -1 to 1.
    contrast
        (N,) standard deviation over the region on the second frame, after the motion, over that on
        the first.
    """

    maps: Tensor
    agreement: Tensor
    contrast: Tensor

    def carry(self, low_res_masks: Tensor) -> Tensor:
        """Move (N, 1, l, l) logits of the first frame to where they are on the second."""
        return seen_through(low_res_masks, torch.linalg.inv(square(self.maps)))


@dataclass(frozen=True)
class Carried:
    """Last masks where the picture has carried them.

    Attributes
    ----------
    masks
        Logits (N, 1, l, l) of the masks on the second frame.
    sure
        (N,) from 0, the picture does not show what became of the first frame, to 1.
    contrast
        (N,) of the object with its margin on the second frame, over that on the first.
    maps
        (N, 2, 3) of the motion, as `Motion` has them.
    news
        (N, 1, l, l) from 0 to 1: how much of a pixel was not in the first frame.
    """

    masks: Tensor
    sure: Tensor
    contrast: Tensor
    maps: Tensor
    news: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> Carried:
        """Return the same with all tensors changed."""
        return Carried(*(change(getattr(self, field.name)) for field in fields(self)))

    def select(self, rows: Tensor) -> Carried:
        """Return some of them."""
        return self.each(lambda tensor: tensor[rows])

    @property
    def still_seen(self) -> Tensor:
        """How sure it is (N,), 0…1, that an object is there because it stands out more than before.

        A nucleus that condenses to divide looks like no nucleus, but grows brighter; what fades, or
        ends in depth, may go on to look alike while it goes.
        """
        return self.sure * ((self.contrast - 1) / _STANDS_OUT).clamp(0, 1)

    @property
    def pull(self) -> Tensor:
        """What the masks say of pixels (N, 1, l, l), from -1 to 1; nothing, 0, where unsure.

        Nothing either of what has come into the frame since: of a cell that the border cut, more.
        """
        return self.sure[:, None, None, None] * torch.tanh(self.masks / 2) * (1 - self.news)


def carry_along(
    last: Tensor, first: Tensor, second: Tensor, within: Tensor | None = None
) -> Carried:
    """Move last masks to where the picture has carried them, and say how sure that is.

    Parameters
    ----------
    last
        Logits (N, 1, l, l) of the masks on the first frame.
    first, second
        Grey values (N, 1, s, s) of both frames, through the same views as the masks.
    within
        (N, 1, l, l) bool: which pixels of the views lie within the frame; None, all do.
    """
    device = last.device
    if within is None:
        within = torch.ones_like(last, dtype=torch.bool)
    if for_algebra(last).device != device:
        parts = (for_algebra(part) for part in (last, first, second, within))
        return carry_along(*parts).each(lambda tensor: tensor.to(device))
    shown = (last > 0).float()
    motion = find_motion(first, second, with_margin(last))
    sure = ((motion.agreement - _UNSURE) / (1 - _UNSURE)).clamp(min=0)
    sure = sure * shown.flatten(1).amax(1)
    is_sure = sure[:, None, None, None] > 0
    masks = torch.where(is_sure, motion.carry(last), last)
    came = within * motion.carry((~within).float())  # beyond the frame still as it was
    return Carried(masks, sure, motion.contrast, motion.maps, came.clamp(0, 1))


def for_algebra(tensor: Tensor) -> Tensor:
    """Return a tensor where all of torch.linalg is: mps has not all of it."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def with_margin(masks: Tensor) -> Tensor:
    """Weights (N, 1, l, l) of where logits show an object, and a margin around it."""
    return F.max_pool2d((masks > 0).float(), 2 * _MARGIN + 1, 1, _MARGIN)


def seen_through(low_res_masks: Tensor, maps: Tensor) -> Tensor:
    """Return (N, 1, l, l) logits where maps (N, 3, 3) of x, y take each pixel from; -1 to 1."""
    grid = F.affine_grid(maps[:, :2], list(low_res_masks.shape), align_corners=False)
    return read_at(low_res_masks, grid)


def read_at(low_res_masks: Tensor, places: Tensor) -> Tensor:
    """Read (N, 1, l, l) logits at places (N, l, l, 2), x, y from -1 to 1; outside, the least."""
    floor = low_res_masks.amin((1, 2, 3), keepdim=True)
    read: Tensor = F.grid_sample(low_res_masks - floor, places, align_corners=False)
    return read + floor


def agreement_of(first: Tensor, second: Tensor, region: Tensor) -> Tensor:
    """Correlation (N,) of two images (N, 1, s, s) over a region (N, 1, l, l), -1 to 1."""
    weights = _region_weights(region, first.shape[-1])
    both = standardised(first, weights)[0] * standardised(second, weights)[0]
    return (both * weights).sum((1, 2, 3))


def find_motion(first: Tensor, second: Tensor, region: Tensor) -> Motion:
    """Find how the region of each of N objects moved, by the inverse compositional algorithm.

    Baker and Matthews, Lucas-Kanade 20 Years On, IJCV 2004. Brightness and contrast may change:
    both images are standardised over the region.

    Parameters
    ----------
    first, second
        Grey values (N, 1, s, s) of the same view on two frames.
    region
        Weights (N, 1, l, l) on the first frame: the object with a margin.
    """
    maps = torch.eye(2, 3, device=first.device).repeat(len(first), 1, 1)
    agreement = contrast = first.new_zeros(len(first))
    for side, count, iterations in _LEVELS:
        shown, after = _scaled(first, side), _scaled(second, side)
        weights = _region_weights(region, side)
        before, deviation = standardised(shown, weights)
        middles, steepest = _steepest_descent(before, weights, count)
        weighted = steepest * weights.flatten(1)[..., None]
        normal = _damped(torch.einsum("npi,npj->nij", weighted, steepest))
        for _ in range(iterations):
            error = (_seen(after, maps, weights)[0] - before).flatten(1)
            right = torch.einsum("npi,np->ni", weighted, error)
            step = _step(torch.linalg.solve(normal, right), middles)
            maps = (square(maps) @ torch.linalg.inv(step))[:, :2]
        seen, seen_deviation = _seen(after, maps, weights)
        agreement = (seen * before * weights).sum((1, 2, 3))
        contrast = seen_deviation / deviation
    areas = torch.linalg.det(maps[:, :, :2])
    lost = (areas < _AREA_CHANGE[0]) | (areas > _AREA_CHANGE[1])
    lost |= ~torch.isfinite(maps).flatten(1).all(1)
    still = torch.eye(2, 3, device=first.device)
    maps = torch.where(lost[:, None, None], still, maps)
    return Motion(maps, agreement.where(~lost, 0.0), contrast.where(~lost, 1.0))


def _region_weights(region: Tensor, side: int) -> Tensor:
    """Bring a region (N, 1, l, l) to another side, with a sum of 1."""
    weights = _scaled(region + 1e-4, side)
    return weights / weights.sum((2, 3), keepdim=True)


def _scaled(image: Tensor, side: int) -> Tensor:
    """Average (N, 1, s, s) images to another side."""
    if image.shape[-1] % side == 0:  # the same, several times faster
        return F.avg_pool2d(image, image.shape[-1] // side)
    return F.interpolate(image, size=(side, side), mode="area")


def _seen(image: Tensor, maps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Look at the second image where the map puts each pixel of the first, standardised."""
    grid = F.affine_grid(maps, list(image.shape), align_corners=False)
    seen = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return standardised(seen, weights)


def standardised(image: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Give (N, 1, s, s) images mean 0 and variance 1 under weights that sum to 1.

    Returns them and the standard deviations (N,) that they had.
    """
    mean = (image * weights).sum((2, 3), keepdim=True)
    variance = ((image - mean) ** 2 * weights).sum((2, 3), keepdim=True)
    deviation = (variance + 1e-8).sqrt()
    return (image - mean) / deviation, deviation[:, 0, 0, 0]


def image_gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return derivatives of (N, 1, s, s) along x and y, which go from -1 to 1."""
    side = image.shape[-1]
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * (side / 4)
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * (side / 4)
    return across, down


def pixel_centres(side: int) -> Tensor:
    """Return x, y of the pixels of a square, from -1 to 1 over it, (side, side, 2)."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), -1)


def _steepest_descent(image: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the middles (N, 2) of the regions, and derivatives (N, s * s, count) of the images.

    The parameters are the shifts along x and y, then the map's change, row by row, around the
    middle.
    """
    across, down = (gradient.flatten(1) for gradient in image_gradients(image))
    x, y = pixel_centres(image.shape[-1]).to(image).flatten(0, 1).T
    flat = weights.flatten(1)
    middles = torch.stack(((flat * x).sum(1), (flat * y).sum(1)), 1)
    x, y = x - middles[:, :1], y - middles[:, 1:]
    columns = (across, down, across * x, across * y, down * x, down * y)
    return middles, torch.stack(columns[:count], -1)


def _damped(normal: Tensor) -> Tensor:
    count = normal.shape[-1]
    damping = torch.full((count,), _DAMPING, device=normal.device)
    damping[2:] += _AFFINE_DAMPING
    scale = normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    return normal + damping.diag() * scale + 1e-6 * torch.eye(count, device=normal.device)


def _step(parameters: Tensor, middles: Tensor) -> Tensor:
    """Return the maps (N, 3, 3) of parameters (N, 2 or 6) around the middles."""
    count = len(parameters)
    maps = torch.eye(3, device=parameters.device).repeat(count, 1, 1)
    if parameters.shape[1] > 2:
        maps[:, :2, :2] += parameters[:, 2:].view(count, 2, 2)
    turned = (maps[:, :2, :2] @ middles[..., None])[..., 0]
    maps[:, :2, 2] = parameters[:, :2] + middles - turned
    return maps


def square(maps: Tensor) -> Tensor:
    """Complete affine maps (N, 2, 3) to (N, 3, 3), which can be multiplied."""
    last = torch.tensor([[0.0, 0.0, 1.0]], device=maps.device).expand(len(maps), 1, 3)
    return torch.cat((maps, last), 1)
