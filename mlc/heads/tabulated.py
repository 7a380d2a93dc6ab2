"""A head that enumerates, asked once for all that is read off its table."""

from collections.abc import Callable

from mlc import distribution
from mlc.base import Head, Params


def tabulated(head: Head) -> tuple[Head, Callable[..., Params]]:
  """A head that enumerates asked once a block, not once a decoder.

  Returns:
    The head whose answers are read off the table log p(y | h), and (params, h)
    -> its parameters, which hold the table. A head that does not enumerate its
    marginals comes back as it is.
  """
  if head.joint is None or head.exactness['marginals'] != 'enumerated':
    return head, lambda params, h: params

  def read(of_table):
    return lambda params, h, *, key=None: of_table(params['table'])

  def pass_on(function):
    if function is None:
      return None
    return lambda params, *args, **kwargs: function(
      params['head'], *args, **kwargs
    )

  asked = head._replace(
    joint=read(lambda table: table),
    marginals=read(distribution.table_marginals),
    mode=read(distribution.table_mode),
    cardinality_marginals=read(distribution.table_cardinality_marginals),
    logits=pass_on(head.logits),
    log_prob=pass_on(head.log_prob),
    sample=pass_on(head.sample),
    greedy=pass_on(head.greedy),
    conditional=pass_on(head.conditional),
  )
  joint = head.joint
  return asked, lambda params, h: {'head': params, 'table': joint(params, h)}
