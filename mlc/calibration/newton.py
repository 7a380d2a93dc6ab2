"""The maximum of a concave function of a few numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_ROUNDS = 30
_HALVINGS = 12
# Of the value, below which a step cannot be told from rounding in float32.
_ROUNDING = 1e-6
_SETTLED = 1e-6


def maximise(
  value: Callable[[Array], Array],
  derivatives: Callable[[Array], tuple[Array, Array]],
  start: Float[Array, ' numbers'],
) -> Float[Array, ' numbers']:
  """Newton's steps, halved while they would lead down.

      theta + t H^-1 g,  t = 1, 1/2, 1/4 ...

  Args:
    value: theta -> what is to be largest; near 1 in size.
    derivatives: theta -> its gradient g, and a positive definite H: minus the
      second derivatives, or more than them.
    start: where it begins.

  Returns:
    The maximum, as near as float32 sees it.
  """

  def step(state):
    theta, at, _, rounds = state
    gradient, curvature = derivatives(theta)
    direction = jnp.linalg.solve(curvature, gradient[:, None])[:, 0]
    least = at - _ROUNDING * (1.0 + jnp.abs(at))

    def too_far(tried):
      share, reached = tried
      return (reached < least) & (share > 0.5**_HALVINGS)

    def halve(tried):
      share = 0.5 * tried[0]
      return share, value(theta + share * direction)

    first = jnp.ones(()), value(theta + direction)
    share, reached = jax.lax.while_loop(too_far, halve, first)
    share = jnp.where(reached < least, 0.0, share)
    moved = share * direction
    theta = theta + moved
    moves = jnp.max(jnp.abs(moved) / (1.0 + jnp.abs(theta))) > _SETTLED
    return theta, jnp.maximum(reached, at), moves, rounds + 1

  def goes_on(state):
    _, _, moves, rounds = state
    return moves & (rounds < _ROUNDS)

  state = start, value(start), jnp.array(True), 0
  return jax.lax.while_loop(goes_on, step, state)[0]
