"""How a session's values are spelled: JSON for what a person can read, arrays for masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from napari_sam2.session.history import (
    Action,
    ChangeSettings,
    Group,
    Propagate,
    SetLocks,
    SetPrompts,
)
from napari_sam2.session.intensities import decode_channels
from napari_sam2.session.masks import StoredMask
from napari_sam2.session.model_hub import Environment
from napari_sam2.session.objects import Document, ObjectState
from napari_sam2.session.prompts import FramePrompts
from napari_sam2.session.settings import SessionSettings
from sam2_backbone.inference.packed_mask import PackedMask

Json = dict[str, Any]

_ACTIONS = {kind.__name__: kind for kind in get_args(Action)}


@dataclass(frozen=True)
class Contents:
    """Everything of a session but its image."""

    settings: SessionSettings
    environment: Environment | None
    weights_sha256: str | None
    document: Document
    log: tuple[Action, ...]
    next_obj_id: int


class PromptMasks:
    """Masks that a person gave, each kept once and named by its number."""

    def __init__(self, masks: Sequence[PackedMask] = ()) -> None:
        self.masks = list(masks)
        self._numbers = {id(mask): number for number, mask in enumerate(self.masks)}

    def number(self, mask: PackedMask) -> int:
        """Return the number of a mask, adding it if it is new."""
        if id(mask) not in self._numbers:
            self._numbers[id(mask)] = len(self.masks)
            self.masks.append(mask)
        return self._numbers[id(mask)]


def encode(contents: Contents) -> tuple[Json, dict[str, npt.NDArray[Any]]]:
    """Return the JSON part and the arrays of a session."""
    prompt_masks = PromptMasks()
    objects = contents.document.objects.values()
    tree: Json = {
        "settings": asdict(contents.settings),
        "environment": None if contents.environment is None else asdict(contents.environment),
        "weights_sha256": contents.weights_sha256,
        "next_obj_id": contents.next_obj_id,
        "objects": [
            {
                "obj_id": state.obj_id,
                "name": state.name,
                "locked": sorted(state.locked),
                "accepted": state.accepted,
                "hidden": state.hidden,
                "outdated": sorted(state.outdated),
                "prompts": [
                    {"frame_idx": frame_idx, **_encode_prompts(prompts, prompt_masks)}
                    for frame_idx, prompts in state.prompts.items()
                ],
            }
            for state in objects
        ],
        "actions": [_encode_action(action, prompt_masks) for action in contents.log],
    }
    return tree, {**_pack_masks(contents.document), **_pack_prompt_masks(prompt_masks.masks)}


def decode(tree: Json, arrays: Mapping[str, npt.NDArray[Any]]) -> Contents:
    """Return the session of a JSON part and its arrays; KeyError, TypeError, ValueError."""
    prompt_masks = _unpack_prompt_masks(arrays)
    masks = _unpack_masks(arrays)
    objects = {
        int(row["obj_id"]): ObjectState(
            obj_id=int(row["obj_id"]),
            name=str(row["name"]),
            prompts={
                int(prompts["frame_idx"]): _decode_prompts(prompts, prompt_masks)
                for prompts in row["prompts"]
            },
            masks=masks.get(int(row["obj_id"]), {}),
            locked=frozenset(int(frame_idx) for frame_idx in row["locked"]),
            outdated=frozenset(int(frame_idx) for frame_idx in row["outdated"]),
            accepted=bool(row.get("accepted", False)),
            hidden=bool(row.get("hidden", False)),
        )
        for row in tree["objects"]
    }
    environment = tree["environment"]
    return Contents(
        settings=_decode_settings(tree["settings"]),
        environment=None if environment is None else Environment(**environment),
        weights_sha256=tree["weights_sha256"],
        document=Document(objects),
        log=tuple(_decode_action(action, prompt_masks) for action in tree["actions"]),
        next_obj_id=int(tree["next_obj_id"]),
    )


def num_channels_in(contents: Contents) -> int:
    """Return how many channels an image must have for what was done."""
    logged = [action.settings for action in contents.log if isinstance(action, ChangeSettings)]
    used = [channel.index for s in (contents.settings, *logged) for channel in s.channels]
    return 1 + max(used, default=0)


def _encode_prompts(prompts: FramePrompts, prompt_masks: PromptMasks) -> Json:
    return {
        "points": prompts.points.tolist(),
        "point_labels": prompts.point_labels.tolist(),
        "box": None if prompts.box is None else prompts.box.tolist(),
        "mask": None if prompts.mask is None else prompt_masks.number(prompts.mask),
        "candidate": prompts.candidate,
    }


def _decode_prompts(row: Json, masks: Sequence[PackedMask]) -> FramePrompts:
    return FramePrompts(
        points=np.array(row["points"], np.float64).reshape(-1, 2),
        point_labels=np.array(row["point_labels"], np.int64),
        box=None if row["box"] is None else np.array(row["box"], np.float64),
        mask=None if row["mask"] is None else masks[int(row["mask"])],
        candidate=int(row.get("candidate", 0)),
    )


def _encode_action(action: Action, prompt_masks: PromptMasks) -> Json:
    row: Json = {"action": type(action).__name__}
    for field in fields(action):
        value = getattr(action, field.name)
        if isinstance(value, FramePrompts):
            value = _encode_prompts(value, prompt_masks)
        elif isinstance(value, SessionSettings):
            value = asdict(value)
        elif isinstance(action, Group) and field.name == "actions":
            value = [_encode_action(inner, prompt_masks) for inner in action.actions]
        row[field.name] = value
    return row


def _decode_action(row: Json, prompt_masks: Sequence[PackedMask]) -> Action:
    values = dict(row)
    kind = _ACTIONS[values.pop("action")]
    if kind is SetPrompts:
        values["prompts"] = _decode_prompts(values["prompts"], prompt_masks)
    elif kind is ChangeSettings:
        values["settings"] = _decode_settings(values["settings"])
    elif kind is Group:
        values["actions"] = tuple(
            _decode_action(inner, prompt_masks) for inner in values["actions"]
        )
    elif kind is SetLocks:
        values["frames"] = tuple(values["frames"])
    elif kind is Propagate:
        for name in ("obj_ids", "frames"):
            values[name] = None if values[name] is None else tuple(values[name])
    action: Action = kind(**values)
    return action


def _decode_settings(row: Json) -> SessionSettings:
    value_range = row["value_range"]
    return SessionSettings(
        **{
            **row,
            "value_range": None if value_range is None else tuple(value_range),
            "channels": decode_channels(row.get("channels", ())),
        }
    )


def _pack_masks(document: Document) -> dict[str, npt.NDArray[Any]]:
    rows = [
        (state.obj_id, frame_idx, mask)
        for state in document.objects.values()
        for frame_idx, mask in state.masks.items()
    ]
    return {
        "mask_places": np.array(
            [(obj_id, frame, m.top, m.left, *m.logits.shape) for obj_id, frame, m in rows], np.int64
        ).reshape(-1, 6),
        "mask_scores": np.array([(m.object_score, m.iou) for _, _, m in rows]).reshape(-1, 2),
        "mask_logits": np.concatenate(
            [np.zeros(0, np.int8), *(m.logits.ravel() for _, _, m in rows)]
        ),
    }


def _unpack_masks(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[int, dict[int, StoredMask]]:
    masks: dict[int, dict[int, StoredMask]] = {}
    logits, start = arrays["mask_logits"], 0
    for place, scores in zip(
        arrays["mask_places"].tolist(), arrays["mask_scores"].tolist(), strict=True
    ):
        obj_id, frame_idx, top, left, rows, columns = place
        crop = logits[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        masks.setdefault(obj_id, {})[frame_idx] = StoredMask(top, left, crop, *scores)
    return masks


def _pack_prompt_masks(masks: Sequence[PackedMask]) -> dict[str, npt.NDArray[Any]]:
    return {
        "prompt_places": np.array(
            [(*mask.shape, mask.top, mask.left, *mask.box_shape) for mask in masks], np.int64
        ).reshape(-1, 6),
        "prompt_bits": np.concatenate([np.zeros(0, np.uint8), *(mask.bits for mask in masks)]),
    }


def _unpack_prompt_masks(arrays: Mapping[str, npt.NDArray[Any]]) -> list[PackedMask]:
    is_cut = "prompt_places" in arrays
    if is_cut:
        places = arrays["prompt_places"].tolist()
    else:  # files of format 1 hold the bits of whole frames
        places = [(*shape, 0, 0, *shape) for shape in arrays["prompt_shapes"].tolist()]
    masks, start = [], 0
    for height, width, top, left, rows, columns in places:
        stop = start + -(-rows * columns // 8)
        bits = arrays["prompt_bits"][start:stop].copy()
        mask = PackedMask((height, width), top, left, (rows, columns), bits)
        masks.append(mask if is_cut else PackedMask.pack(mask.to_array()))
        start = stop
    return masks
