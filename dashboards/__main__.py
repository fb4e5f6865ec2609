"""``python -m dashboards``: write the dashboards' JSON beside this file, or check what is there."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards import DASHBOARDS

DIRECTORY = Path(__file__).parent


def main(arguments: Sequence[str] | None = None, directory: Path = DIRECTORY) -> int:
    """Run the command on the files in ``directory``."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a file is stale"
    )
    options = parser.parse_args(arguments)
    stale = []
    for dashboard in DASHBOARDS:
        path, text = directory / dashboard.file, dashboard.render()
        if options.check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(dashboard.file)
        else:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stderr.write(f"dashboards/{name} is stale: run `python -m dashboards`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
