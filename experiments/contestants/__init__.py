"""The contestants of `experiments.benchmark`, one function each.

A contestant takes a `Task`, makes all ready that is not to be timed and
returns a function that does the work once. One that needs a package of the
extra `benchmark` imports it first of all.
"""
