"""Numbers of things in words that a person reads."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Count things: "1 frame", "2 frames"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def figures(value: float) -> str:
    """Write a number in four figures, or in as many as it has before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
