"""How a benchmark writes down what it has measured."""

import json
from pathlib import Path
from typing import Any


def write_report(report: dict[str, Any], out: Path | None) -> None:
    """Write a report as JSON, making the folder that it is for; nothing without an `out`."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=2) + "\n")
