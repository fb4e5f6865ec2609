"""CapRover: its configuration file, its names and its commands."""
