"""SAM 2 for images and video: the network and its predictors, without napari or Qt."""
