"""One number by which a distribution is made flatter or steeper.

    q_T(v) = q(v)^(1/T) / sum_v' q(v')^(1/T)

over whatever values v are listed: label vectors, classes, or 0 and 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlc.numerics import weighted_mean

# log2 of the steepest and the flattest temperature that is looked at.
_MAX_LOG2_TEMPERATURE = 3.0
_BISECTIONS = 30


def tempered(
  log_q: Float[Array, '*batch values'],
  temperature: Float[Array, ''] | float,
) -> Float[Array, '*batch values']:
  """log of q^(1/T) / sum q^(1/T); impossible values stay so."""
  return jax.nn.log_softmax(log_q / temperature, axis=-1)


def likeliest_temperature(
  log_q: Float[Array, 'rows values'],
  seen: Bool[Array, 'rows values'],
  weight: Float[Array, ' rows'] | None = None,
) -> Float[Array, '']:
  """The T in [1/8, 8] under which q_T makes what was seen likeliest.

      sum_rows E[log q(v) | seen] = sum_rows E[log q(v)]

  at the maximum, both means under q_T. Where one value was seen in each row
  the log-likelihood is concave in 1/T, and the bisected T is its maximum; where
  a row leaves several values open (labels unknown) it is a local one. A row
  that leaves no possible value says nothing of T.

  Args:
    log_q: log q of each row, -inf where impossible.
    seen: True for the values that agree with what was seen.
    weight: of the rows.

  Returns:
    T; 1 where there is no row to learn from.

  References:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
    ICML 2017, section 4.2.
  """
  open_values = jnp.where(seen, log_q, -jnp.inf)
  possible = jnp.any(jnp.isfinite(open_values), axis=-1)
  weight = jnp.ones_like(log_q[:, 0]) if weight is None else weight
  weight = jnp.where(possible, weight, 0.0)
  open_values = jnp.where((weight > 0)[:, None], open_values, 0.0)

  def too_flat(log2_t):
    gap = _mean(open_values, 2.0**log2_t) - _mean(log_q, 2.0**log2_t)
    return weighted_mean(gap, weight) > 0

  def halve(ends, _):
    low, high = ends
    middle = 0.5 * (low + high)
    flat = too_flat(middle)
    return (
      jnp.where(flat, low, middle),
      jnp.where(flat, middle, high),
    ), None

  ends = jnp.float32(-_MAX_LOG2_TEMPERATURE), jnp.float32(_MAX_LOG2_TEMPERATURE)
  (low, high), _ = jax.lax.scan(halve, ends, length=_BISECTIONS)
  return jnp.where(jnp.any(weight > 0), 2.0 ** (0.5 * (low + high)), 1.0)


def _mean(
  log_q: Float[Array, 'rows values'], temperature: Float[Array, '']
) -> Float[Array, ' rows']:
  """E[log q] under q_T."""
  p = jnp.exp(tempered(log_q, temperature))
  finite = jnp.where(jnp.isfinite(log_q), log_q, 0.0)
  return jnp.sum(p * finite, axis=-1)
