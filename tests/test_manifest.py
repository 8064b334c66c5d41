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
    used |= {item.command for items in (contributions.menus or {}).values() for item in items}
    assert used <= declared
    # The promises of the menu: 2-D, time-lapse and 3-D samples, and the main widget.
    assert len(contributions.sample_data or ()) >= 3
    assert "SAM 2 annotate" in {widget.display_name for widget in contributions.widgets or ()}


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
