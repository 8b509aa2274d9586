"""Records of finished rows, where each came from, and the statistics over them."""
