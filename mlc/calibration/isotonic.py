"""Each label by a rising staircase: nothing is supposed but the order."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Calibrator
from mlc.calibration.forms import Form, of_scores


def isotonic() -> Calibrator:
  """Each label on its own: the non-decreasing function that fits it best.

      P'(y_j = 1 | h) = g_j(P(y_j = 1 | h)),
      g_j = argmin over non-decreasing g of sum_i weight_i (y_ij - g(p_ij))^2

  linear between the probabilities of the validation rows and constant beyond.
  Values are kept 1 / (n + 2) away from 0 and 1, n being the weight of the
  label's rows: a staircase reaches both, and one row that a 0 rules out would
  cost an infinite log-likelihood. A label of which these rows hold no
  positive, or no negative, stays as it was. Rows on one step become equal,
  which ranking metrics see. Classes are calibrated one against the rest and
  normalised. A head of dependent labels keeps its marginals alone (see
  `forms`).

  Returns:
    The calibrator, named `isotonic`; its state is {'score': [L,N], 'value':
    [L,N], 'kept': [L]}: the steps, and true for labels that stay as they were.

  References:
    Zadrozny, Elkan, Transforming classifier scores into accurate multiclass
    probability estimates, KDD 2002, section 2.3 and 3.
  """
  return of_scores('isotonic', _learn, _mend, mends_joint=False)


def _learn(form: Form, scores, y, known, weight):
  del form
  counted = known * weight[:, None]
  score, value = jax.vmap(staircase, in_axes=1)(
    jax.nn.sigmoid(scores), y, counted
  )
  positive = jnp.sum(counted * y, axis=0)
  total = jnp.sum(counted, axis=0)
  least = (1.0 / (total + 2.0))[:, None]
  return {
    'score': score,
    'value': jnp.clip(value, least, 1.0 - least),
    'kept': (positive == 0) | (positive == total),
  }


def _mend(form: Form, state, scores):
  read = jax.vmap(jnp.interp, in_axes=(1, 0, 0), out_axes=1)
  p = read(jax.nn.sigmoid(scores), state['score'], state['value'])
  kept = state['kept'][None, :]
  if form == 'classes':
    return jnp.where(kept, jax.nn.log_sigmoid(scores), jnp.log(p))
  return jnp.where(kept, scores, jnp.log(p) - jnp.log1p(-p))


def staircase(
  x: Float[Array, ' rows'],
  y: Float[Array, ' rows'],
  weight: Float[Array, ' rows'],
) -> tuple[Float[Array, ' rows'], Float[Array, ' rows']]:
  """The non-decreasing values nearest to y, by pooling adjacent violators.

  Neighbouring blocks whose means do not rise are pooled, whole chains of them
  at once, until all rise. Rows of equal x are one from the start.

  Args:
    x: what the values are to rise with.
    y: what they are to be near to.
    weight: 0 for a row that does not count.

  Returns:
    x, sorted, and the value at each; rows that do not count come last and
    repeat the largest that does.

  References:
    Ayer, Brunk, Ewing, Reid, Silverman, An empirical distribution function for
    sampling with incomplete information, Annals of Mathematical Statistics 26,
    1955.
  """
  rows = len(x)
  x, y, weight = jax.lax.sort(
    (jnp.where(weight > 0, x, jnp.inf), y, weight), num_keys=1
  )

  def means(starts):
    block = jnp.cumsum(starts) - 1
    total, mass = (
      jax.ops.segment_sum(part, block, rows, indices_are_sorted=True)
      for part in (weight * y, weight)
    )
    mean = jnp.where(mass > 0, total / jnp.where(mass > 0, mass, 1.0), jnp.inf)
    return mean[block]

  def falls(starts):
    mean = means(starts)
    before = jnp.concatenate([jnp.full(1, -jnp.inf, mean.dtype), mean[:-1]])
    return starts & (mean <= before)

  def pool(state):
    starts, falling = state
    starts = starts & ~falling
    return starts, falls(starts)

  rises = x[1:] > x[:-1]
  starts = jnp.concatenate([jnp.ones(1, bool), rises])
  starts, _ = jax.lax.while_loop(
    lambda state: jnp.any(state[1]), pool, (starts, falls(starts))
  )
  value = means(starts)
  # Nothing at all counts: the values are not read, but have to be numbers.
  last = jnp.maximum(jnp.sum(weight > 0) - 1, 0)
  beyond = jnp.arange(rows) > last
  x, value = (
    jnp.where(beyond, x[last], x),
    jnp.where(beyond, value[last], value),
  )
  return x, jnp.where(jnp.isfinite(value), value, 0.5)
