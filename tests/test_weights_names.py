"""Weights files are told apart by the names in them, without torch."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from sam2_backbone.build import build_from_config, default_weights
from sam2_backbone.checkpoint import save_weights
from sam2_backbone.variants import SCRATCH_CONFIG, VARIANTS
from sam2_backbone.weights_names import published_variant, why_unsuitable


def meta_names(depth: int, *, is_21: bool) -> dict[str, torch.Tensor]:
    names = [f"image_encoder.trunk.blocks.{n}.norm1.weight" for n in range(depth)]
    names += ["no_obj_embed_spatial"] * is_21
    return {name: torch.zeros(1) for name in names}


@pytest.mark.parametrize(("depth", "size"), [(12, "tiny"), (24, "base_plus"), (48, "large")])
@pytest.mark.parametrize("is_21", [False, True])
def test_checkpoints_of_meta(tmp_path, depth, size, is_21) -> None:
    file = tmp_path / "tuned.pt"
    torch.save({"model": meta_names(depth, is_21=is_21)}, file)
    variant = f"sam2{'.1' if is_21 else ''}_hiera_{size}"
    assert why_unsuitable(file, variant) == ""
    assert why_unsuitable(file, "micro") == f"tuned.pt holds weights of {variant}, not of micro."
    assert "not of sam2_hiera_small" in why_unsuitable(file, "sam2_hiera_small")


def test_files_of_micro(tmp_path) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(default_weights("micro"), mine)
    assert why_unsuitable(mine, "micro") == ""
    assert "holds weights of micro" in why_unsuitable(mine, "sam2.1_hiera_tiny")
    save_weights(build_from_config(SCRATCH_CONFIG), mine)
    assert why_unsuitable(mine, "micro").endswith("weights of another network, not of micro.")


def test_files_that_are_none(tmp_path) -> None:
    for name in ("broken.pt", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        assert name in why_unsuitable(tmp_path / name, "micro")
    assert why_unsuitable(tmp_path / "gone.pt", "micro").startswith("There is no weights file")
    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    assert "another network" in why_unsuitable(tmp_path / "foreign.safetensors", "micro")


def test_a_published_network_is_known_by_its_blocks() -> None:
    assert published_variant(meta_names(16, is_21=True)) in VARIANTS
    assert published_variant(["image_encoder.trunk.conv_stem.weight"]) is None
