"""The session with a predictor that draws discs."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.errors import SessionError
from napari_sam2.session.history import Direction
from napari_sam2.session.masks import StoredMask
from napari_sam2.session.propagation import reachable_frames
from napari_sam2.session.selection_edits import clear_frame, lock_frame, remove_objects
from napari_sam2.session.session import Session
from napari_sam2.session.settings import SessionSettings


class Factory:
    """Makes one predictor and keeps it to be looked at."""

    def __init__(self) -> None:
        self.predictors: list[FakePredictor] = []

    def __call__(self, settings: SessionSettings) -> FakePredictor:
        self.predictors.append(FakePredictor(settings))
        return self.predictors[-1]

    @property
    def calls(self) -> list[str]:
        return [call[0] for call in self.predictors[-1].calls]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def session(factory: Factory) -> Session:
    return Session(FakeFrames(moving_discs()), predictor_factory=factory)


def run(session: Session, *args: object, **kwargs: object) -> list[int]:
    return list(session.propagate(*args, **kwargs))  # type: ignore[arg-type]


def all_labels(session: Session) -> np.ndarray:
    return np.stack([session.labels(frame_idx) for frame_idx in range(session.num_frames)])


def test_no_predictor_before_the_first_prompt(session: Session, factory: Factory) -> None:
    session.new_object()
    session.labels(0)
    assert not factory.predictors
    session.add_point(1, 0, (12, 12))
    assert len(factory.predictors) == 1


def test_coordinates_are_y_x(session: Session) -> None:
    obj_id = session.new_object()
    session.add_point(obj_id, 0, (10, 40))
    mask = session.mask(obj_id, 0)
    assert mask is not None
    assert mask[10, 40]
    rows, columns = np.nonzero(mask)
    assert (round(rows.mean()), round(columns.mean())) == (10, 40)
    session.add_box(obj_id, 1, (5, 30, 9, 50))
    box = session.mask(obj_id, 1)
    assert box is not None
    assert box[5:9, 30:50].all()
    assert box.sum() == 4 * 20


def test_a_two_dimensional_image_has_frame_zero() -> None:
    session = Session(moving_discs()[0], predictor_factory=FakePredictor)
    assert (session.num_frames, session.height, session.width) == (1, 48, 64)
    session.add_point(session.new_object(), 0, (12, 12))
    assert session.labels(0)[12, 12] == 1


def test_points_are_asked_one_by_one(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    session.add_point(1, 0, (14, 14), positive=False)
    assert factory.calls == ["init_state", "answer", "answer"]
    session.set_prompts(1, 0, points=[(12, 12), (14, 14), (20, 20)], point_labels=[1, 0, 1])
    assert factory.calls == ["init_state", "answer", "answer", "answer"]


def test_a_moved_point_asks_all_again(session: Session, factory: Factory) -> None:
    session.new_object()
    session.set_prompts(1, 0, points=[(12, 12), (14, 14)])
    once = session.labels(0)
    session.set_prompts(1, 0, points=[(30, 30), (14, 14)])
    assert factory.calls.count("clear_all_prompts_in_frame") == 1
    session.set_prompts(1, 0, points=[(12, 12), (14, 14)])
    np.testing.assert_array_equal(session.labels(0), once)


def test_prompts_come_back_in_y_x(session: Session) -> None:
    session.new_object()
    assert session.prompts(1, 0) is None
    session.set_prompts(1, 0, points=[(1, 2)], box=(3, 4, 5, 6))
    prompts = session.prompts(1, 0)
    assert prompts is not None
    assert prompts.points.tolist() == [[1, 2]]
    assert prompts.point_labels.tolist() == [1]
    assert prompts.box is not None
    assert prompts.box.tolist() == [3, 4, 5, 6]


def test_a_drawn_mask_is_kept_to_the_pixel(session: Session, rng: np.random.Generator) -> None:
    drawn = rng.random((48, 64)) > 0.5
    session.new_object()
    session.add_mask(1, 3, drawn)
    np.testing.assert_array_equal(session.mask(1, 3), drawn)


def test_clearing_the_only_prompt_removes_what_followed(session: Session) -> None:
    session.new_object()
    session.add_point(1, 2, (12, 12))
    run(session)
    session.set_prompts(1, 2)
    assert session.objects[0].mask_frames == ()
    assert session.undo() == "Clear prompts"
    assert len(session.objects[0].mask_frames) == 8


def test_overlaps_go_to_the_higher_logit(session: Session) -> None:
    session.new_object()
    session.new_object()
    session.add_point(1, 0, (20, 20))
    session.add_point(2, 0, (20, 28))
    labels = session.labels(0)
    assert labels[20, 22] == 1
    assert labels[20, 26] == 2
    assert session.mask(1, 0)[20, 25]  # type: ignore[index]
    np.testing.assert_array_equal(
        session.labels(0, (slice(10, 30), slice(20, 30))), labels[10:30, 20:30]
    )


def test_labels_grow_to_uint32(session: Session) -> None:
    session.new_object(obj_id=7)
    assert session.labels(0).dtype == np.uint16
    session.new_object(obj_id=70_000)
    session.add_point(70_000, 0, (12, 12))
    assert session.labels(0).dtype == np.uint32
    assert session.labels(0).max() == 70_000


def test_ids_are_never_used_again(session: Session) -> None:
    assert session.new_object() == 1
    session.remove_object(1)
    assert session.new_object() == 2
    session.undo()
    assert session.new_object() == 3


def test_propagate_fills_every_frame(session: Session) -> None:
    session.new_object()
    session.add_point(1, 3, (12, 20))
    assert session.mask(1, 0) is None
    assert session.propagation_length() == 8
    assert sorted(run(session)) == list(range(8))
    assert session.objects[0].mask_frames == tuple(range(8))
    assert session.scores(1, 7).iou == pytest.approx(0.9)  # type: ignore[union-attr]
    assert run(session) == []


@pytest.mark.parametrize(
    ("direction", "frames"), [("forward", (3, 4, 5, 6, 7)), ("backward", (0, 1, 2, 3))]
)
def test_propagate_one_way(session: Session, direction: str, frames: tuple[int, ...]) -> None:
    session.new_object()
    session.add_point(1, 3, (12, 20))
    steps = run(session, direction)
    assert tuple(sorted(steps)) == frames
    assert session.propagation_length(direction) == len(steps)  # type: ignore[arg-type]
    assert session.objects[0].mask_frames == frames


def test_what_a_run_comes_to_is_what_is_counted(session: Session) -> None:
    for obj_id, frame_idx in ((1, 2), (2, 5)):
        session.add_point(session.new_object(), frame_idx, (12, 10 * obj_id))

    def reached(direction: Direction, obj_ids=None, frames=None) -> list[int]:
        return reachable_frames(session.document, session.num_frames, direction, obj_ids, frames)

    assert reached("forward") == [2, 3, 4, 5, 6, 7]
    assert reached("backward") == [5, 4, 3, 2, 1, 0]
    both = reached("both")
    assert both == [2, 3, 4, 5, 6, 7, 4, 3, 2, 1, 0]
    assert session.propagation_length() == len(both)
    assert reached("forward", [2]) == [5, 6, 7]
    assert reached("both", None, (7, 1, 4)) == [4, 7, 4, 1]
    steps = list(session.propagate())
    assert set(steps) == set(both)
    assert len(steps) <= len(both)
    session.lock(1, None)
    assert reached("forward") == [5, 6, 7]
    session.lock(2, None)
    assert reached("both") == []


def test_propagate_chosen_objects_and_frames(session: Session) -> None:
    for y in (12, 30):
        session.add_point(session.new_object(), 0, (y, 12))
    run(session, obj_ids=[2], frames=range(3))
    first, second = session.objects
    assert first.mask_frames == (0,)
    assert second.mask_frames == (0, 1, 2)


def test_stop_and_continue(session: Session) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    steps = session.propagate()
    assert [next(steps) for _ in range(3)] == [0, 1, 2]
    steps.close()
    assert run(session) == [3, 4, 5, 6, 7]


def test_a_correction_recomputes_only_its_object(session: Session, factory: Factory) -> None:
    for y in (12, 30):
        session.add_point(session.new_object(), 0, (y, 12))
    run(session)
    events: list[tuple[int, tuple[int, ...]]] = []
    session.events.masks_changed.connect(lambda *args: events.append(args))
    session.add_point(2, 4, (30, 30))
    run(session)
    assert {obj_ids for _, obj_ids in events} == {(2,)}


def test_a_prompt_in_the_middle_of_a_propagation(session: Session) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    steps = session.propagate()
    next(steps)
    next(steps)
    session.add_point(1, 5, (30, 30))
    list(steps)
    at_once = Session(FakeFrames(moving_discs()), predictor_factory=FakePredictor)
    at_once.new_object()
    at_once.add_point(1, 0, (12, 12))
    at_once.add_point(1, 5, (30, 30))
    run(at_once)
    np.testing.assert_array_equal(all_labels(session), all_labels(at_once))
    assert [session.undo() for _ in range(5)] == [
        "Propagate",
        "Prompt",
        "Propagate",
        "Prompt",
        "New object",
    ]


def test_a_propagation_is_one_step(session: Session) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    run(session)
    tracked = all_labels(session)
    assert session.undo() == "Propagate"
    assert session.objects[0].mask_frames == (0,)
    assert session.redo() == "Propagate"
    np.testing.assert_array_equal(all_labels(session), tracked)
    assert session.redo() is None


def test_after_undo_the_model_is_told_again(session: Session) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    once = session.labels(0)
    session.add_point(1, 0, (12, 20))
    twice = session.labels(0)
    session.undo()
    np.testing.assert_array_equal(session.labels(0), once)
    session.add_point(1, 0, (12, 20))
    np.testing.assert_array_equal(session.labels(0), twice)


def test_another_propagation_ends_the_first(session: Session) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    first = session.propagate()
    next(first)
    run(session)
    with pytest.raises(SessionError, match="Another propagation"):
        next(first)


def test_locked_frames_are_never_overwritten(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    run(session)
    accepted = session.mask(1, 4)
    session.lock(1, 4)
    assert session.objects[0].locked_frames == (4,)
    session.add_point(1, 0, (40, 12))
    run(session)
    np.testing.assert_array_equal(session.mask(1, 4), accepted)
    assert not np.array_equal(session.mask(1, 5), accepted)
    assert ("load_mask", 4, 1) in factory.predictors[-1].calls
    with pytest.raises(ValueError, match="locked"):
        session.add_point(1, 4, (12, 12))
    session.unlock(1, 4)
    session.add_point(1, 4, (12, 12))


def test_another_variant_keeps_the_masks(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    run(session)
    before = all_labels(session)
    session.set_variant("sam2.1_hiera_tiny")
    np.testing.assert_array_equal(all_labels(session), before)
    session.add_point(1, 0, (14, 12))
    assert len(factory.predictors) == 2
    assert session.variant == "sam2.1_hiera_tiny"


def test_a_failed_answer_changes_nothing(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    document, log = session.document, session.log
    factory.predictors[-1].fail_next = MemoryError("out of memory")
    with pytest.raises(MemoryError):
        session.add_point(1, 0, (12, 20))
    assert session.document is document
    assert session.log == log
    session.add_point(1, 0, (12, 20))
    fresh = Session(FakeFrames(moving_discs()), predictor_factory=FakePredictor)
    fresh.new_object()
    fresh.set_prompts(1, 0, points=[(12, 12), (12, 20)])
    np.testing.assert_array_equal(session.labels(0), fresh.labels(0))


def test_a_failed_propagation_can_be_continued(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (12, 12))
    steps = session.propagate()
    next(steps)
    next(steps)
    factory.predictors[-1].fail_next = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        next(steps)
    assert session.objects[0].mask_frames == (0, 1)
    run(session)
    assert session.objects[0].mask_frames == tuple(range(8))


def test_events_come_after_the_turn(session: Session) -> None:
    heard: list[object] = []
    session.events.objects_changed.connect(lambda: heard.append("objects"))
    session.events.prompts_changed.connect(lambda *args: heard.append(("prompts", *args)))

    def read_in_another_thread(*args: object) -> None:
        thread = threading.Thread(target=lambda: heard.append(session.undo_title))
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        heard.append(("masks", *args))

    session.events.masks_changed.connect(read_in_another_thread)
    session.events.all_changed.connect(lambda: heard.append("all"))
    session.new_object()
    session.add_point(1, 0, (12, 12))
    session.undo()
    assert heard == ["objects", ("prompts", 1, 0), "Prompt", ("masks", 0, (1,)), "all"]


def test_a_click_is_served_between_two_frames() -> None:
    session = Session(FakeFrames(moving_discs(200)), predictor_factory=FakePredictor)
    session.new_object()
    session.new_object()
    session.add_point(1, 0, (12, 12))
    steps: list[int] = []
    clicked_after: list[int] = []
    started = threading.Event()

    def follow() -> None:
        for frame_idx in session.propagate(obj_ids=[1]):
            steps.append(frame_idx)
            started.set()

    def click() -> None:
        started.wait(10)
        session.add_point(2, 0, (30, 20))
        clicked_after.append(len(steps))

    threads = [threading.Thread(target=target) for target in (follow, click)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert session.objects[0].mask_frames == tuple(range(200))
    assert clicked_after[0] < 100


def test_frames_are_read_only_when_needed(factory: Factory) -> None:
    frames = FakeFrames(moving_discs())
    session = Session(frames, predictor_factory=factory)
    session.add_point(session.new_object(), 0, (12, 12))
    assert frames.reads == []


def test_a_locked_object_is_left_alone_everywhere(session: Session, factory: Factory) -> None:
    for y in (12, 30):
        session.add_point(session.new_object(), 0, (y, 12))
    run(session, frames=range(4))
    session.lock(1)
    assert session.objects[0].is_locked
    assert session.objects[0].locked_frames == (0, 1, 2, 3)
    before = session.document.objects[1].masks
    run(session)
    assert session.document.objects[1].masks == before
    assert session.objects[1].mask_frames == tuple(range(8))
    for change in (lambda: session.add_point(1, 7, (9, 9)), lambda: session.remove_object(1)):
        with pytest.raises(ValueError, match="Object 1 is locked"):
            change()
    with pytest.raises(ValueError, match="as a whole"):
        session.unlock(1, 2)
    session.lock(2)
    with pytest.raises(ValueError, match="locked: unlock one"):
        session.propagate()
    session.unlock(1)
    run(session)
    assert session.objects[0].mask_frames == tuple(range(8))


def test_another_candidate_is_kept_and_built_on(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (20, 20))
    first = session.mask(1, 0)
    candidates = session.candidates(1, 0)
    assert len(candidates) == 3
    assert all(0 < candidate.stability <= 1 for candidate in candidates)
    assert [candidate.mask.iou for candidate in candidates] == [0.9, 0.7, 0.5]
    session.choose_candidate(1, 0, 2)
    assert session.scores(1, 0).iou == 0.5  # type: ignore[union-attr]
    third = session.mask(1, 0)
    np.testing.assert_array_equal(third, candidates[2].mask.to_array(48, 64))
    assert third.sum() > first.sum()  # type: ignore[union-attr]
    session.add_point(1, 0, (40, 50))
    assert (session.mask(1, 0) & third)[third].all()  # type: ignore[index, operator]
    assert session.prompts(1, 0).candidate == 2  # type: ignore[union-attr]
    session.undo()
    session.undo()
    np.testing.assert_array_equal(session.mask(1, 0), first)
    assert len(session.candidates(1, 0)) == 3
    session.set_prompts(1, 0)
    assert session.candidates(1, 0) == ()
    session.add_box(1, 0, (3, 3, 9, 9))
    assert session.candidates(1, 0) == ()
    session.add_box(1, 1, (3, 3, 9, 9))
    with pytest.raises(ValueError, match="Only a click"):
        session.choose_candidate(1, 1, 1)


def test_a_failed_preview_leaves_nobody_behind(session: Session, factory: Factory) -> None:
    session.add_point(session.new_object(), 0, (20, 20))
    predictor = factory.predictors[-1]
    predictor.fail_next = MemoryError("too large")
    with pytest.raises(MemoryError):
        session.preview(0, (30, 30))
    assert predictor.calls[-1] == ("remove_object", -1)
    assert run(session) == list(range(8))


def test_a_preview_changes_nothing(session: Session, factory: Factory) -> None:
    session.new_object()
    session.add_point(1, 0, (20, 20))
    document, log = session.document, session.log
    seen = session.preview(0, (30, 50))
    refined = session.preview(0, (20, 34), obj_id=1)
    assert seen.to_array(48, 64)[30, 50]  # type: ignore[union-attr]
    assert refined.to_array(48, 64)[20, [20, 34]].all()  # type: ignore[union-attr]
    assert session.document is document
    assert session.log == log
    session.add_point(1, 0, (20, 34))
    np.testing.assert_array_equal(refined.to_array(48, 64), session.mask(1, 0))  # type: ignore[union-attr]
    run(session)
    assert set(session.document.objects) == {1}


def test_a_stroke_over_two_objects_is_one_step(session: Session) -> None:
    for x in (14, 30):
        session.add_point(session.new_object(), 0, (20, x))
    before = session.document
    one, other = session.mask(1, 0).copy(), session.mask(2, 0).copy()  # type: ignore[union-attr]
    one[18:22, 14:32], other[18:22, 14:32] = True, False
    session.set_masks(0, {1: one, 2: other})
    np.testing.assert_array_equal(session.labels(0)[18:22, 14:32], 1)
    np.testing.assert_array_equal(session.mask(2, 0), other)
    assert session.undo() == "Paint"
    assert session.document == before
    session.lock(2, 0)
    locked = session.document
    with pytest.raises(ValueError, match="locked"):
        session.set_masks(0, {1: one, 2: other})
    assert session.document == locked
    session.set_masks(3, {9: one})
    assert session.objects[-1].obj_id == 9


def test_ids_and_choices_may_be_numpy_numbers(session: Session, tmp_path: Path) -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[5:9, 5:9], labels[20:30, 20:30] = 254, 7
    session.set_masks(0, {v: labels == v for v in np.unique(labels) if v})
    obj_id = session.new_object()
    session.add_point(obj_id, 0, (12, 12))
    session.choose_candidate(obj_id, 0, np.argmax([0.1, 0.9, 0.2]))
    assert [type(row.obj_id) for row in session.objects] == [int] * 3
    assert (session.new_object(), session.new_object()) == (256, 257)
    session.save(tmp_path / "session.json")
    again = Session.load(tmp_path / "session.json", predictor_factory=FakePredictor)
    assert again.document == session.document


def test_labels_become_objects(session: Session) -> None:
    session.new_object()
    labels = np.zeros((48, 64), np.int32)
    labels[4:9, 4:9], labels[20:30, 20:30] = 1, 7
    later = np.where(labels == 7, 7, 0)
    assert list(session.add_labels({0: labels, 3: later})) == [2, 7]
    assert [record.prompted_frames for record in session.objects] == [(), (0,), (0, 3)]
    np.testing.assert_array_equal(session.labels(0), np.where(labels == 1, 2, labels))
    run(session)
    assert session.objects[2].mask_frames == tuple(range(8))
    session.undo()
    assert session.undo() == "Take labels"
    assert [record.obj_id for record in session.objects] == [1]
    with pytest.raises(ValueError, match="no label"):
        session.add_labels({0: np.zeros((48, 64), int)})
    with pytest.raises(ValueError, match="shape"):
        session.add_labels({0: labels[:5]})
    with pytest.raises(TypeError, match="whole"):
        session.add_labels({0: labels / 2})


def test_a_label_whose_number_is_free_keeps_it(session: Session) -> None:
    for _ in range(2):
        session.new_object()
    labels = np.zeros((48, 64), np.uint8)
    for label in range(1, 5):
        labels[4 * label : 4 * label + 3, 4:9] = label
    list(session.add_labels({0: labels}))
    kept = session.labels(0)
    assert [int(kept[4 * label, 5]) for label in range(1, 5)] == [5, 6, 3, 4]


def test_a_group_that_fails_leaves_nothing(session: Session) -> None:
    session.new_object("kept")
    document, log = session.document, session.log

    def fail() -> None:
        with session.one_step("Several"):
            session.new_object("gone")
            session.rename_object(1, "gone")
            session.rename_object(5, "none")

    with pytest.raises(ValueError, match="no object 5"):
        fail()
    assert (session.document, session.log) == (document, log)
    assert session.undo() == "New object"
    with pytest.raises(ValueError, match="no object"):
        fail()
    assert session.redo() == "New object"
    with session.one_step("Several"):
        session.rename_object(1, "a")
        session.hide(1)
    assert session.undo() == "Several"
    assert session.document == document


def test_a_click_that_is_anticipated_changes_nothing(session: Session, factory: Factory) -> None:
    session.anticipate(2, (12, 20))
    session.add_point(session.new_object(), 2, (12, 20))
    before = session.contents()
    session.anticipate(3, (12.5, 21), obj_id=1)
    session.undo()
    session.redo()
    session.anticipate(3, (12, 20), obj_id=1)  # the predictor has to hear of it again first
    looks = [call for call in factory.predictors[-1].calls if call[0] == "anticipate_click"]
    assert [(t, place) for _, t, place, _ in looks] == [
        (2, (20.0, 12.0)), (3, (21.0, 12.5)), (3, (20.0, 12.0)),
    ]  # fmt: skip
    assert [obj_id for *_, obj_id in looks] == [None, 1, None]
    assert session.contents().document == before.document
    assert session.contents().log[: len(before.log)] == before.log
    with pytest.raises(ValueError, match="outside"):
        session.anticipate(3, (500, 20))


def test_what_is_asked_of_objects_that_are_gone_is_asked_of_the_others(session: Session) -> None:
    for point in ((12, 12), (30, 20)):
        session.add_point(session.new_object(), 0, point)
    session.remove_object(1)
    lock_frame(session, (1, 2), 0)
    assert session.document.objects[2].locked == {0}
    lock_frame(session, (1, 2), 0)
    assert not session.document.objects[2].locked
    clear_frame(session, (1, 2), 0)
    assert not session.document.objects[2].prompts
    remove_objects(session, (1, 2))
    assert not session.objects
    with pytest.raises(ValueError, match="None of these objects"):
        lock_frame(session, (1, 2), 0)


def test_a_first_look_is_told_and_not_kept(session: Session, monkeypatch) -> None:
    monkeypatch.setattr(FakePredictor, "looks_twice", True)
    told: list[tuple[int, int, int]] = []

    def note(obj_id: int, frame_idx: int, mask: StoredMask) -> None:
        assert session.mask(obj_id, frame_idx) is None
        told.append((obj_id, frame_idx, int((mask.logits > 0).sum())))

    session.events.first_look.connect(note)
    session.new_object()
    session.add_point(1, 2, (12, 12))
    answer = session.mask(1, 2)
    assert answer is not None
    ((obj_id, frame_idx, area),) = told
    assert (obj_id, frame_idx) == (1, 2)
    assert area > answer.sum()
    session.undo()
    session.add_point(1, 3, (12, 12))  # what is told again to the model is not awaited
    assert [told_frame for _, told_frame, _ in told] == [2, 3]
