"""Units for parameters in which an objective curves alike in all of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlc.base import Key

# The standard error of a unit is then an eighth.
PROBES = 8


def units(
  objective: Callable[..., Array], w: Float[Array, ' params'], key: Key
) -> tuple[Float[Array, ''], Float[Array, ' params'], Float[Array, ' params']]:
  """A unit for each parameter, by the curvature of the objective there.

      s_i = |H_i|^(-1/2),    |H_i|^2 = E (H v)_i^2

  H_i is row i of the Hessian, v a vector of independent random signs. L-BFGS
  on u = w / s needs as many iterations as on w when features are standardised
  and far fewer when each has a unit of its own: on raw emotions 2,000 reach
  the optimum that they else miss by 2 %.

  Args:
    objective: w -> scalar, of which second derivatives exist.
    w: where the curvature is measured.
    key: of the probes v.

  Returns:
    The objective, its gradient, and s, which is 1 where the objective is flat
    or not finite.
  """

  def probe(key: Key) -> tuple[tuple[Array, Array], Array]:
    signs = jax.random.rademacher(key, w.shape, w.dtype)
    here, slope = jax.jvp(jax.value_and_grad(objective), (w,), (signs,))
    return here, slope[1] ** 2

  (values, gradients), squares = jax.lax.map(
    probe, jax.random.split(key, PROBES)
  )
  square = jnp.mean(squares, axis=0)
  usable = jnp.isfinite(square) & (square > 0)
  return values[0], gradients[0], jnp.where(usable, square, 1.0) ** -0.25
