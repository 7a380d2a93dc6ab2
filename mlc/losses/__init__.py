"""How the parameters of a head are fitted: one value an example."""

from mlc.losses.ensemble import per_member
from mlc.losses.likelihood import nll
from mlc.losses.own import own
from mlc.losses.pointwise import sigmoid_cross_entropy

__all__ = ['nll', 'own', 'per_member', 'sigmoid_cross_entropy']
