"""Reproductions of "Learning to Zoom", EML-NET, Mr-CNN and salience region proposal."""

__version__ = "0.1.0"
