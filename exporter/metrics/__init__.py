"""From a snapshot to the metrics of Prometheus."""
