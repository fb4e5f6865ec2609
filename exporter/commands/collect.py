"""The command ``collect``: the metrics of one scan as text."""

import argparse
from pathlib import Path
from typing import TextIO

from prometheus_client import CollectorRegistry, generate_latest

from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.exposition import warn_of_patterns
from exporter.metrics.metric import Subject
from exporter.support.output_files import replace_file


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--output", metavar="FILE", help="replace FILE instead of writing to standard output"
    )
    parser.add_argument(
        "--layer-links",
        action="store_true",
        help="look at layer links too, as serve does once an hour: it takes about a seventh longer",
    )


def collect(subject: Subject, file: Path | None, output: TextIO) -> None:
    """Write the metrics to ``output``, or replace ``file``. Raises OutputError."""
    warn_of_patterns(subject)
    registry = CollectorRegistry()
    registry.register(SubjectCollector(CATALOGUE, subject))
    page = generate_latest(registry)
    if file is None:
        output.write(page.decode())
        output.flush()
    else:
        replace_file(file, page)
