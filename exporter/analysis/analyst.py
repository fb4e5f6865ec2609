"""What follows from the store and from CapRover's configuration together."""

from dataclasses import dataclass

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.blob_states import Ledger
from exporter.analysis.collector_fast_path import Reaches
from exporter.analysis.collector_simulation import Dialect
from exporter.analysis.retention import price_policies
from exporter.analysis.store_figures import analyse, reaches_of
from exporter.analysis.tag_uses import tell_uses
from exporter.domain.images import AppImages
from exporter.domain.model import Inventory
from exporter.domain.snapshot import BlobState, CaproverStatus, StoreFigures, StoreReading
from exporter.domain.uses import PolicyFigures, UseFigures


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What the configuration says of the analysis.

    Attributes:
        dialect: major version of the registry whose collector is simulated.
        image_prefix: first part of the repositories that CapRover pushes to; None where there is
            no CapRover.
        keep_last: retention policies to price, as numbers of tags to keep.

    """

    dialect: Dialect = 2
    image_prefix: str | None = None
    keep_last: tuple[int, ...] = ()

    @property
    def ask_for_conclusions(self) -> bool:
        """Whether there is anything to tell beyond the figures of the store."""
        return self.image_prefix is not None or bool(self.keep_last)


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What was concluded.

    Attributes:
        images: what CapRover's configuration said, from which it was drawn.
        uses: see :class:`exporter.domain.snapshot.Snapshot`.
        policies: the same.

    """

    images: AppImages | None = None
    uses: UseFigures | None = None
    policies: tuple[PolicyFigures, ...] | None = None


class Analyst:
    """Analyses one inventory of a store after another, by what has changed between them."""

    def __init__(self, options: AnalysisOptions) -> None:
        self._options = options
        self._ledger = Ledger()

    def analyse(
        self,
        inventory: Inventory,
        caprover: CaproverStatus | None,
        figures: StoreFigures | None = None,
    ) -> tuple[StoreReading, Conclusions]:
        """Draw all figures, and what follows from them together with CapRover's configuration.

        ``figures`` are those of the inventory, where they are known.
        """
        if figures is not None:
            reading = StoreReading(inventory, figures)
            return reading, conclude(reading, caprover, self._options)
        self._ledger.follow(inventory)
        figures = analyse(inventory, self._options.dialect, self._ledger)
        reading = StoreReading(inventory, figures)
        reaches = self._ledger.reaches if self._options.ask_for_conclusions else None
        conclusions = conclude(reading, caprover, self._options, reaches)
        self._ledger.release()
        return reading, conclusions


def analyse_all(
    inventory: Inventory, caprover: CaproverStatus | None, options: AnalysisOptions
) -> tuple[StoreReading, Conclusions]:
    """Draw the same from one inventory alone."""
    return Analyst(options).analyse(inventory, caprover)


def conclude(
    reading: StoreReading,
    caprover: CaproverStatus | None,
    options: AnalysisOptions,
    reaches: Reaches | None = None,
) -> Conclusions:
    """Draw what needs both; while CapRover's configuration is not known, neither is known."""
    inventory = reading.inventory
    images = None if caprover is None else caprover.images
    if not options.ask_for_conclusions:
        return Conclusions(images, None, ())
    reaches = reaches or reaches_of(inventory)
    sizes = BytesOnDisk(inventory)
    uses = None
    if options.image_prefix is not None:
        if images is None:
            return Conclusions()
        read_at = None if caprover is None else caprover.read_at
        uses = tell_uses(reading, reaches, images, options.image_prefix, sizes, read_at)
    blobs = reading.figures.blobs
    # else what nobody references is among them
    referenced = blobs[BlobState.TAGGED].bytes + blobs[BlobState.UNTAGGED].bytes
    policies = price_policies(
        inventory,
        reaches,
        options.dialect,
        options.keep_last,
        uses,
        sizes,
        referenced if inventory.references_known else None,
    )
    return Conclusions(images, uses, tuple(policies))
