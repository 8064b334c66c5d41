"""Where models come from: loaded when first asked for, kept by choice, shared with the hub."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.session.predictor import Predictor

if TYPE_CHECKING:
    from napari_sam2.session.settings import SessionSettings
    from sam2_backbone.modeling.sam2 import SAM2


@dataclass(frozen=True)
class ModelChoice:
    """Which network with which weights, on which device, in which precision."""

    variant: str | None
    weights: str
    device: str
    dtype: str
    written_at: float = 0.0
    """When the file of weights was written, where it is a person's own: it may be replaced."""


@dataclass(frozen=True)
class Environment:
    """Where and in what precision answers are computed, so that a replay can repeat them."""

    device: str
    dtype: str
    num_threads: int


class ModelHub:
    """
    Models by choice.

    One hub may serve several sessions, which then share weights in memory. Loading imports torch.

    Parameters
    ----------
    importing
        Entered, in the thread that loads a model, around the import of torch.
    """

    def __init__(self, importing: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._importing = importing
        self._lock = threading.Lock()
        self._models: dict[ModelChoice, SAM2] = {}

    def model(self, choice: ModelChoice) -> SAM2:
        """Return the model, loading it if it is not here yet."""
        with self._lock:
            with self._importing():
                from sam2_backbone import VideoPredictor, build_sam2  # noqa: F401 (all at once)
            if choice not in self._models:
                self._models[choice] = build_sam2(
                    choice.variant, choice.weights, device=choice.device, dtype=choice.dtype
                )
            return self._models[choice]

    def prepare(self, settings: SessionSettings) -> None:
        """Load the model of `settings`, unless its weights would have to be downloaded first."""
        if weights_are_here(settings):
            self.model(choice_of(settings))

    def predictor(self, settings: SessionSettings) -> Predictor:
        """Return a new video predictor on the model of `settings`."""
        from sam2_backbone import VideoPredictor

        predictor: Predictor = VideoPredictor(
            self.model(choice_of(settings)), memory_budget=settings.memory_mib * 2**20
        )
        return predictor

    def environment(self, settings: SessionSettings) -> Environment | None:
        """Return where the model of `settings` computes, or ``None`` while it is not loaded."""
        model = self._models.get(choice_of(settings))
        if model is None:
            return None
        import torch

        parameter = next(model.parameters())
        return Environment(
            device=parameter.device.type,
            dtype=str(parameter.dtype).removeprefix("torch."),
            num_threads=torch.get_num_threads(),
        )


def choice_of(settings: SessionSettings) -> ModelChoice:
    """Return the part of `settings` that decides which model is loaded."""
    written_at = 0.0
    if settings.weights != "default":
        with suppress(OSError):
            written_at = Path(settings.weights).stat().st_mtime
    return ModelChoice(
        settings.variant, settings.weights, settings.device, settings.dtype, written_at
    )


def weights_are_here(settings: SessionSettings) -> bool:
    """Whether the weights of `settings` are on this machine."""
    from sam2_backbone.download import cache_folder
    from sam2_backbone.variants import VARIANTS, PublishedWeights

    if settings.weights != "default":
        return Path(settings.weights).is_file()
    weights = VARIANTS[settings.variant].weights if settings.variant is not None else None
    return (
        not isinstance(weights, PublishedWeights) or (cache_folder() / weights.file_name).is_file()
    )


def weights_sha256(settings: SessionSettings) -> str | None:
    """Return the SHA-256 of the weights of `settings`, or ``None`` where they are not known."""
    from sam2_backbone.variants import VARIANTS, PublishedWeights

    if settings.weights != "default":
        return file_sha256(Path(settings.weights))
    if settings.variant is None:
        return None
    weights = VARIANTS[settings.variant].weights
    if isinstance(weights, PublishedWeights):
        return weights.sha256
    return file_sha256(Path(str(files("sam2_backbone") / "weights" / weights.file_name)))


def file_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file, or ``None`` if there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
