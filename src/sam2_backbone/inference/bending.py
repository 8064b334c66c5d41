"""How an object bends beyond the affine way that it went, on a coarse grid of control points.

Free-form deformation (Rueckert and others, IEEE TMI 1999) with bilinear patches, found by
Gauss-Newton steps on the picture of the prompted frame. The grid spans the box of the object, so
that it is as fine as the object is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_backbone.inference.motion import image_gradients, pixel_centres, standardised

CONTROL_POINTS = 7  # along each side of the box
_SIDE = 32  # pixels of the box in which pictures are compared
_STEPS = 3
_STIFFNESS = 0.1  # of neighbouring control points, over the mean of the normal equations' diagonal
_DAMPING = 0.005  # of all control points, over the same
_FARTHEST = 0.5  # of a control point, in half sides of the box
_OUTSIDE = 1e-3  # weight of pixels beside the region


@dataclass(frozen=True)
class Boxes:
    """Boxes of N regions, x, y from -1 to 1 over their view.

    Attributes
    ----------
    middles, halves
        (N, 2) x, y, and half of each side.
    """

    middles: Tensor
    halves: Tensor

    @staticmethod
    def around(region: Tensor) -> Boxes:
        """Return the boxes of what is positive in (N, 1, l, l)."""
        side, shown = region.shape[-1], region[:, 0] > 0
        line = torch.arange(side, device=region.device)
        ends = []
        for along in (shown.any(1), shown.any(2)):  # x, then y
            first = torch.where(along, line, side).amin(1)
            last = torch.where(along, line, -1).amax(1) + 1
            ends.append(torch.stack((first, last)) / side * 2 - 1)
        low, high = torch.stack(ends, -1)
        return Boxes((low + high) / 2, ((high - low) / 2).clamp(min=2 / side))

    def from_view(self, places: Tensor) -> Tensor:
        """Bring x, y (N, h, w, 2) from over the view to over the boxes, -1 to 1 there."""
        return (places - self.middles[:, None, None]) / self.halves[:, None, None]

    def to_view(self, places: Tensor) -> Tensor:
        """Bring x, y (N, h, w, 2) from over the boxes to over the view."""
        return places * self.halves[:, None, None] + self.middles[:, None, None]


def straight(count: int) -> Tensor:
    """Return the control points (N, 2, g, g) of objects that have not bent."""
    return torch.zeros(count, 2, CONTROL_POINTS, CONTROL_POINTS)


def bend(
    bent: Tensor, first: Tensor, second: Tensor, maps: Tensor, region: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Bend N objects until the second picture looks like the first.

    Parameters
    ----------
    bent
        (N, 2, g, g): how far each control point has moved along x and y, in half sides of the box
        of the region; where to begin.
    first, second
        Grey values (N, 1, s, s) of a view on each frame.
    maps
        Affine maps (N, 3, 3) of x, y from -1 to 1 over the first view, to the second.
    region
        Weights (N, 1, l, l) on the first frame: the object and its outline.

    Returns
    -------
    bent, agreement, unbent_agreement
        The new control points, and the correlation (N,) of the pictures with and without them.
    """
    boxes, grid = Boxes.around(region), pixel_centres(_SIDE).to(first)
    places = boxes.to_view(grid)
    weights = F.grid_sample(region, places, align_corners=False) + _OUTSIDE
    weights = weights / weights.sum((2, 3), keepdim=True)
    shown = F.grid_sample(first, places, padding_mode="border", align_corners=False)
    before = standardised(shown, weights)[0]

    def looked_at(points: Tensor) -> Tensor:
        moved = boxes.to_view(grid + _between(points))
        there = moved @ maps[:, None, :2, :2].mT + maps[:, None, None, :2, 2]
        seen = F.grid_sample(second, there, padding_mode="border", align_corners=False)
        return standardised(seen, weights)[0]

    def agreement(points: Tensor) -> Tensor:
        return (looked_at(points) * before * weights).sum((1, 2, 3))

    basis, pairs = _basis().to(first), _Pairs.found()
    across, down = (gradient.flatten(1) for gradient in image_gradients(before))
    flat = weights.flatten(1)
    normal = torch.cat(
        [
            torch.cat([pairs.summed(flat * g * h) for h in (across, down)], 2)
            for g in (across, down)
        ],
        1,
    )
    scale = normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    stiffness = scale * _stiffness().to(first)
    # a flat picture tells nothing, and bends nothing
    normal = normal + stiffness + 1e-6 * torch.eye(normal.shape[-1], device=first.device)
    factors = torch.linalg.lu_factor(normal)
    points = bent
    for _ in range(_STEPS):
        error = (before - looked_at(points)).flatten(1) * flat
        pull = torch.cat([(error * g) @ basis for g in (across, down)], 1)
        pull = pull - (stiffness @ points.flatten(1)[..., None])[..., 0]
        points = points + torch.linalg.lu_solve(*factors, pull[..., None]).view_as(points)
    points = points.clamp(-_FARTHEST, _FARTHEST)
    return points, agreement(points), agreement(torch.zeros_like(points))


