"""A command that writes rendered files, or reports which files are stale."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_or_check(
    program: str, description: str, texts: Mapping[Path, str], arguments: Sequence[str] | None
) -> int:
    """Write ``texts`` to their files, or with ``--check`` compare them; return the exit code."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is stale"
    )
    if not parser.parse_args(arguments).check:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        sys.stderr.write(f"{path.parent.name}/{path.name} is stale: run `{program}`\n")
    return 1 if stale else 0
