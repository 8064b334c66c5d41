"""The choices that decide the model's answers beside the prompts: model, device, window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_sam2.session.intensities import Channel, checked_channels

Window = int | Literal["auto"] | None
LEAST_MEMORY_MIB = 64


@dataclass(frozen=True)
class SessionSettings:
    """
    Settings of one session.

    Attributes
    ----------
    variant
        Name of the network, or ``None`` to recognise it from the tensors of `weights`.
    weights
        ``"default"`` or the path of a checkpoint.
    device, dtype
        As `sam2_backbone.build_sam2` takes them; ``"auto"`` chooses.
    value_range
        The intensities shown to the model as black and white; ``None`` lets the backbone choose.
    channels
        Up to three channels and how each is shown, instead of `value_range`; empty takes that.
    window
        Side of the square the model looks through, in pixels; ``"auto"`` or ``None`` for the frame.
    memory_mib
        MiB, about, that features and objects computed together may take beside the weights.
    """

    variant: str | None = "micro"
    weights: str = "default"
    device: str = "auto"
    dtype: str = "auto"
    value_range: tuple[float, float] | None = None
    window: Window = "auto"
    channels: tuple[Channel, ...] = ()
    memory_mib: int = 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_range", _checked_range(self.value_range))
        object.__setattr__(self, "channels", checked_channels(self.channels))
        if isinstance(self.window, bool) or not (
            self.window is None or self.window == "auto" or isinstance(self.window, int)
        ):
            raise TypeError(f"window must be 'auto', None or a whole number, got {self.window!r}.")
        if isinstance(self.window, int) and self.window < 1:
            raise ValueError(f"window must be at least one pixel wide, got {self.window}.")
        if not isinstance(self.memory_mib, int) or self.memory_mib < LEAST_MEMORY_MIB:
            raise ValueError(
                f"memory_mib must be a whole number from {LEAST_MEMORY_MIB} on, "
                f"got {self.memory_mib!r}."
            )
        if self.variant is None and self.weights == "default":
            raise ValueError("variant=None needs weights= with a checkpoint to recognise.")

    def check_variant(self) -> None:
        """Raise ``ValueError`` if the backbone has no network of this name."""
        from sam2_backbone.variants import list_variants

        if self.variant is not None and self.variant not in list_variants():
            raise ValueError(
                f"There is no variant {self.variant!r}; there are: {', '.join(list_variants())}."
            )


def _checked_range(value_range: tuple[float, float] | None) -> tuple[float, float] | None:
    if value_range is None:
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"value_range must be two numbers (low, high), got {value_range!r}."
        ) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range must be finite with low < high, got ({low}, {high}).")
    return low, high
