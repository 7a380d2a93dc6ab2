"""What a head's own paper minimises."""

from jaxtyping import Array, Float

from mlc.base import Batch, Head, Key, Loss, Params, require


def own() -> Loss:
  """The criterion that the head brings along.

      loss_b = head.objective(h_b, y_b)

  For a head whose training is not maximum likelihood of the whole label vector:
  pairwise preferences, labels masked at random, models of small label subsets,
  stages of which one reads what another has predicted.

  Returns:
    A loss; which labels must be known is the head's to say.

  Raises:
    MissingCapabilityError: when applied to a head without `objective`.
  """

  def apply(
    head: Head,
    params: Params,
    h: Float[Array, 'batch dim'],
    batch: Batch,
    *,
    state: tuple[()] = (),
    key: Key | None = None,
  ) -> Float[Array, ' batch']:
    del state
    objective = require(head, 'objective', 'loss own')
    return objective(params, h, batch, key=key)

  return Loss('own', apply)
