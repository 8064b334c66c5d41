"""The session with a real network: small, and with random weights that draw something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_sam2
from fakes import moving_discs
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.predictor import Predictor
from napari_sam2.session.session import Session
from napari_sam2.session.settings import SessionSettings

MOVIE = moving_discs(6)


class Factory:
    """Predictors on one small network."""

    def __init__(self) -> None:
        import torch

        from sam2_backbone.build import build_from_config
        from sam2_backbone.variants import TEST_CONFIG

        torch.manual_seed(3)
        self.model = build_from_config(TEST_CONFIG).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                # initial weights give masks that are empty or full
                parameter.add_(torch.randn_like(parameter) * 0.1)

    def __call__(self, settings: SessionSettings) -> Predictor:
        from sam2_backbone import VideoPredictor

        return VideoPredictor(self.model)


@pytest.fixture(scope="module")
def factory() -> Factory:
    return Factory()


def all_labels(session: Session) -> np.ndarray:
    return np.stack([session.labels(frame_idx) for frame_idx in range(session.num_frames)])


@pytest.fixture(params=["auto", None])
def session(request: pytest.FixtureRequest, factory: Factory) -> Session:
    session = Session(MOVIE, window=request.param, predictor_factory=factory)
    session.add_point(session.new_object(), 2, (12, 14))
    session.add_box(session.new_object(), 1, (18, 30, 40, 52))
    session.add_mask(session.new_object(), 3, MOVIE[3] > 0)
    return session


def test_answers_are_whole(session: Session) -> None:
    for row, frame_idx in zip(session.objects, (2, 1, 3), strict=True):
        mask, scores = session.mask(row.obj_id, frame_idx), session.scores(row.obj_id, frame_idx)
        assert mask is not None
        assert mask.shape == MOVIE.shape[1:]
        assert scores is not None
    np.testing.assert_array_equal(session.mask(3, 3), MOVIE[3] > 0)


def test_stopping_changes_nothing(session: Session, factory: Factory) -> None:
    whole = Session(MOVIE, window=session.window, predictor_factory=factory)
    for row, frame_idx in zip(session.objects, (2, 1, 3), strict=True):
        whole.new_object()
        prompts = session.prompts(row.obj_id, frame_idx)
        assert prompts is not None
        whole.set_prompts(
            row.obj_id,
            frame_idx,
            points=prompts.points,
            point_labels=prompts.point_labels,
            box=prompts.box,
            mask=prompts.mask,
        )
    list(whole.propagate())
    for count in (1, 2, 100):
        steps = session.propagate()
        for _ in zip(range(count), steps, strict=False):
            pass
        steps.close()
    assert all(row.mask_frames == tuple(range(6)) for row in session.objects)
    np.testing.assert_array_equal(all_labels(session), all_labels(whole))
    assert list(session.propagate()) == []


def test_replay_and_reload(session: Session, factory: Factory, tmp_path: Path) -> None:
    list(session.propagate(obj_ids=[1, 3]))
    session.add_point(1, 4, (30, 20))
    session.add_point(1, 4, (10, 20), positive=False)
    steps = session.propagate()
    next(steps)
    session.undo()
    session.lock(3, 5)
    list(steps)
    session.save(tmp_path / "session.json")
    again = napari_sam2.replay(tmp_path / "session.json", predictor_factory=factory)
    np.testing.assert_array_equal(again, all_labels(session))

    loaded = Session.load(tmp_path / "session.json", predictor_factory=factory)
    before = all_labels(loaded)
    np.testing.assert_array_equal(before, again)
    # all was tracked, so nothing is computed again: prompted frames are only shown
    assert set(loaded.propagate()) <= {1, 2, 3, 4}
    np.testing.assert_array_equal(all_labels(loaded), before)
    loaded.add_point(2, 1, (20, 32))
    list(loaded.propagate())
    untouched = np.isin(before, (1, 3)) & np.isin(all_labels(loaded), (1, 3))
    np.testing.assert_array_equal(all_labels(loaded)[untouched], before[untouched])
    loaded.save(tmp_path / "session.json")
    again = napari_sam2.replay(tmp_path / "session.json", predictor_factory=factory)
    np.testing.assert_array_equal(again, all_labels(loaded))


@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 30), 7, np.uint8),
        np.full((20, 30), np.nan, np.float32),
        np.where(np.eye(20, 30) > 0, np.inf, 0.5),
        np.arange(600, dtype=">u2").reshape(20, 30),
        np.zeros((1, 1), np.float64),
        np.zeros((1, 300), np.uint16),
        np.zeros((20, 30, 3), np.uint8),
        np.zeros((20, 30, 4), np.float32),
        np.zeros((20, 30), bool),
        np.broadcast_to(np.float32(3), (20, 30)),
        np.full((20, 30), np.iinfo(np.int64).max),
    ],
)
def test_unusual_images_are_segmented(image: np.ndarray, factory: Factory) -> None:
    for prompt in ({"points": [(0, 0)]}, {"boxes": (0, 0, 1, 1)}):
        labels = napari_sam2.segment_image(image, predictor_factory=factory, **prompt)
        assert labels.shape == image.shape[:2]
    movie = np.stack([image] * 2)
    tracked = napari_sam2.track(
        movie, {0: np.eye(*image.shape[:2], dtype=int)}, predictor_factory=factory
    )
    assert tracked.shape == movie.shape[:3]


def test_a_foreign_checkpoint(tmp_path: Path) -> None:
    from sam2_backbone.errors import CheckpointError

    path = tmp_path / "weights.pt"
    path.write_bytes(b"not a checkpoint")
    session = Session(MOVIE, weights=path)
    session.new_object()
    document = session.document
    with pytest.raises(CheckpointError, match=r"weights\.pt"):
        session.add_point(1, 0, (12, 12))
    assert session.document is document
    assert session.environment is None


def test_models_are_shared_by_a_hub(monkeypatch: pytest.MonkeyPatch, factory: Factory) -> None:
    import sam2_backbone

    built: list[tuple[object, ...]] = []

    def build(*args: object, **kwargs: object) -> object:
        built.append(args)
        return factory.model

    monkeypatch.setattr(sam2_backbone, "build_sam2", build)
    hub = ModelHub()
    for _ in range(2):
        session = Session(MOVIE, models=hub, device="cpu", dtype="float32")
        session.add_point(session.new_object(), 0, (12, 12))
    assert built == [("micro", "default")]
    environment = session.environment
    assert environment is not None
    assert (environment.device, environment.dtype) == ("cpu", "float32")


def test_a_network_is_loaded_ahead_only_where_nothing_has_to_be_downloaded(
    monkeypatch: pytest.MonkeyPatch, factory: Factory, tmp_path: Path
) -> None:
    import sam2_backbone

    built: list[object] = []

    def build(*args: object, **kwargs: object) -> object:
        built.append(args[0])
        return factory.model

    monkeypatch.setattr(sam2_backbone, "build_sam2", build)
    hub = ModelHub()
    hub.prepare(SessionSettings(variant="sam2.1_hiera_tiny"))
    hub.prepare(SessionSettings(weights=str(tmp_path / "none.safetensors")))
    assert built == []
    hub.prepare(SessionSettings())
    hub.prepare(SessionSettings())
    assert built == ["micro"]
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "sam2.1_hiera_tiny.pt").write_bytes(b"")
    hub.prepare(SessionSettings(variant="sam2.1_hiera_tiny"))
    assert built == ["micro", "sam2.1_hiera_tiny"]


def test_the_embedded_model_segments_a_cell() -> None:
    from importlib.resources import as_file, files

    samples = files("napari_sam2") / "samples"
    with as_file(samples / "cell_migration.tif") as path:
        image = tifffile.imread(path, key=0)
    with as_file(samples / "cell_migration_labels.tif") as path:
        reference = tifffile.imread(path, key=0) == 2
    # bfloat16 is for a process whose first operation it is, where AMX has to be switched off
    labels = napari_sam2.segment_image(image, [(34, 75)], dtype="float32")
    assert (labels == 1)[reference].sum() / ((labels == 1) | reference).sum() > 0.6


def test_the_memory_budget_reaches_the_predictor_and_is_saved(tmp_path) -> None:
    image = np.zeros((3, 40, 50), np.uint8)
    session = Session(image, memory_mib=128)
    predictor = session.models.predictor(session.settings)
    assert predictor._budget.num_bytes == 128 * 2**20
    session.save(tmp_path / "session.json")
    assert Session.load(tmp_path / "session.json").settings.memory_mib == 128
    with pytest.raises(ValueError, match="memory_mib"):
        Session(image, memory_mib=10)
