"""Room: everything that knows napari layers and no window."""
