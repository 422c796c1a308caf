"""Face detectors: one model, one file."""
