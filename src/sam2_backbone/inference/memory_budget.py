"""How much memory tracking may take beside the weights, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_BUDGET = 2**30  # bytes
_LEAST = 64 * 2**20
_FEATURE_SHARE = 4  # a quarter is for features that are kept
_ENTRIES = 96  # views that are kept at the default budget: a click may take ten
# rows of one batch at the default budget: what 16 rows of a 32 x 32 embedding take
_BATCH_TOKENS = 16 * 32 * 32


@dataclass(frozen=True)
class MemoryBudget:
    """Limits of what is kept and of what is computed at once, in proportion to a number of bytes.

    Not counted are the weights, and what is remembered of objects, which grows with them.

    Raises
    ------
    ValueError
        If it is less than 64 MiB.
    """

    num_bytes: int = DEFAULT_BUDGET

    def __post_init__(self) -> None:
        if self.num_bytes < _LEAST:
            raise ValueError(
                f"the memory budget must be at least {_LEAST} bytes (64 MiB), not {self.num_bytes}"
            )

    @property
    def feature_bytes(self) -> int:
        """Bytes of image features that are kept of frames a person looks at."""
        return self.num_bytes // _FEATURE_SHARE

    @property
    def feature_entries(self) -> int:
        """Views of frames whose features are kept, at least one."""
        return max(1, _ENTRIES * self.num_bytes // DEFAULT_BUDGET)

    def batch_rows(self, embedding_size: int) -> int:
        """Objects that are computed together, by the side of the network's embedding."""
        tokens = _BATCH_TOKENS * self.num_bytes // DEFAULT_BUDGET
        return max(1, tokens // embedding_size**2)
