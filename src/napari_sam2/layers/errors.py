"""The one error by which the layers refuse what a person placed or chose."""

from __future__ import annotations


class LayerRefusedError(Exception):
    """A layer, a marker or a position cannot be used; the message says why and what to do."""
