"""mlc: a research bench for multi-label learning in JAX.

A head is a conditional distribution p(y | h) over label vectors; a loss fits
it; a decoder turns it into the decision that a metric asks for. A method is
the triple, and an experiment is a product of methods and data sets.
"""
