"""Everything that knows napari layers and no window."""
