"""Drawing: one style, the sampler's pictures, the tables' plots, and the pictures of the notebooks."""
