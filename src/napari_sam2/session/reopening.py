"""What is no longer as it was where a saved session is opened: network, device; in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_sam2.session.codec import Contents
from napari_sam2.session.model_hub import weights_sha256
from napari_sam2.session.settings import SessionSettings

_KEPT = "Its masks and prompts are as they were"


def settings_here(saved: Contents, here: SessionSettings, what: str) -> tuple[SessionSettings, str]:
    """
    Return the settings to go on with, and what a person should know of them.

    Parameters
    ----------
    saved
        What was read.
    here
        Settings whose network and device take the place of what there is not here.
    what
        How the saved work is called in the sentence.

    Returns
    -------
    settings, notice
        The notice is empty where everything is as it was.
    """
    settings, device_notice = saved.settings, ""
    if not is_device_here(settings.device):
        device_notice = (
            f"{_KEPT}, but {what} was made on the device {settings.device}, which is not here: "
            "the next answers come from another one, with small differences."
        )
        settings = replace(settings, device=here.device, dtype=here.dtype)
    if settings.variant is not None and not is_known(settings.variant):
        notice = (
            f"{_KEPT}, but {what} was made with the network {settings.variant}, which is not "
            f"known here: the next answers come from {here.variant}; update napari-sam2 to have "
            f"them from {settings.variant}."
        )
        return replace(settings, variant=here.variant, weights=here.weights), notice
    return settings, notice_of_other_weights(saved, what) or device_notice


def is_device_here(device: str) -> bool:
    """Whether this machine has a device; torch is imported only to look for an unusual one."""
    if device in ("auto", "cpu"):
        return True
    from sam2_backbone.device import resolve_device

    try:
        resolve_device(device)
    except ValueError:
        return False
    return True


def is_known(variant: str) -> bool:
    """Whether there is a network of this name."""
    from sam2_backbone.variants import list_variants

    return variant in list_variants()


def has_other_weights(saved: Contents) -> bool:
    """Whether the weights here are known not to be those that `saved` was made with."""
    settings, was = saved.settings, saved.weights_sha256
    if settings.variant is not None and not is_known(settings.variant):
        return False
    return was is not None and weights_sha256(settings) != was


def notice_of_other_weights(saved: Contents, what: str) -> str:
    """Say that the weights are not those that `saved` was made with; empty if they are."""
    settings = saved.settings
    if not has_other_weights(saved):
        return ""
    if settings.weights == "default":
        return (
            f"{_KEPT}, but {what} was made with other weights of {settings.variant} than those "
            "here, so new answers may differ: go on, or have all masks computed with the weights "
            "here by running napari-sam2 replay on the session file."
        )
    if not Path(settings.weights).is_file():
        return (
            f"{_KEPT}, but the weights that {what} was made with are no longer at "
            f"{settings.weights}: put them back or choose another network before the next prompt."
        )
    return (
        f"{_KEPT}, but {settings.weights} holds other weights than {what} was made with, so new "
        "answers may differ: put the earlier file back and open it again, or go on."
    )
