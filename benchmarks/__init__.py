"""Compare the exporter with the programs an operator would run instead."""
