"""What runs a sweep: set-up, workers, estimate, tracker, settings."""
