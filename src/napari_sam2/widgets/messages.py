"""What a person reads when something failed: one sentence, never a traceback."""

from __future__ import annotations


def sentence_of(error: BaseException) -> str:
    """Say an exception in one sentence that tells what happened and, where known, what to do."""
    text = " ".join(str(error).split("\n\n")[0].split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return (
            "There is not enough memory for this model and image: choose a smaller model, "
            "or the device cpu in the preferences."
        )
    if not text:
        return f"Something went wrong that has no description ({type(error).__name__})."
    if isinstance(error, (RuntimeError, OSError, ImportError, KeyError, AttributeError)):
        # not written for a person, so at least its kind is said
        text = f"{type(error).__name__}: {text}"
    return text if text[-1] in ".!?" else f"{text}."
