"""Prompt one image and get masks at once; NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sam2_backbone.inference.frames import choose_intensities, image_source
from sam2_backbone.inference.transforms import View, to_model_input, to_view_size
from sam2_backbone.modeling.sam2 import SAM2, ImageFeatures, Prompts

LOW_RES_CLAMP = 32.0

Masks = NDArray[np.bool_] | NDArray[np.float32]


class ImagePredictor:
    """Promptable segmentation of one image.

    Method names, argument order and array conventions are those of Meta's image predictor. The
    whole image is shown to the model; for small objects in large images see
    ``VideoPredictor.init_state(window="auto")``.

    Parameters
    ----------
    model
        From `build_sam2`.
    """

    def __init__(self, model: SAM2) -> None:
        self.model = model
        self._features: ImageFeatures | None = None
        self._size = (0, 0)

    @torch.inference_mode()
    def set_image(self, image: object, *, value_range: tuple[float, float] | None = None) -> None:
        """Encode an image.

        Parameters
        ----------
        image
            (H, W) or (H, W, 1|3|4), any real dtype.
        value_range
            Pixel values that become 0 and 1; None: the range of uint8, else robust percentiles.

        Raises
        ------
        TypeError, ValueError
            If it is no such image.
        """
        source = image_source(image)
        self._size = (source.height, source.width)
        pixels = to_model_input(
            source.read(0),
            View.whole(*self._size),
            choose_intensities(source, value_range),
            input_size=self.model.config.input_size,
        )
        features = self.model.encode_image(pixels[None].to(self.model.device))
        self._features = self.model.without_memory(features)

    def reset_image(self) -> None:
        """Forget the image."""
        self._features = None

    @torch.inference_mode()
    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[Masks, NDArray[np.float32], NDArray[np.float32]]:
        """Predict masks of one object, or of a batch of B objects.

        Parameters
        ----------
        point_coords
            (N, 2) or (B, N, 2) x, y in pixels.
        point_labels
            (N,) or (B, N): 1 positive, 0 negative, -1 padding.
        box
            (4,) or (B, 4): x0, y0, x1, y1 in pixels.
        mask_input
            (1, h, w) or (B, 1, h, w) low-res logits of an earlier call.
        multimask_output
            Three candidates (C = 3), else one.
        return_logits
            Masks as float32 logits, else bool.
        normalize_coords
            Coordinates are pixels; False: they are 0…1 already.

        Returns
        -------
        masks, iou_predictions, low_res_masks
            (C, H, W), (C,), (C, h, w); for a batch with a leading B.

        Raises
        ------
        ValueError
            If no image is set, no prompt is given, or shapes do not fit.
        """
        if self._features is None:
            raise ValueError("no image is set: call set_image(image) first")
        coords, labels = self._points(point_coords, point_labels, box, normalize_coords)
        mask = None if mask_input is None else self._tensor(mask_input)
        if mask is not None and mask.ndim == 3:
            mask = mask[None]
        if coords is None and mask is None:
            raise ValueError("the prompt is empty: give points, a box or a mask_input")
        rows = (coords if coords is not None else mask).shape[0]  # type: ignore[union-attr]
        prediction = self.model.predict_masks(
            self._features.select([0] * rows),
            Prompts(coords, labels, self._checked_mask(mask, rows)),
            multimask_output=multimask_output,
        )
        logits = to_view_size(prediction.low_res_masks, View.whole(*self._size))
        masks = (logits if return_logits else logits > 0).cpu().numpy()
        ious = prediction.iou_predictions.cpu().numpy()
        low_res = prediction.low_res_masks.clamp(-LOW_RES_CLAMP, LOW_RES_CLAMP).cpu().numpy()
        if rows == 1:
            return masks[0], ious[0], low_res[0]
        return masks, ious, low_res

    def _tensor(self, values: ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self.model.device)

    def _points(
        self,
        point_coords: ArrayLike | None,
        point_labels: ArrayLike | None,
        box: ArrayLike | None,
        normalize_coords: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Points and box corners together, in model coordinates: (B, P, 2) and (B, P)."""
        if (point_coords is None) != (point_labels is None):
            raise ValueError("point_coords and point_labels must be given together")
        parts: list[tuple[Tensor, Tensor]] = []
        if box is not None:
            corners = self._boxes(box, normalize_coords)
            kinds = torch.tensor([[2, 3]], dtype=torch.int32, device=self.model.device)
            parts.append((corners, kinds.expand(corners.shape[0], -1)))
        if point_coords is not None and point_labels is not None:
            coords = self._tensor(point_coords)
            labels = self._tensor(point_labels).int()
            if coords.ndim == 2:
                coords, labels = coords[None], labels.reshape(1, -1)
            if coords.ndim != 3 or coords.shape[2] != 2 or coords.shape[:2] != labels.shape:
                raise ValueError(
                    "point_coords must be (N, 2) or (B, N, 2) with as many point_labels, not "
                    f"{tuple(coords.shape)} and {tuple(labels.shape)}"
                )
            self._check_inside(coords, labels, normalize_coords)
            parts.append((coords, labels))
        if not parts:
            return None, None
        if len({part[0].shape[0] for part in parts}) > 1:
            raise ValueError("there must be as many boxes as rows of points")
        coords = torch.cat([c for c, _ in parts], dim=1)
        labels = torch.cat([k for _, k in parts], dim=1)
        side = self.model.config.input_size
        if normalize_coords:
            return View.whole(*self._size).to_model(coords, side), labels
        return coords * side, labels

    def _boxes(self, box: ArrayLike, normalize_coords: bool) -> Tensor:
        boxes = self._tensor(box)
        if boxes.shape[-1:] != (4,) or boxes.ndim > 2:
            raise ValueError(f"box must be (4,) or (B, 4), not {tuple(boxes.shape)}")
        corners = boxes.reshape(-1, 2, 2)  # (B, corner, x y)
        limit = (self._size[1], self._size[0]) if normalize_coords else (1, 1)
        if not bool((corners[:, 1] > corners[:, 0]).all()):
            raise ValueError("a box is empty or reversed: x0 < x1 and y0 < y1 are needed")
        if not bool(((corners >= 0) & (corners <= corners.new_tensor(limit))).all()):
            raise ValueError(f"a box reaches outside the image of {limit[0]} x {limit[1]}")
        return corners

    def _check_inside(self, coords: Tensor, labels: Tensor, normalize_coords: bool) -> None:
        real = coords[labels >= 0]
        if normalize_coords:
            low, high = -0.5, real.new_tensor((self._size[1] - 0.5, self._size[0] - 0.5))
        else:
            low, high = 0.0, real.new_tensor((1.0, 1.0))
        # the upper edge is the next image's pixel; NaN is nowhere
        if not bool(((real >= low) & (real < high if normalize_coords else real <= high)).all()):
            raise ValueError(
                f"a point lies outside the image of {self._size[1]} x {self._size[0]} pixels"
            )

    def _checked_mask(self, mask: Tensor | None, rows: int) -> Tensor | None:
        if mask is None:
            return None
        side = self.model.config.low_res_size
        if tuple(mask.shape) != (rows, 1, side, side):
            raise ValueError(
                f"mask_input must be ({rows}, 1, {side}, {side}) low-res logits of an earlier "
                f"call, not {tuple(mask.shape)}"
            )
        return mask
