"""One number for all probabilities: too sure, or not sure enough."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc import distribution
from mlc.base import Calibrator
from mlc.calibration.forms import Form, of_scores
from mlc.temperature import likeliest_temperature, tempered


def temperature() -> Calibrator:
  """The whole distribution flatter or steeper, so that it suits what was seen.

      p'(y | h) = p(y | h)^(1/T) / sum_y' p(y' | h)^(1/T)

  One T, of largest likelihood on the validation rows. For a head that lists
  its joint that is what is done; for independent labels it divides every logit
  by T, and for classes every log-probability. The mode stays what it was. Any
  other head is calibrated in its marginals alone, sigmoid(log-odds / T), and
  loses all else (see `forms`).

  Returns:
    The calibrator, named `temperature`; its state is {'temperature': []}, in
    [1/8, 8]. It holds a table for all validation rows where there is one:
    rows x 2^L numbers.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, section 4.2.
  """
  return of_scores('temperature', _learn, _mend, mends_joint=True)


def _learn(form: Form, scores, y, known, weight):
  if form == 'table':
    seen = agreeing(distribution.label_vectors(y.shape[-1]), y, known)
    found = likeliest_temperature(scores, seen, weight)
  elif form == 'classes':
    seen = agreeing(jnp.eye(y.shape[-1]), y, known)
    found = likeliest_temperature(jax.nn.log_sigmoid(scores), seen, weight)
  else:
    # Every label of every row is a distribution over 0 and 1.
    two = jnp.stack([-jax.nn.softplus(scores), -jax.nn.softplus(-scores)], -1)
    seen = y[..., None] == jnp.arange(2.0)[None, None, :]
    found = likeliest_temperature(
      two.reshape(-1, 2), seen.reshape(-1, 2), (known * weight[:, None]).ravel()
    )
  return {'temperature': found}


def _mend(form: Form, state, scores):
  if form == 'table':
    return tempered(scores, state['temperature'])
  if form == 'classes':
    return jax.nn.log_sigmoid(scores) / state['temperature']
  return scores / state['temperature']


def agreeing(
  vectors: Float[Array, 'vectors labels'],
  y: Float[Array, 'rows labels'],
  known: Float[Array, 'rows labels'],
) -> Bool[Array, 'rows vectors']:
  """Which vectors differ from a row in no known label."""
  off, on = known * (1.0 - y), known * y
  return (off @ vectors.T + on @ (1.0 - vectors).T) == 0