def unbend(places: Tensor, bent: Tensor, region: Tensor) -> Tensor:
    """Return where x, y (N, h, w, 2) were before the objects bent, -1 to 1 over the first view.

    Beyond the box of the region all moves as its border does.
    """
    boxes = Boxes.around(region)
    moved = boxes.from_view(places)
    were = moved
    for _ in range(3):  # of the fixed point: what bends is smooth and small
        shift = F.grid_sample(bent, were, padding_mode="border", align_corners=True)
        were = moved - shift.permute(0, 2, 3, 1)
    return boxes.to_view(were)


def _between(points: Tensor) -> Tensor:
    """Interpolate control points (N, 2, g, g), which lie on the box's corners too, to pixels."""
    size = (_SIDE, _SIDE)
    return F.interpolate(points, size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)


@cache
def _basis() -> Tensor:
    """How much each control point moves each pixel, (pixels, g * g)."""
    each = torch.eye(CONTROL_POINTS**2).view(-1, 1, CONTROL_POINTS, CONTROL_POINTS)
    size = (_SIDE, _SIDE)
    return F.interpolate(each, size, mode="bilinear", align_corners=True).flatten(1).T


@dataclass(frozen=True)
class _Pairs:
    """Pairs of control points that move a pixel together: few of all, since patches are bilinear.

    Attributes
    ----------
    products
        (pixels, pairs) product of how much both move each pixel.
    places
        (pairs,) where a pair is in a matrix of all with all.
    """

    products: Tensor
    places: Tensor

    @staticmethod
    @cache
    def found() -> _Pairs:
        """Return them; they are the same for all objects."""
        basis = _basis()
        together = (basis > 0).float()
        first, second = torch.nonzero(together.T @ together, as_tuple=True)
        return _Pairs(basis[:, first] * basis[:, second], first * basis.shape[1] + second)

    def summed(self, weights: Tensor) -> Tensor:
        """Sum products over pixels with weights (N, pixels), (N, g * g, g * g)."""
        count = CONTROL_POINTS**2
        matrix = weights.new_zeros(len(weights), count * count)
        matrix[:, self.places] = weights @ self.products.to(weights)
        return matrix.view(-1, count, count)


@cache
def _stiffness() -> Tensor:
    """Return what holds control points together, and back, (2 * g * g, 2 * g * g)."""
    chain = torch.eye(CONTROL_POINTS).diff(dim=0)
    line = chain.T @ chain  # the Laplacian of a chain
    one = torch.eye(CONTROL_POINTS)
    held = _STIFFNESS * (torch.kron(line, one) + torch.kron(one, line))
    held = held + _DAMPING * torch.eye(CONTROL_POINTS**2)
    return torch.kron(torch.eye(2), held)
