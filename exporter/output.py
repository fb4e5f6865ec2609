"""Writing results: to standard output, or whole or not at all to a file."""

import os
import tempfile
from pathlib import Path

from exporter.errors import OutputError

_READABLE_BY_ALL = 0o644


def replace_file(path: Path, content: bytes, mode: int = _READABLE_BY_ALL) -> None:
    """Write a file by atomic rename: a reader sees the old content or the new, never a part.

    The file is readable by all, as node_exporter's textfile collector needs it, where no other
    ``mode`` is given. Raises OutputError where it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise OutputError(
            f"cannot write {path}: not a regular file; without --output it goes to standard output"
        )
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.chmod(temporary, mode)  # noqa: PTH101 - beside the other calls of os
            os.replace(temporary, path)  # noqa: PTH105 - the same
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; give a file in a directory that uid "
            f"{os.geteuid()} may write to"
        ) from error
