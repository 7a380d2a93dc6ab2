"""Dependence structures: one file each, its paper in the docstring."""
