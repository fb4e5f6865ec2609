"""What a scan leaves, kept over a restart in an SQLite file."""
