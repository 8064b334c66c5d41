"""Everything in an image as labels, without a prompt: for scripts and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.api import Labels, kept_models
from napari_sam2.progress import bar
from napari_sam2.session.images import open_frames
from napari_sam2.session.intensities import as_seen
from napari_sam2.session.label_files import write_labels
from napari_sam2.session.model_hub import ModelHub, choice_of
from napari_sam2.session.settings import SessionSettings

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource


def segment_everything(
    image: Any,
    *,
    variant: str | None = "micro",
    value_range: tuple[float, float] | None = None,
    weights: str | Path = "default",
    device: str = "auto",
    dtype: str = "auto",
    models: ModelHub | None = None,
) -> Labels:
    """
    Segment everything in one image.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, 3|4)``, any real dtype; or a path.
    variant, weights, device, dtype
        As `sam2_backbone.build_sam2` takes them.
    value_range
        Intensities shown to the model as black and white.
    models
        Keeps the loaded model for the next call.

    Returns
    -------
    ``(H, W)`` uint16 or uint32 labels 1…N, the surest object first; where masks overlap the higher
    logit wins. For masks with their scores see `sam2_backbone.MaskGenerator`.
    """
    settings = SessionSettings(
        variant=variant,
        value_range=value_range,
        weights=str(weights),
        device=device,
        dtype=dtype,
    )
    models = kept_models(settings) if models is None else models
    return everything_labels(image, settings, models=models)


def everything_labels(
    image: Any,
    settings: SessionSettings,
    *,
    models: ModelHub | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Labels:
    """Return the labels of everything in one image; `progress` is told of points asked, of all."""
    source = open_frames(image)
    if source.num_frames != 1:
        raise ValueError(
            f"One image is needed, got a movie of {source.num_frames} frames: give one of them."
        )
    return everything_on(source, 0, settings, models=models, progress=progress)


def everything_on(
    source: FrameSource,
    frame_idx: int,
    settings: SessionSettings,
    *,
    models: ModelHub | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Labels:
    """Return the labels (H, W) of everything on one frame, its values mapped as on all frames."""
    settings.check_variant()
    from sam2_backbone import MaskGenerator
    from sam2_backbone.inference.mask_generator import labels_of

    model = (ModelHub() if models is None else models).model(choice_of(settings))
    frames, value_range = as_seen(source, settings.channels, settings.value_range)
    found = MaskGenerator.tuned(model).find(
        frames, frame_idx=frame_idx, value_range=value_range, progress=progress
    )
    return labels_of(found, (source.height, source.width))


def everything_to(target: Path, image: Any, settings: SessionSettings) -> int:
    """Segment everything, write the labels to ``.tif`` or ``.zarr``, and return how many."""
    with bar("Searching", unit="point") as progress:
        labels = everything_labels(image, settings, progress=progress)
    write_labels(target, iter([labels]), labels.shape, labels.dtype)
    return int(labels.max(initial=0))
