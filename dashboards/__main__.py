"""``python -m dashboards``: write the dashboards' JSON next to this file, or check the files."""

import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards import DASHBOARDS
from dashboards.rendering import write_or_check

DIRECTORY = Path(__file__).parent


def main(arguments: Sequence[str] | None = None, directory: Path = DIRECTORY) -> int:
    """Run the command on the files in ``directory``."""
    texts = {directory / each.file: each.render() for each in DASHBOARDS}
    return write_or_check("python -m dashboards", str(__doc__), texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
