"""The table of an evaluation: as text, Markdown, CSV and JSON, and its place in a page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sam2_backbone.evaluation.targets import Row

HEADINGS = ("measure", "data", "objects", "value", "best baseline", "target", "met")
WIDTHS = (38, 38, 7, 7, 29, 36, 3)
BEGIN = "<!-- evaluate: begin; written by napari-sam2 evaluate -->"
END = "<!-- evaluate: end -->"
SUFFIXES = (".md", ".csv", ".json")


@dataclass(frozen=True)
class RunFacts:
    """How a table came about.

    Attributes
    ----------
    variant, weights
        The network, and the file's name and first digits of its SHA-256.
    extent
        quick, default or full.
    input_size
        Side of the model input in pixels.
    """

    variant: str
    weights: str
    extent: str
    input_size: int
    device: str
    threads: int
    seconds: float

    def sentence(self) -> str:
        """One sentence for people."""
        return (
            f"{self.variant} ({self.weights}), {self.input_size} pixels input, extent "
            f"“{self.extent}”, {self.device}, {self.threads} thread(s), {self.seconds:.0f} s."
        )


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of a row, in the order of `HEADINGS`."""
    baseline = "" if row.best is None else f"{row.best.value:.3f} {row.best.name}"
    met = "" if row.met is None else ("yes" if row.met else "no")
    value = "–" if math.isnan(row.value) else f"{row.value:.3f}"
    return row.measure, row.data, str(row.objects), value, baseline, row.target, met


def text_line(texts: Sequence[str]) -> str:
    """Return one line of the table for a terminal."""
    pairs = zip(texts, WIDTHS, strict=True)
    return "  ".join(f"{text:{width}}" for text, width in pairs).rstrip()


def text_heading() -> str:
    """Return the two lines above the rows."""
    return f"{text_line(HEADINGS)}\n{text_line(['-' * width for width in WIDTHS])}"


def markdown(rows: Sequence[Row], facts: RunFacts) -> str:
    """Return the table for a page."""
    lines = [facts.sentence(), "", f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """Return the table as CSV, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*HEADINGS[:4], "baseline", "baseline_name", "target", "met"])
    for row in rows:
        base = ("", "") if row.best is None else (row.best.value, row.best.name)
        met = "" if row.met is None else row.met
        writer.writerow([row.measure, row.data, row.objects, row.value, *base, row.target, met])
    return out.getvalue()


def as_json(rows: Sequence[Row], facts: RunFacts) -> str:
    """Return rows with all their baselines and facts; a value that is not a number is null."""
    listed = []
    for row in rows:
        entry = asdict(row)
        entry["value"] = None if math.isnan(row.value) else row.value
        listed.append(entry)
    return json.dumps({"facts": asdict(facts), "rows": listed}, indent=1) + "\n"


def has_section(path: Path) -> bool:
    """Whether a file is a page with a place for the table."""
    if path.suffix != ".md" or not path.is_file():
        return False
    text = path.read_text(encoding="utf-8")
    return BEGIN in text and END in text.partition(BEGIN)[2]


def rendered(path: Path, rows: Sequence[Row], facts: RunFacts) -> str:
    """Return what `path` is to hold, by its suffix; a page keeps all but its section.

    Raises
    ------
    ValueError
        If the suffix is none of `SUFFIXES`.
    """
    if path.suffix == ".json":
        return as_json(rows, facts)
    if path.suffix == ".csv":
        return comma_separated(rows)
    if path.suffix != ".md":
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    table = markdown(rows, facts)
    if not has_section(path):
        return table
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"
