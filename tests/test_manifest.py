"""What napari reads of the plugin: the manifest is valid and every name in it exists."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

import pytest
from npe2 import PluginManifest


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-sam2")


def test_npe2_validate() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "napari-sam2", "--imports"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_python_name_resolves(manifest: PluginManifest) -> None:
    assert manifest.contributions.commands
    for command in manifest.contributions.commands:
        assert command.id.startswith("napari-sam2.")
        module, _, name = command.python_name.partition(":")
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found), command.python_name


def test_every_command_referred_to_is_declared(manifest: PluginManifest) -> None:
    declared = {command.id for command in manifest.contributions.commands}
    contributions = manifest.contributions
    used = {widget.command for widget in contributions.widgets or ()}
    used |= {sample.command for sample in contributions.sample_data or ()}
    used |= {reader.command for reader in contributions.readers or ()}
    used |= {writer.command for writer in contributions.writers or ()}
    items = [item for entries in (contributions.menus or {}).values() for item in entries]
    used |= {item.command for item in items if hasattr(item, "command")}
    assert used <= declared
    # The promises of the menu: 2-D, time-lapse and 3-D samples, and the main widget.
    assert len(contributions.sample_data or ()) >= 3
    named = {widget.display_name for widget in contributions.widgets or ()}
    assert named == {"SAM 2 annotate", "SAM 2 everything", "SAM 2 train"}


def test_menus_and_palette_know_every_command_and_key(manifest: PluginManifest) -> None:
    from napari_sam2.layers.keymap import KeyAction
    from napari_sam2.widgets.command_table import Command

    declared = {command.id for command in manifest.contributions.commands}
    wanted = {f"napari-sam2.{command.value}" for command in Command}
    assert wanted <= declared
    menus = manifest.contributions.menus
    assert {item.command for item in menus["napari-sam2/annotate"]} == wanted
    (submenu,) = manifest.contributions.submenus
    for name in ("napari/layers/segment", "napari/layers/track"):
        assert submenu.id in {getattr(item, "submenu", None) for item in menus[name]}
    # a key that is held down is the only one without a command
    keys = {action.value for action in KeyAction}
    assert keys - {command.value for command in Command} == {"preview"}


def test_every_promised_format_is_read_and_written(manifest: PluginManifest) -> None:
    from napari_sam2.session.exchange import FORMATS
    from sam2_backbone.data_engine.sav_folders import VIDEO_SUFFIXES

    contributions = manifest.contributions
    readers = {reader.command.partition(".")[2]: reader for reader in contributions.readers}
    assert set(readers) == {"read_session", "read_sav", "read_coco", "read_video", "read_folder"}
    patterns = {f"*{suffix}" for suffix in VIDEO_SUFFIXES}
    assert set(readers["read_video"].filename_patterns) == patterns
    # one entry for all kinds of folders, of which napari asks for every one
    assert [name for name, row in readers.items() if row.accepts_directories] == ["read_folder"]
    assert not readers["read_folder"].filename_patterns
    writers = {writer.command.partition(".")[2]: writer for writer in contributions.writers}
    wanted = {f"write_{name.replace('-', '_')}": row for name, row in FORMATS.items()}
    assert set(writers) == {"write_session", *wanted}
    for name, chosen in wanted.items():
        assert writers[name].layer_types == ["labels"]
        suffixes = writers[name].filename_extensions
        # a labels layer saved as .tif stays napari's
        assert suffixes == ([chosen.suffix] if chosen.suffix else [])
    # a .json without a word is a session, for napari takes the first that fits
    assert next(iter(writers)) == "write_session"


def test_console_script() -> None:
    (script,) = entry_points(group="console_scripts", name="napari-sam2")
    assert callable(script.load())


@pytest.mark.parametrize("package", ["sam2_backbone", "napari_sam2"])
def test_types_are_shipped(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


def test_samples_are_shipped_with_their_notice() -> None:
    samples = files("napari_sam2") / "samples"
    names = {entry.name for entry in samples.iterdir()}
    images = {name for name in names if name.endswith(".tif")}
    assert len(images) == 5
    notice = (samples / "README.md").read_text(encoding="utf-8")
    assert all(name in notice for name in images)


def test_embedded_weights_are_shipped() -> None:
    weights = files("sam2_backbone") / "weights" / "micro.safetensors"
    assert weights.is_file()
    assert len(weights.read_bytes()) <= 16 * 2**20
