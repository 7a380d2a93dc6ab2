"""Each label on its own: is it likely enough?"""

import math

from mlc.base import Decoder
from mlc.decoding.marginals import of_marginals


def threshold(value: float = 0.5) -> Decoder:
  """A label is on when its marginal probability exceeds a threshold.

      d_j = 1 iff P(y_j = 1 | h) > value

  At 0.5 no decision has a smaller expected Hamming loss, whatever the
  dependence between the labels. Under constraints it is the allowed vector of
  the largest sum_j d_j (p_j - value): at 0.5 of the smallest expected Hamming
  loss still, elsewhere of the cost that makes the value the best threshold.

  Args:
    value: in [0, 1); a probability equal to it gives 0, as in `head.mode`.

  Returns:
    The decoder, named `hamming` at 0.5. It needs `marginals`.

  Raises:
    ValueError: the value is outside [0, 1).

  References:
    Dembczynski, Waegeman, Cheng, Hullermeier, On label dependence and loss
    minimization in multi-label classification, Machine Learning 88, 2012,
    section 4.1.
  """
  if not 0.0 <= value < 1.0 or math.isnan(value):
    raise ValueError(
      f'threshold: value is {value}, expected a probability in [0, 1).'
    )
  name = 'hamming' if value == 0.5 else f'threshold_{value:g}'
  return of_marginals(
    name, lambda p, state: p > value, gain=lambda p, state: p - value
  )
