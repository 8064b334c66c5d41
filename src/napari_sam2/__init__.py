"""SAM 2 in napari: the plugin and its functions for scripts."""
