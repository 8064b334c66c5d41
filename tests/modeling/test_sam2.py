"""The network on its own: shapes, independence of rows, drawn prompts, absent objects."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sam2_backbone.build import build_from_config, build_sam2
from sam2_backbone.modeling.position import rotary_table, rotate
from sam2_backbone.modeling.sam2 import SAM2, Prompts, RecalledMemory
from sam2_backbone.variants import TEST_CONFIG, VARIANTS, list_variants


@pytest.fixture(scope="module")
def model() -> SAM2:
    torch.manual_seed(0)
    return build_from_config(TEST_CONFIG).eval()


def _points(*points: tuple[float, float], label: int = 1) -> Prompts:
    return Prompts(
        torch.tensor([[p] for p in points]), torch.full((len(points), 1), label, dtype=torch.int32)
    )


@torch.inference_mode()
def test_shapes_follow_the_configuration(model: SAM2) -> None:
    features = model.encode_image(torch.randn(2, 3, 64, 64))
    assert features.embedding.shape == (2, 32, 4, 4)
    assert [tuple(x.shape) for x in features.high_res] == [(2, 4, 16, 16), (2, 8, 8, 8)]
    rows = model.without_memory(features).select([0, 1, 1])
    prediction = model.predict_masks(rows, _points((1, 2), (3, 4), (5, 6)), multimask_output=True)
    assert prediction.low_res_masks.shape == (3, 3, 16, 16)
    assert prediction.best.low_res_masks.shape == (3, 1, 16, 16)
    memory = model.encode_memory(
        features.select([0, 1, 1]),
        prediction.best.low_res_masks,
        prediction.object_score_logits,
        prompted=True,
    )
    assert memory.shape == (3, 16, 4, 4)


@torch.inference_mode()
def test_rows_do_not_influence_each_other(model: SAM2) -> None:
    features = model.without_memory(model.encode_image(torch.randn(1, 3, 64, 64)))
    together = model.predict_masks(
        features.select([0, 0]), _points((10, 20), (50, 40)), multimask_output=True
    )
    alone = model.predict_masks(features, _points((50, 40)), multimask_output=True)
    torch.testing.assert_close(
        together.low_res_masks[1], alone.low_res_masks[0], atol=1e-5, rtol=1e-5
    )


@torch.inference_mode()
@pytest.mark.parametrize("num_pointers", [0, 1, 3])
def test_memory_moves_the_embedding(model: SAM2, num_pointers: int) -> None:
    features = model.encode_image(torch.randn(1, 3, 64, 64))
    memory = RecalledMemory(
        features=torch.randn(1, 2, 16, 4, 4),
        temporal_rows=(6, 0),
        pointers=torch.randn(1, num_pointers, 32),
        pointer_distances=tuple(float(i) for i in range(num_pointers)),
    )
    first = model.attend_memory(features, memory).embedding
    other = model.attend_memory(features, replace(memory, temporal_rows=(6, 5))).embedding
    assert first.shape == features.embedding.shape
    assert not torch.allclose(first, other)


@torch.inference_mode()
def test_a_click_is_drawn_where_it_is(model: SAM2) -> None:
    encoder = model.prompt_encoder
    drawing = encoder._draw(
        torch.tensor([[[39.5, 15.5]]]), torch.tensor([[1]], dtype=torch.int32), None
    )
    row, column = divmod(int(drawing[0, 1].argmax()), 16)
    assert (row, column) == (3, 9) or (row, column) == (4, 10)  # 16 / 4 and 40 / 4, on an edge
    negative = encoder._draw(
        torch.tensor([[[39.5, 15.5]]]), torch.tensor([[0]], dtype=torch.int32), None
    )
    torch.testing.assert_close(negative[0, 1], -drawing[0, 1])


@torch.inference_mode()
def test_a_box_is_drawn_filled(model: SAM2) -> None:
    coords = torch.tensor([[[8.0, 16.0], [40.0, 48.0], [0.0, 0.0]]])
    labels = torch.tensor([[2, 3, -1]], dtype=torch.int32)
    box = model.prompt_encoder._draw(coords, labels, None)[0, 2]
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[4:12, 2:10] = True
    assert torch.equal(box > 0, inside)


@torch.inference_mode()
def test_an_adopted_mask_comes_back_and_an_empty_one_is_absent(model: SAM2) -> None:
    features = model.encode_image(torch.randn(1, 3, 64, 64)).select([0, 0])
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, 0, 8:24, 16:48] = 1
    prediction = model.adopt_mask(features, masks)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[2:6, 4:12] = True
    assert torch.equal(prediction.low_res_masks[0, 0] > 0, expected)
    assert prediction.object_score_logits[:, 0].tolist() == [10.0, -10.0]
    torch.testing.assert_close(prediction.obj_ptr[1], model.no_object_pointer)


def test_rotation_keeps_lengths_and_depends_on_differences() -> None:
    table = rotary_table(4, 4, 8, 10_000.0, torch.device("cpu"))
    x = torch.randn(1, 1, 16, 8)
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))
    same = torch.ones(1, 1, 16, 8)
    products = rotate(same, table)[0, 0] @ rotate(same, table)[0, 0].T
    torch.testing.assert_close(products[0, 1], products[5, 6])  # one column to the right, both


def test_gradients_reach_every_part(model: SAM2) -> None:
    network = build_from_config(TEST_CONFIG).train()
    for block in network.image_encoder.neck.blocks.values():  # they start as zero
        torch.nn.init.normal_(block.pointwise2.weight, std=0.01)
    features = network.encode_image(torch.randn(2, 3, 64, 64))
    first = network.predict_masks(
        network.without_memory(features), _points((10, 20), (50, 40)), multimask_output=True
    )
    memory = network.encode_memory(
        features, first.best.low_res_masks, first.object_score_logits, prompted=False
    )
    recalled = RecalledMemory(memory[:, None], (0,), first.obj_ptr[:, None], (1.0,))
    second = network.predict_masks(
        network.attend_memory(features, recalled), Prompts(), multimask_output=True
    )
    loss = second.low_res_masks.sum() + second.iou_predictions.sum()
    (loss + second.object_score_logits.sum()).backward()
    untouched = {
        name
        for name, p in network.named_parameters()
        # a bias before a normalisation over few pixels may have a gradient of exactly zero
        if p.grad is None or not (p.grad.any() or name.startswith("image_encoder.trunk"))
    }
    # parts of other paths: absent objects, mask prompts, the single mask, unused point types
    allowed = ("no_object", "mask_to_prompt", "prompt_encoder", "mask_decoder.mask_heads.0")
    assert {name for name in untouched if not name.startswith(allowed)} == set()


def test_nine_variants_are_listed_and_an_unknown_one_is_refused() -> None:
    assert len(list_variants()) == 9
    assert list_variants()[0] == "micro"
    assert {VARIANTS[name].config.input_size for name in list_variants()[1:]} == {1024}
    with pytest.raises(ValueError, match="unknown variant 'sam3'; choose one of micro"):
        build_sam2("sam3")
    with pytest.raises(ValueError, match="multiple of 32"):
        build_sam2("micro", None, input_size=100)
