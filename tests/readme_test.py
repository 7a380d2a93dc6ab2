"""The example of the README is code that runs."""

import importlib.util
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from mlc import distribution

README = pathlib.Path(__file__).parents[1] / 'README.md'


def test_the_head_in_the_readme_is_a_distribution(tmp_path):
  source = re.search(
    r'```python\n(# mlc/heads/.*?)```', README.read_text(), re.S
  )
  path = tmp_path / 'reduced_rank.py'
  path.write_text(source.group(1))
  spec = importlib.util.spec_from_file_location('reduced_rank', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)

  head = module.reduced_rank(4, rank=2)
  h = jax.random.normal(jax.random.key(0), (3, 5))
  params = head.init(jax.random.key(1), h, jnp.zeros((3, 4)))
  table = distribution.tabulate(head.log_prob, params, h, 4)
  np.testing.assert_allclose(np.exp(table).sum(axis=1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(
    distribution.table_marginals(table), head.marginals(params, h), rtol=1e-5
  )
