"""How long a person has to wait: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def shown(items: Iterable[Item], *, title: str, total: int | None, wanted: bool) -> Iterator[Item]:
    """Yield `items` with a bar on stderr if that is a terminal and `wanted` is true."""
    from tqdm import tqdm

    # disable=None: tqdm looks for itself whether stderr is a terminal
    yield from tqdm(
        items, desc=title, total=total, unit="frame", leave=False, disable=None if wanted else True
    )
