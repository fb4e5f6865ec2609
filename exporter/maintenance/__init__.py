"""What the maintenance routine of ``deploy/maintenance.sh`` says of its last run."""
