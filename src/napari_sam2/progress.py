"""How long a person has to wait: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def shown(
    items: Iterable[Item], *, title: str, total: int | None, wanted: bool, unit: str = "frame"
) -> Iterator[Item]:
    """Yield `items` with a bar on stderr if that is a terminal and `wanted` is true."""
    from tqdm import tqdm

    # disable=None: tqdm looks for itself whether stderr is a terminal
    yield from tqdm(
        items, desc=title, total=total, unit=unit, leave=False, disable=None if wanted else True
    )


@contextmanager
def bar(title: str, *, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows how many of how many parts are done, on stderr if that is a terminal."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, leave=False, disable=None) as drawn:

        def show(done: int, total: int) -> None:
            drawn.total = total
            drawn.update(done - drawn.n)

        yield show
