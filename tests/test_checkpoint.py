"""Weights files: strict, safe, and recognised from their tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam2_backbone.build import build_from_config, build_sam2, default_weights
from sam2_backbone.checkpoint import (
    load_weights,
    read_weights,
    recognise_config,
    rename_key,
    save_weights,
)
from sam2_backbone.errors import CheckpointError
from sam2_backbone.variants import MICRO_CONFIG, SCRATCH_CONFIG, TEST_CONFIG


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "test.safetensors"
    save_weights(build_from_config(TEST_CONFIG), path, dtype=torch.float32)
    return path


def test_our_file_opens_without_naming_the_variant(saved: Path) -> None:
    stored = read_weights(saved)
    model = build_from_config(TEST_CONFIG)
    load_weights(model, stored)
    for name, tensor in stored.tensors.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    built = build_sam2(None, saved, device="cpu", dtype="float32")
    assert built.config == TEST_CONFIG
    for name, tensor in stored.tensors.items():
        folded = ("image_encoder.trunk.", "image_encoder.neck.blocks.")
        if not name.startswith(folded):
            assert torch.equal(built.state_dict()[name], tensor), name


def test_missing_left_over_and_misshapen_keys_are_named(saved: Path) -> None:
    stored = read_weights(saved)
    tensors = dict(stored.tensors)
    del tensors["no_object_pointer"]
    tensors["something.else"] = torch.zeros(1)
    tensors["temporal_encoding"] = torch.zeros(3, 3)
    model = build_from_config(TEST_CONFIG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, type(stored)(saved, tensors, None))
    message = str(error.value)
    assert str(saved) in message
    assert "missing: no_object_pointer" in message
    assert "left over: something.else" in message
    assert "temporal_encoding (3, 3) instead of (7, 16)" in message
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1 + 1",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"model": {"a": torch.zeros(1)}, "code": _Code()}, path)
    with pytest.raises(CheckpointError, match="can be loaded safely"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_and_foreign_files(tmp_path: Path, saved: Path, suffix: str) -> None:
    whole = saved
    if suffix == ".pt":
        whole = tmp_path / "whole.pt"
        torch.save({"model": {"a": torch.zeros(1000)}}, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cut"):
        read_weights(cut)
    for content in (
        b"",
        b"hello",
        b"step 0: loss 1.2\n",
        b"Results",
        b"bytes",
        bytes(range(256)) * 10,
    ):
        foreign = tmp_path / f"foreign{suffix}"
        foreign.write_bytes(content)
        with pytest.raises(CheckpointError, match="foreign"):
            read_weights(foreign)


def test_a_network_of_a_known_kind_is_used_as_that_kind_is_now(tmp_path: Path) -> None:
    embedded = default_weights("micro")
    assert recognise_config(read_weights(embedded)) == MICRO_CONFIG
    path = tmp_path / "old.safetensors"
    old = replace(SCRATCH_CONFIG, fill_boxes=False, carried_shape_weight=0.0, max_clicks=3)
    save_weights(build_from_config(old), path)
    assert recognise_config(read_weights(path)) == SCRATCH_CONFIG
    other = replace(TEST_CONFIG, max_clicks=3)  # a kind that is not known keeps what it says
    save_weights(build_from_config(other), path)
    assert recognise_config(read_weights(path)) == other


def test_other_tables_of_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weights": {}}, path)
    with pytest.raises(CheckpointError, match="no table of tensors under 'model'"):
        read_weights(path)
    torch.save({"model": {"a.b": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="no SAM 2 network that is known here"):
        recognise_config(read_weights(path))
    with pytest.raises(CheckpointError, match=r"missing: .* and .* more; left over: a\.b"):
        build_sam2("micro", path, device="cpu")
    with pytest.raises(CheckpointError, match="there is no weights file"):
        build_sam2("micro", tmp_path / "nowhere.pt", device="cpu")


def test_keys_of_meta_are_renamed_once() -> None:
    assert rename_key("maskmem_tpos_enc") == "temporal_encoding"
    assert rename_key(
        "sam_mask_decoder.transformer.layers.1.cross_attn_image_to_token.q_proj.weight"
    ) == ("mask_decoder.blocks.1.image_to_token.q_proj.weight")
    assert rename_key("image_encoder.neck.convs.0.conv.bias") == "image_encoder.neck.lateral.3.bias"
    assert rename_key("unknown.key") == "unknown.key"
