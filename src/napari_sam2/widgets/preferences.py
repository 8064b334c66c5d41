"""Room: what a person has set for this plugin in napari's preferences."""

from __future__ import annotations

import os
from dataclasses import dataclass

from napari.settings import get_plugin_settings

_CACHE_VARIABLE = "NAPARI_SAM2_CACHE"


@dataclass(frozen=True)
class Preferences:
    """Choices that a new annotation starts with.

    Attributes
    ----------
    variant
        Name of the network.
    device
        As `sam2_backbone.build_sam2` takes it.
    cache_folder
        Where downloaded models are kept; empty is the usual place.
    """

    variant: str = "micro"
    device: str = "auto"
    cache_folder: str = ""


def read_preferences() -> Preferences:
    """Read the preferences; the defaults where napari does not know the plugin's manifest."""
    try:
        model = get_plugin_settings("napari-sam2").model
    except (KeyError, ValueError, AttributeError):
        return Preferences()
    return Preferences(str(model.variant), str(model.device), str(model.cache_folder))


def use_cache_folder(preferences: Preferences) -> None:
    """Have downloads kept where the person wants them; the environment goes first."""
    if preferences.cache_folder and _CACHE_VARIABLE not in os.environ:
        os.environ[_CACHE_VARIABLE] = preferences.cache_folder
