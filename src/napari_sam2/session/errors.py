"""What can go wrong in a session beyond a wrong argument, each said in one sentence."""


class SessionError(Exception):
    """Base of every error that a session raises by itself."""


class SessionFileError(SessionError):
    """A session file cannot be read, or is not one."""


class ImageMismatchError(SessionError):
    """The image given is not the one that the session was made on."""


class ImageReadError(SessionError):
    """An image file cannot be read."""


class ExportError(SessionError):
    """Results cannot be written in this form."""


class ModelUnavailableError(SessionError):
    """The model asked for cannot be had."""


class TrainingError(SessionError):
    """A training run cannot begin, or has failed."""
