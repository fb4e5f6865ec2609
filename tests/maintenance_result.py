"""The file that the maintenance routine writes when it has succeeded."""

from pathlib import Path

from exporter.maintenance.result_file import COMPLETED_AT, FREED_BYTES


def write_result(path: Path, completed_at: float, freed_bytes: int) -> None:
    """Write the file as ``collect-garbage.sh`` does."""
    path.write_text(f"{FREED_BYTES} {freed_bytes}\n{COMPLETED_AT} {completed_at}\n")
