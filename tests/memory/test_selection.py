"""Which memories are recalled: the rules, and properties over random histories."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sam2_backbone.config import MemoryConfig
from sam2_backbone.memory.selection import select_memories

CONFIG = MemoryConfig()
frames = st.sets(st.integers(0, 40), max_size=20)


def test_six_recent_frames_and_every_prompted_one() -> None:
    recall = select_memories(
        20, prompted=[0, 30], tracked=range(1, 20), num_frames=50, reverse=False, config=CONFIG
    )
    assert recall.spatial == (
        *((0, 6), (30, 6)),  # prompted: the last row of the temporal encoding, also ahead
        *((14, 5), (15, 4), (16, 3), (17, 2), (18, 1), (19, 0)),
    )
    assert recall.pointers[0] == (0, 20)  # the prompted frame ahead gives no pointer
    assert recall.pointers[1:] == tuple((20 - k, k) for k in range(1, 16))
    assert recall.pointer_span == 15.0


def test_missing_frames_are_skipped() -> None:
    recall = select_memories(
        10, prompted=[2], tracked=[9, 7], num_frames=12, reverse=False, config=CONFIG
    )
    assert recall.spatial == ((2, 6), (7, 2), (9, 0))


def test_a_short_video_shortens_the_pointer_memory() -> None:
    recall = select_memories(
        4, prompted=[0], tracked=[1, 2, 3], num_frames=5, reverse=False, config=CONFIG
    )
    assert recall.pointer_span == 4.0
    assert recall.pointers == ((0, 4), (3, 1), (2, 2), (1, 3))


def test_the_nearest_prompted_frames_when_they_are_limited() -> None:
    recall = select_memories(
        20,
        prompted=[0, 10, 15, 22, 40],
        tracked=[],
        num_frames=50,
        reverse=False,
        config=replace(CONFIG, max_prompted=2),
    )
    assert [t for t, row in recall.spatial if row == 6] == [15, 22]


@given(frame_idx=st.integers(0, 40), prompted=frames, tracked=frames)
def test_backward_is_forward_in_a_mirror(
    frame_idx: int, prompted: set[int], tracked: set[int]
) -> None:
    forward = select_memories(
        frame_idx,
        prompted=prompted,
        tracked=tracked,
        num_frames=41,
        reverse=False,
        config=CONFIG,
    )
    backward = select_memories(
        40 - frame_idx,
        prompted={40 - t for t in prompted},
        tracked={40 - t for t in tracked},
        num_frames=41,
        reverse=True,
        config=CONFIG,
    )
    assert set(forward.spatial) == {(40 - t, row) for t, row in backward.spatial}
    assert set(forward.pointers) == {(40 - t, distance) for t, distance in backward.pointers}


@given(frame_idx=st.integers(0, 40), prompted=frames, tracked=frames, reverse=st.booleans())
def test_nothing_is_recalled_twice_or_made_up(
    frame_idx: int, prompted: set[int], tracked: set[int], reverse: bool
) -> None:
    recall = select_memories(
        frame_idx,
        prompted=prompted,
        tracked=tracked,
        num_frames=41,
        reverse=reverse,
        config=CONFIG,
    )
    for chosen in ([t for t, _ in recall.spatial], [t for t, _ in recall.pointers]):
        assert len(chosen) == len(set(chosen))
        assert set(chosen) <= prompted | tracked
    assert prompted <= {t for t, _ in recall.spatial}
