"""What can be pressed and read in a napari window."""
