"""The one training loop, its checkpoints, seeds and progress; the objectives of each data set."""
