"""The locked dependencies, and the reports made from the locks."""
