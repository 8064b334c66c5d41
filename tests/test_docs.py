"""The pages keep their promises: links lead to files, code parses, two commands suffice."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_parses(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_quick_start_is_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Quick start")[2].partition("\n## ")[0]
    commands = re.findall(r"^```bash\n(.*?)^```", section, re.M | re.S)
    assert len(commands) == 2
    assert section.count("```") == 4
    for command in commands:
        (line,) = command.splitlines()
        script = re.match(r"bash (\S+)", line)
        assert script
        assert (ROOT / script[1]).is_file()


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "bash tests/run" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
