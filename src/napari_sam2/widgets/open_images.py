"""Which images of a viewer are under annotation, and which of them is in hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_sam2.layers import geometry as geo
from napari_sam2.layers import navigation
from napari_sam2.layers.composition import Composition
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.image_file import image_file
from napari_sam2.layers.model_input import images_of
from napari_sam2.layers.session_layers import further_channels, image_of_session, session_of
from napari_sam2.session.model_hub import ModelHub
from napari_sam2.session.planes import Plane
from napari_sam2.session.session import Session
from napari_sam2.widgets.heap import Heap
from napari_sam2.widgets.jobs import Jobs
from napari_sam2.widgets.open_session import OpenSession
from napari_sam2.widgets.preferences import Preferences

# after an image was opened, so that its layers are drawn before torch is imported
_PREPARE_MS = 1500


class OpenImages(QObject):
    """The sessions of one viewer, one for each image that was annotated."""

    chosen = Signal()
    """Another image is in hand, or none."""
    changed = Signal()
    """Something of an open session."""
    refused = Signal(str)
    """Why something was not done."""
    noticed = Signal(str)
    """What a person should know, in a sentence."""
    failed = Signal(object)
    """The exception of a request."""
    told = Signal(str)
    """What was done, in a sentence."""
    prompted = Signal(int)
    """A prompt of this object was answered."""
    session_named = Signal(str)
    """Path of the session file that the image in hand was opened from."""
    layer_made = Signal(object)
    """A layer of an open session, to which keys are to be bound."""
    removed = Signal(str)
    """Name of the image in hand that was taken out of the viewer."""
    closing = Signal(object)
    """The `OpenSession` that is about to be let go of."""

    def __init__(self, viewer: Any, jobs: Jobs, preferences: Preferences) -> None:
        super().__init__()
        self._viewer = viewer
        self._jobs = jobs
        self._preferences = preferences
        self._heap = Heap(viewer)
        self._models = ModelHub(self._heap.at_rest)
        self._sessions: dict[str, OpenSession] = {}
        self._positive = True
        self.variant = preferences.variant
        """The network that the next session starts with."""
        self.current: OpenSession | None = None
        """The session in hand."""
        # the dock is filled later, so that `annotate` can choose first and napari can finish
        self._opening = QTimer(self)
        self._opening.setSingleShot(True)
        self._opening.timeout.connect(self._open_default)
        self._preparing = QTimer(self)
        self._preparing.setSingleShot(True)
        self._preparing.setInterval(_PREPARE_MS)
        self._preparing.timeout.connect(self._prepare)
        viewer.layers.selection.events.active.connect(self._on_active_layer)

    @property
    def images(self) -> list[Image]:
        """All image layers of the viewer but what shows the network's input."""
        return images_of(self._viewer)

    @property
    def foreign_labels(self) -> list[Labels]:
        """All Labels layers of the viewer but those of open sessions."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels)
            and not any(opened.layers.owns(layer) for opened in self._sessions.values())
        ]

    @property
    def own_layers(self) -> list[Any]:
        """The layers of open sessions."""
        return [
            layer
            for layer in self._viewer.layers
            if any(opened.layers.owns(layer) for opened in self._sessions.values())
        ]

    @property
    def other_selected(self) -> Image | None:
        """The image that is selected in the list of layers, unless it is the one in hand."""
        active = self._viewer.layers.selection.active
        current = None if self.current is None else self.current.image
        return next((i for i in self.images if i == active and i != current), None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be opened, read or drawn."""
        return not self._opening.isActive() and all(
            opened.is_settled for opened in self._sessions.values()
        )

    def default_image(self) -> Image | None:
        """Name the image a person most likely means: the selected one, else the topmost."""
        images = self.images
        active = self._viewer.layers.selection.active
        return active if active in images else images[-1] if images else None

    def open_default_soon(self) -> None:
        """Open an image as soon as napari has finished, unless one is opened before."""
        if self.current is None and self.images:
            self._opening.start(0)

    def open(
        self, image: Image, *, frame_axis: int | None = None, variant: str | None = None
    ) -> None:
        """Take an image in hand; one that was annotated before is taken up again."""
        self._opening.stop()
        saved = None
        known = self._sessions.get(image.unique_id)
        world_units = self._viewer.layers.units
        if known is None and frame_axis is None and session_of(image) is not None:
            frame_axis = 0 if image.ndim == 3 else None  # as the image of a session is laid out
        wanted = geo.choose_geometry(
            image, self._viewer.dims, frame_axis=frame_axis, world_units=world_units
        )
        if known is not None and (frame_axis is None or wanted == known.geometry):
            if variant is not None and variant != known.session.variant:
                known.session.set_variant(variant, weights=self._preferences.weights_for(variant))
        else:
            composition = Composition(image, wanted)
            composition.include(further_channels(image, self.images))
            session = Session(
                composition.source,
                variant=variant or self.variant,
                channels=composition.channels,
                device=self._preferences.device,
                weights=self._preferences.weights_for(variant or self.variant),
                window=self._preferences.window,
                memory_mib=self._preferences.memory_mib,
                models=self._models,
                path=image_of_session(image) or image_file(image),
            )
            is_first = known is None
            if known is None:
                saved = session_of(image)
            else:
                self._close(known)
            known = self._add(image, wanted, session, composition, is_first=is_first)
        self.variant = variant or self.variant
        self.current = known
        known.layers.ensure()
        known.layers.activate()
        self._preparing.start()
        self.chosen.emit()
        if saved is not None:
            self.session_named.emit(str(saved))

    def open_or_say(self, image: Image, frame_axis: int | None = None) -> None:
        """Take an image in hand, or say why that cannot be."""
        try:
            self.open(image, frame_axis=frame_axis)
        except (LayerRefusedError, ValueError, TypeError) as error:
            self.refused.emit(str(error))
            self.chosen.emit()

    def go_to_plane(self, opened: OpenSession, plane: Plane) -> None:
        """Move the sliders to another plane of an image, and take it in hand there."""
        frames, units = replace(opened.geometry, fixed=plane), self._viewer.layers.units
        here = opened.frame_idx or 0
        navigation.show_frame(self._viewer, opened.image, frames, here, world_units=units)
        axis = geo.NO_FRAMES if frames.frame_axis is None else frames.frame_axis
        self.open_or_say(opened.image, axis)

    def use_variant(self, variant: str) -> None:
        """Have the next answers given by another network."""
        self.variant = variant
        if self.current is not None:
            self.current.use_variant(variant, self._preferences.weights_for(variant))
            self._preparing.start()

    def use_weights(self, variant: str, weights: Path) -> None:
        """Have the next answers given by a network with weights of a person's own."""
        self._preferences = replace(self._preferences, variant=variant, weights=str(weights))
        self.use_variant(variant)

    def prefer(self, preferences: Preferences) -> None:
        """Let images that are opened next begin with other preferences."""
        if preferences.variant != self._preferences.variant:
            self.variant = preferences.variant
        self._preferences = preferences

    def take_in_hand(self, opened: OpenSession) -> bool:
        """Go on with an open session; False if it is open no more."""
        if opened not in self._sessions.values():
            return False
        if opened is not self.current:
            self.current = opened
            self.chosen.emit()
        return True

    def with_layer(self, name: str) -> OpenSession | None:
        """Return the open session with a layer of this name; a viewer gives each name once."""
        for opened in self._sessions.values():
            names = {layer.name for layer in self._viewer.layers if opened.layers.owns(layer)}
            if name in names:
                return opened
        return None

    def set_polarity(self, positive: bool) -> None:
        """Make the next clicks positive or negative, on all images."""
        self._positive = positive
        for opened in self._sessions.values():
            opened.layers.set_polarity(positive)

    def stop(self) -> None:
        """Let go of all layers; they stay with the person."""
        self._preparing.stop()
        self._heap.stop()
        self._viewer.layers.selection.events.active.disconnect(self._on_active_layer)
        while self._sessions:
            self._sessions.popitem()[1].stop()

    def _prepare(self) -> None:
        if self.current is not None:
            self.current.prepare()

    def _open_default(self) -> None:
        image = self.default_image()
        if self.current is None and image is not None:
            self.open_or_say(image)

    def _add(
        self,
        image: Image,
        frames: geo.FrameGeometry,
        session: Session,
        composition: Composition,
        *,
        is_first: bool,
    ) -> OpenSession:
        opened = OpenSession(
            self._viewer,
            image,
            frames,
            session,
            self._jobs,
            composition,
            autosave_s=self._preferences.autosave_s,
            # who goes from plane to plane knows of the others
            seek_elsewhere=is_first,
        )
        opened.changed.connect(self.changed)
        opened.refused.connect(self.refused)
        opened.noticed.connect(self.noticed)
        opened.failed.connect(self.failed)
        opened.told.connect(self.told)
        opened.prompted.connect(self._on_prompted)
        opened.image_removed.connect(self._on_image_removed)
        opened.layers.layer_made.connect(self._on_layer_made)
        opened.layers.set_polarity(self._positive)
        self._sessions[image.unique_id] = opened
        opened.layers.ensure()
        return opened

    def _close(self, opened: OpenSession) -> None:
        self.closing.emit(opened)
        if opened is self.current:
            self.current = None
        del self._sessions[opened.image.unique_id]
        opened.stop()

    def _on_active_layer(self, event: Any) -> None:
        """Keys and buttons are for the image whose layer a person works on."""
        for opened in self._sessions.values():
            if event.value is not None and opened.layers.owns(event.value):
                self.take_in_hand(opened)

    def _on_prompted(self, obj_id: int) -> None:
        # an answer for an image that was left meanwhile is nothing to go on with here
        if self.sender() is self.current:
            self.prompted.emit(obj_id)

    def _on_layer_made(self, layer: Any) -> None:
        self.layer_made.emit(layer)

    def _on_image_removed(self) -> None:
        current = self.current
        present = {image.unique_id for image in self.images}
        for unique_id, opened in list(self._sessions.items()):
            if unique_id not in present:
                self._close(opened)
        self.chosen.emit()
        if current is not None and self.current is None:
            self.removed.emit(current.image.name)
