"""What a person has set for this plugin in napari's preferences."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from napari.settings import get_plugin_settings, get_settings

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.keymap import DEFAULT_KEYS, KeyAction, KeyTable, checked_key
from napari_sam2.session.settings import Window
from sam2_backbone.weights_names import why_unsuitable

_PLUGIN = "napari-sam2"
# a manifest has one default for all systems, where macOS has a key of its own
_IN_MANIFEST = {KeyAction.UNDO: "Control-Z", KeyAction.REDO: "Control-Shift-Z"}
_CACHE_VARIABLE = "NAPARI_SAM2_CACHE"
# napari takes settings from these, too
_VARIABLES = ("NAPARI_MODEL_", "NAPARI_WORK_", "NAPARI_KEYS_")


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
    weights
        ``"default"`` or a file of weights for the network.
    window
        ``"auto"``, or None for the whole frame.
    memory_mib
        MiB that features and objects computed together may take.
    autosave_s
        How often work is saved by itself.
    hover_ms
        How long the pointer rests before a preview.
    live
        Whether objects are followed as soon as a prompt was answered.
    """

    variant: str = "micro"
    device: str = "auto"
    cache_folder: str = ""
    weights: str = "default"
    window: Window = "auto"
    memory_mib: int = 1024
    autosave_s: float = 0.4
    hover_ms: int = 120
    live: bool = False

    def weights_for(self, variant: str) -> str:
        """Name the weights that a person prefers, which belong to one network."""
        return self.weights if variant == self.variant else "default"


def _may_be_set() -> bool:
    """Whether something may be other than its default.

    Before its first answer `get_plugin_settings` reads the manifests of all plugins, which takes
    as long as everything else that opens the panel. It keeps each plugin's settings in a file of
    the plugin's name beside napari's own, and writes one only when something is changed.
    """
    own = get_settings().config_path
    if not isinstance(own, Path) or (own.parent / f"{_PLUGIN}.yaml").exists():
        return True
    return any(name.upper().startswith(_VARIABLES) for name in os.environ)


def read_preferences() -> Preferences:
    """Read the preferences; the defaults where napari does not know the plugin's manifest."""
    if not _may_be_set():
        return Preferences()
    try:
        settings = get_plugin_settings(_PLUGIN)
        model, work = settings.model, settings.work
    except (KeyError, ValueError, AttributeError):
        return Preferences()
    return Preferences(
        variant=str(model.variant),
        device=str(model.device),
        cache_folder=str(model.cache_folder),
        weights=str(model.weights).strip() or "default",
        window=None if model.view == "whole frame" else "auto",
        memory_mib=int(model.memory_budget),
        autosave_s=float(work.autosave_interval),
        hover_ms=int(work.hover_delay),
        live=bool(work.live),
    )


def suitable(preferences: Preferences) -> tuple[Preferences, str]:
    """Return preferences with the network's own weights where a person's are not for it, and why.

    The sentence is empty where nothing is changed.
    """
    if preferences.weights == "default":
        return preferences, ""
    reason = why_unsuitable(preferences.weights, preferences.variant)
    if not reason:
        return preferences, ""
    advice = f"{preferences.variant} answers with its own: see Weights in the preferences of SAM 2."
    return replace(preferences, weights="default"), f"{reason} {advice}"


def prefer_weights(variant: str, weights: Path) -> None:
    """Keep a file of weights for the next time, as far as napari knows the plugin's manifest."""
    with suppress(KeyError, ValueError, AttributeError):
        model = get_plugin_settings(_PLUGIN).model
        model.variant, model.weights = variant, str(weights)


def use_cache_folder(preferences: Preferences) -> None:
    """Have downloads kept where the person wants them; the environment goes first."""
    if preferences.cache_folder and _CACHE_VARIABLE not in os.environ:
        os.environ[_CACHE_VARIABLE] = preferences.cache_folder


def read_keys() -> dict[KeyAction, str]:
    """Read the keys; the default for one that is not set, is no key, or is taken twice."""
    keys = dict(DEFAULT_KEYS)
    if not _may_be_set():
        return keys
    try:
        chosen = get_plugin_settings(_PLUGIN).keys
    except (KeyError, ValueError, AttributeError):
        return keys
    for action in KeyAction:
        with suppress(LayerRefusedError, AttributeError):
            key = str(getattr(chosen, action.value))
            if key != _IN_MANIFEST.get(action):
                keys[action] = checked_key(key, action, keys)
    return keys


def write_keys(keys: KeyTable) -> None:
    """Keep the keys for the next time, as far as napari knows the plugin's manifest."""
    with suppress(KeyError, ValueError, AttributeError):
        chosen = get_plugin_settings(_PLUGIN).keys
        for action, key in keys.items():
            setattr(chosen, action.value, key)
