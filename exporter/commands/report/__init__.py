"""The command ``report``: tables to read, JSON and CSV to work with."""
