"""Synthetic twins: small stand-ins, written in exactly the layout of the data set they stand for, and labelled as such."""
