"""The table: what is met, how it is written, where it goes in a page."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from sam2_backbone.evaluation.report import (
    BEGIN,
    END,
    RunFacts,
    cells,
    has_section,
    rendered,
    text_heading,
    text_line,
)
from sam2_backbone.evaluation.targets import BOX, CLICK_1, NOC, Baseline, gain_row, row

FACTS = RunFacts("micro", "micro.safetensors 0123", "quick", 128, "cpu", 1, 61.4)
ROWS = [
    row(CLICK_1, "dsb2018/dev", 12, 0.84, (Baseline("Otsu + watershed", 0.75),)),
    row(NOC, "dsb2018/dev", 12, 3.2),
    row(BOX, "elsewhere", 3, math.nan),
]


def test_targets_are_held_against_the_right_row() -> None:
    assert [each.met for each in ROWS] == [True, False, None]
    assert row(NOC, "dsb2018/dev", 1, 3.0).met
    assert not row(BOX, "usiigaci_2d/dev", 1, 0.79).met


@pytest.mark.parametrize(
    ("value", "base", "met"),
    [(0.81, 0.70, True), (0.79, 0.70, False), (0.94, 0.90, True), (0.92, 0.90, False)],
)
def test_a_gain_is_a_tenth_or_a_third_of_the_error(value: float, base: float, met: bool) -> None:
    each = gain_row("set", 5, value, (Baseline("flood fill", base),))
    assert each.met is met
    assert each.value == pytest.approx(value - base)


def test_text() -> None:
    assert cells(ROWS[0]) == (
        CLICK_1, "dsb2018/dev", "12", "0.840", "0.750 Otsu + watershed", "≥ 0.83", "yes",
    )  # fmt: skip
    assert cells(ROWS[2])[3:] == ("–", "", "", "")
    line, heading = text_line(cells(ROWS[1])), text_heading().splitlines()[0]
    assert line.index("3.200") == heading.index("value")


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    read = json.loads(rendered(tmp_path / "table.json", ROWS, FACTS))
    assert read["facts"]["extent"] == "quick"
    assert [each["value"] for each in read["rows"]] == [0.84, 3.2, None]
    assert read["rows"][0]["baselines"] == [{"name": "Otsu + watershed", "value": 0.75}]
    table = list(csv.DictReader(io.StringIO(rendered(tmp_path / "table.csv", ROWS, FACTS))))
    assert [each["measure"] for each in table] == [CLICK_1, NOC, BOX]
    assert table[0]["baseline"] == "0.75"
    assert table[1]["met"] == "False"


def test_a_page_keeps_everything_but_its_section(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", encoding="utf-8")
    assert has_section(page)
    once = rendered(page, ROWS, FACTS)
    assert once.startswith(f"# Page\n\n{BEGIN}\n")
    assert once.endswith(f"{END}\n\nAfter.\n")
    assert "| 0.840 |" in once
    assert "old" not in once
    page.write_text(once, encoding="utf-8")
    assert rendered(page, ROWS, FACTS) == once


def test_a_page_of_its_own(tmp_path: Path) -> None:
    assert not has_section(tmp_path / "new.md")
    text = rendered(tmp_path / "new.md", ROWS, FACTS)
    assert text.startswith("micro (micro.safetensors 0123), 128 pixels input")
    assert text.count("\n|") == 2 + len(ROWS)
    with pytest.raises(ValueError, match=r"\.md, \.csv, \.json"):
        rendered(tmp_path / "table.txt", ROWS, FACTS)
