"""Data sets: one module each, reading the layout that its authors publish; `synthetic` writes small twins in those layouts."""
