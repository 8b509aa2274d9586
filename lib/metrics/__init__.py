"""Metrics as pure functions, one value per sample: `saliency`, `gaze` and `classification`."""
