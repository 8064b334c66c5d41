"""How crops look: contrast, inversion, false colour, noise and blur, over the image as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# deviation of noise over the picture's range of brightness, at most: more would drown what is faint
NOISIEST = 0.1


@dataclass(frozen=True)
class Look:
    """How a crop is made to look, by default as the image; one look for all frames of a clip.

    `noise` is a deviation, `shot` a number of photons, and `grain` the pixels of the crop that
    share their noise.
    """

    stretch: float = 0.0
    gamma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    invert: bool = False
    colour: NDArray[np.float32] | None = None
    to_grey: bool = False
    noise: float = 0.0
    shot: float = 0.0
    grain: float = 1.0
    blur: float = 0.0


def draw_look(rng: np.random.Generator) -> Look:
    """Draw a look: contrast, inversion, false colour, noise and blur."""
    colour = None
    if rng.random() < 0.15:
        colour = rng.uniform(0, 1, (2, 3)).astype(np.float32)
        colour[0] *= 0.4 * rng.random()
    return Look(
        stretch=float(rng.choice((0.0, 1.0, rng.random()))),
        gamma=float(np.exp(rng.normal(0, 0.3))),
        gain=float(np.exp(rng.normal(0, 0.2))),
        offset=float(rng.normal(0, 0.05)),
        invert=bool(rng.random() < 0.15),
        colour=colour,
        to_grey=bool(rng.random() < 0.3),
        noise=float(rng.uniform(0, 0.06)) if rng.random() < 0.35 else 0.0,
        shot=float(np.exp(rng.uniform(np.log(20), np.log(400)))) if rng.random() < 0.2 else 0.0,
        blur=float(rng.uniform(0.4, 1.8)) if rng.random() < 0.2 else 0.0,
    )


def blur_image(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) with a Gaussian of `sigma` pixels."""
    radius = max(int(2.5 * sigma + 0.5), 1)
    line = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    channels = image.shape[0]
    across = kernel[..., None, :].expand(channels, 1, 1, -1)
    down = kernel[..., None].expand(channels, 1, -1, 1)
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, across, groups=channels), down, groups=channels)[0]


def apply_look(image: Tensor, look: Look, rng: np.random.Generator) -> Tensor:
    """Return (3, S, S) 0…1 from (1 or 3, S, S) 0…1; `rng` draws the noise of this frame."""
    if look.stretch > 0:
        low, high = _quantiles(image, 0.005, 0.998)
        low, high = low * look.stretch, 1 - (1 - high) * look.stretch
        image = (image - low) / max(high - low, 0.02)
    if look.to_grey and image.shape[0] == 3:
        image = image.mean(0, keepdim=True)
    image = (image * look.gain + look.offset).clamp(0, 1) ** look.gamma
    if look.blur > 0:
        image = blur_image(image, look.blur)
    if look.shot > 0:
        image = add_noise(image, (image / look.shot).clamp(min=0).sqrt(), rng, look.grain)
    if look.noise > 0:
        image = add_noise(image, torch.full_like(image, look.noise), rng, look.grain)
    if look.invert:
        image = 1 - image
    if image.shape[0] == 1:
        if look.colour is not None:
            dark, bright = torch.from_numpy(look.colour)[:, :, None, None]
            image = dark + (bright - dark) * image
        else:
            image = image.expand(3, -1, -1)
    return image.clamp(0, 1)


def add_noise(
    image: Tensor, deviation: Tensor, rng: np.random.Generator, grain: float = 1.0
) -> Tensor:
    """Return (C, H, W) with normal noise of a deviation (C, H, W), as strong as the picture bears.

    A `grain` of several pixels shares its noise, as the magnified pixels of an image do. The mean
    deviation is at most `NOISIEST` of the range between the darkest and the brightest hundredth:
    what a person could not make out under it cannot be asked for.
    """
    height, width = (max(round(side / grain), 1) for side in image.shape[1:])
    drawn = rng.standard_normal((image.shape[0], height, width), dtype=np.float32)
    normal = torch.from_numpy(drawn)
    if grain > 1:
        normal = F.interpolate(normal[None], image.shape[1:], mode="bilinear")[0]
    low, high = _quantiles(image, 0.01, 0.99)
    strength = min(1.0, NOISIEST * (high - low) / max(float(deviation.mean()), 1e-6))
    noisy: Tensor = image + strength * deviation * normal
    return noisy


def _quantiles(image: Tensor, low: float, high: float) -> tuple[float, float]:
    """Return two quantiles of the brightness of (C, H, W), of a part of the pixels."""
    sample = image[:, ::4, ::4].flatten()
    darkest, brightest = torch.quantile(sample, torch.tensor([low, high])).tolist()
    return darkest, brightest
