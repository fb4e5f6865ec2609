"""The running exporter: background loops, publishing, and stopping in time."""
