"""The errors of the backbone: what went wrong with a file, a download or a frame."""


class SAM2Error(Exception):
    """Base of every error that the backbone raises on purpose."""


class CheckpointError(SAM2Error):
    """A weights file cannot be loaded; the message names the file and the keys."""


class DownloadError(SAM2Error):
    """Weights could not be fetched; nothing is left under the final name."""


class FrameReadError(SAM2Error):
    """A frame, a folder of frames or a video file cannot be read."""


class AnnotationError(SAM2Error):
    """Annotations of a video cannot be read, or are not of the kind they should be."""
