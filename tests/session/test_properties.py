"""Whatever is done in whatever order: it can be taken back, saved, and done again headless."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_sam2
from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.journal import JournalWriter, read_journal
from napari_sam2.session.masks import compose_labels, store_drawn, store_logits
from napari_sam2.session.prompt_files import decode_rle
from napari_sam2.session.prompts import swap_xy
from napari_sam2.session.session import Session
from sam2_backbone.inference.packed_mask import PackedMask

NUM_FRAMES, HEIGHT, WIDTH = 5, 24, 32
MOVIE = moving_discs(NUM_FRAMES, HEIGHT, WIDTH)

obj_ids = st.integers(1, 3)
frame_idxs = st.integers(0, NUM_FRAMES - 1)
ys = st.integers(0, HEIGHT - 1)
xs = st.integers(0, WIDTH - 1)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    y0, y1 = sorted(draw(st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True)))
    x0, x1 = sorted(draw(st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True)))
    return y0, x0, y1, x1


actions = st.one_of(
    st.tuples(st.just("new_object")),
    st.tuples(st.just("rename_object"), obj_ids, st.text(max_size=3)),
    st.tuples(st.just("remove_object"), obj_ids),
    st.tuples(st.just("add_point"), obj_ids, frame_idxs, st.tuples(ys, xs), st.booleans()),
    st.tuples(st.just("add_point"), obj_ids, frame_idxs, st.tuples(ys, xs), st.just(True)),
    st.tuples(st.just("add_box"), obj_ids, frame_idxs, boxes()),
    st.tuples(st.just("add_mask"), obj_ids, frame_idxs, boxes()),
    st.tuples(st.just("set_prompts"), obj_ids, frame_idxs),
    st.tuples(
        st.just("propagate"),
        st.sampled_from(["both", "forward", "backward"]),
        st.one_of(st.none(), st.lists(obj_ids, min_size=1, max_size=2)),
        st.one_of(st.none(), st.lists(frame_idxs, max_size=4)),
        st.integers(1, 20),
    ),
    st.tuples(st.just("lock"), obj_ids, frame_idxs),
    st.tuples(st.just("unlock"), obj_ids, frame_idxs),
    st.tuples(st.just("lock"), obj_ids),
    st.tuples(st.just("unlock"), obj_ids),
    st.tuples(st.just("hide"), obj_ids),
    st.tuples(st.just("show"), obj_ids),
    st.tuples(st.just("choose_candidate"), obj_ids, frame_idxs, st.integers(0, 4)),
    st.tuples(st.just("set_masks"), frame_idxs, st.dictionaries(obj_ids, boxes(), max_size=3)),
    st.tuples(st.just("add_labels"), st.dictionaries(frame_idxs, boxes(), max_size=2)),
    st.tuples(st.just("preview"), frame_idxs, st.tuples(ys, xs)),
    st.tuples(st.just("set_value_range"), st.sampled_from([None, (0, 100)])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
    st.tuples(st.just("save and load")),
)
many_actions = st.lists(actions, max_size=12).map(lambda some: [("new_object",), *some])


def new_session() -> Session:
    return Session(FakeFrames(MOVIE), predictor_factory=FakePredictor)


def box_mask(box: tuple[int, int, int, int]) -> np.ndarray:
    y0, x0, y1, x1 = box
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def act(session: Session, action: tuple[Any, ...]) -> Session:
    """Do something; a refusal must leave the session as it was."""
    name, *arguments = action
    document, log = session.document, session.log
    try:
        if name == "propagate":
            *arguments, num_steps = arguments
            steps = session.propagate(*arguments)
            for _ in zip(range(num_steps), steps, strict=False):
                pass
            steps.close()
        elif name == "add_mask":
            obj_id, frame_idx, box = arguments
            session.add_mask(obj_id, frame_idx, box_mask(box))
        elif name == "set_masks":
            frame_idx, given = arguments
            session.set_masks(frame_idx, {obj_id: box_mask(box) for obj_id, box in given.items()})
        elif name == "add_labels":
            labels = {frame_idx: 2 * box_mask(box) for frame_idx, box in arguments[0].items()}
            for _ in session.add_labels(labels):
                pass
        elif name == "save and load":
            with tempfile.TemporaryDirectory() as folder:
                session.save(Path(folder) / "session.json")
                loaded = Session.load(
                    Path(folder) / "session.json",
                    FakeFrames(MOVIE),
                    predictor_factory=FakePredictor,
                )
            assert loaded.document == session.document
            assert loaded.settings == session.settings
            return loaded
        else:
            getattr(session, name)(*arguments)
    except ValueError:
        assert session.document is document, "a refusal changed something"
        assert session.log == log
    return session


def all_labels(session: Session) -> np.ndarray:
    return np.stack([session.labels(frame_idx) for frame_idx in range(NUM_FRAMES)])


@settings(max_examples=60, deadline=None)
@given(many_actions, actions)
def test_undo_takes_back_exactly_one_step(
    before: list[tuple[Any, ...]], action: tuple[Any, ...]
) -> None:
    session = new_session()
    for earlier in before:
        session = act(session, earlier)
    if action[0] in ("undo", "redo", "save and load"):
        return
    document, num_entries = session.document, len(session.log)
    act(session, action)
    after = session.document
    if len(session.log) == num_entries or action[0] == "set_value_range" or after is document:
        return
    if action[0] == "propagate" and after == document:
        return
    session.undo()
    assert session.document == document
    session.redo()
    assert session.document == after


@settings(max_examples=40, deadline=None)
@given(many_actions, st.integers(1, 4))
def test_a_journal_gives_what_was_written(some: list[tuple[Any, ...]], every: int) -> None:
    session = new_session()
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder) / "a.journal")
        for count, action in enumerate(some):
            if action[0] != "save and load":
                act(session, action)
            if count % every == 0:
                writer.write(session.contents())
        writer.write(session.contents())
        writer.close()
        found = read_journal(writer.path).contents
    assert found == session.contents()
    assert list(found.document.objects) == list(session.document.objects)


@settings(max_examples=60, deadline=None)
@given(many_actions)
def test_undoing_everything_leaves_nothing(some: list[tuple[Any, ...]]) -> None:
    session = new_session()
    for action in some:
        if action[0] != "save and load":
            act(session, action)
    while session.undo() is not None:
        pass
    assert session.objects == ()
    assert not all_labels(session).any()


@settings(max_examples=60, deadline=None)
@given(many_actions)
def test_replay_is_what_was_done(some: list[tuple[Any, ...]]) -> None:
    session = new_session()
    for action in some:
        session = act(session, action)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.json"
        session.save(path)
        again = napari_sam2.replay(path, FakeFrames(MOVIE), predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again, all_labels(session))


@given(st.data())
def test_stored_masks_are_exact(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    values = st.sampled_from([-1024.0, -20.0, -0.01, 0.0, 0.001, 0.1, 3.0, 900.0, np.nan])
    logits = np.array(
        data.draw(st.lists(values, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    ).reshape(shape)
    stored = store_logits(logits, top=2, left=3, object_score=0.0, iou=0.0)
    whole = np.zeros((12, 14), bool)
    whole[2 : 2 + shape[0], 3 : 3 + shape[1]] = logits > 0
    np.testing.assert_array_equal(stored.to_array(12, 14), whole)
    labels = compose_labels([(5, stored)], 12, 14, np.dtype(np.uint16))
    np.testing.assert_array_equal(labels, whole * 5)
    np.testing.assert_array_equal(store_drawn(PackedMask.pack(whole)).to_array(12, 14), whole)
    assert stored.packed(12, 14) == PackedMask.pack(whole)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_run_lengths(rows: list[list[bool]]) -> None:
    mask = np.array(rows)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    np.testing.assert_array_equal(decode_rle(list(mask.shape), runs), mask)


@pytest.mark.parametrize("shape", [(0, 2), (3, 2), (2, 3, 2), (4,), (5, 4), (0, 4)])
def test_swapping_twice_is_nothing(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    values = rng.random(shape)
    np.testing.assert_array_equal(swap_xy(swap_xy(values)), values)
    if shape == (4,):
        assert swap_xy(np.array([0, 1, 2, 3])).tolist() == [1, 0, 3, 2]
