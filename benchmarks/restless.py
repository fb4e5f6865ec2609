"""``serve``, but each scan reads everything, as the first one does.

``python -m benchmarks.restless --scan.interval 1ms ...``: the worst case for a scrape.
"""

import sys

from exporter.cli import main
from exporter.domain.model import Inventory
from exporter.store.filesystem.rescan.scan_memory import (
    EVERYWHERE,
    Known,
    Places,
    Recollection,
    StoreMemory,
)

_recall = StoreMemory.recall


def _recall_nothing(
    memory: StoreMemory, previous: Inventory | None, places: Places = EVERYWHERE
) -> Recollection:
    memory.known = Known()
    return _recall(memory, previous, places)


if __name__ == "__main__":
    # there is no setting for this
    StoreMemory.recall = _recall_nothing  # type: ignore[method-assign,assignment]
    sys.exit(main(["serve", *sys.argv[1:]]))
