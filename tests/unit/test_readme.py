# SPDX-License-Identifier: MIT
"""The README's Python runs as printed, and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_python_example_prints_what_the_readme_says() -> None:
    code, expected = re.findall(
        r"```python\n(.*?)```\n\nIt prints:\n\n```text\n(.*?)```", README.read_text(), re.DOTALL
    )[0]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == expected
