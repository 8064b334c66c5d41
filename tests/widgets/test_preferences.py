"""What is kept between two starts of napari: keys, network, window, and how work is done."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_sam2.layers.keymap import DEFAULT_KEYS, KeyAction
from napari_sam2.widgets import preferences
from napari_sam2.widgets.preferences import (
    Preferences,
    read_keys,
    read_preferences,
    write_keys,
)
from sam2_backbone.variants import list_variants


@pytest.fixture
def registered(kept_settings, npe2pm) -> None:
    npe2pm.register(PluginManifest.from_distribution("napari-sam2"))


def test_keys_are_kept(registered) -> None:
    assert read_keys() == DEFAULT_KEYS
    write_keys({**DEFAULT_KEYS, KeyAction.PROPAGATE: "P"})
    assert read_keys()[KeyAction.PROPAGATE] == "P"
    settings = get_plugin_settings("napari-sam2")
    assert "propagate: P" in settings.config_path.read_text()


def test_keys_that_cannot_be_are_the_default(registered) -> None:
    settings = get_plugin_settings("napari-sam2").keys
    settings.propagate, settings.polarity = "Nonsense", "Q"
    keys = read_keys()
    assert keys[KeyAction.PROPAGATE] == "G"
    assert keys[KeyAction.POLARITY] == "N"


def test_a_system_with_another_control_key_keeps_it(registered, monkeypatch) -> None:
    mac = {**DEFAULT_KEYS, KeyAction.UNDO: "Meta-Z", KeyAction.REDO: "Meta-Shift-Z"}
    monkeypatch.setattr(preferences, "DEFAULT_KEYS", mac)
    assert read_keys() == mac
    write_keys({**mac, KeyAction.UNDO: "Alt-Z"})
    assert read_keys() == {**mac, KeyAction.UNDO: "Alt-Z"}


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """For which plugins napari was asked for settings, which has it read all manifests."""
    names: list[str] = []

    def ask(plugin: str):
        names.append(plugin)
        return get_plugin_settings(plugin)

    monkeypatch.setattr(preferences, "get_plugin_settings", ask)
    return names


def test_nothing_is_asked_where_nothing_was_ever_set(registered, asked) -> None:
    assert read_preferences() == Preferences()
    assert read_keys() == DEFAULT_KEYS
    assert asked == []
    get_plugin_settings("napari-sam2").work.hover_delay = 300
    assert read_preferences() == Preferences(hover_ms=300)
    assert read_keys() == DEFAULT_KEYS
    assert asked == ["napari-sam2"] * 2


def test_a_variable_of_the_environment_is_heard(registered, asked, monkeypatch) -> None:
    monkeypatch.setenv("NAPARI_WORK_LIVE", "1")
    read_preferences()
    assert asked == ["napari-sam2"]


def test_settings_that_lie_nowhere_are_asked_for(registered, asked, monkeypatch) -> None:
    class Nowhere:
        config_path = None

    monkeypatch.setattr(preferences, "get_settings", Nowhere)
    read_preferences()
    assert asked == ["napari-sam2"]


def test_without_a_manifest_all_is_default(kept_settings) -> None:
    assert read_keys() == DEFAULT_KEYS
    assert read_preferences().variant == "micro"
    write_keys(DEFAULT_KEYS)


def test_every_preference_has_a_default_that_holds_without_napari(registered) -> None:
    assert read_preferences() == Preferences()
    settings = get_plugin_settings("napari-sam2")
    settings.model.weights, settings.model.view = " mine.safetensors ", "whole frame"
    settings.model.memory_budget = 512
    settings.work.autosave_interval, settings.work.hover_delay = 5, 300
    settings.work.live = True
    assert read_preferences() == Preferences(
        weights="mine.safetensors",
        window=None,
        memory_mib=512,
        autosave_s=5.0,
        hover_ms=300,
        live=True,
    )
    with pytest.raises(ValueError, match="memory_budget"):
        settings.model.memory_budget = 63
    with pytest.raises(ValueError, match="autosave_interval"):
        settings.work.autosave_interval = 0


def test_the_preferences_offer_the_networks_there_are(registered) -> None:
    settings = get_plugin_settings("napari-sam2").model
    for variant in list_variants():
        settings.variant = variant
    with pytest.raises(ValueError, match="variant"):
        settings.variant = "nano"
