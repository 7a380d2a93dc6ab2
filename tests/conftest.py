"""Every test runs with shapes checked and silent broadcasting refused."""

import itertools
import os
import signal

import jax
import jaxtyping
import numpy as np
import pytest

# A shell that starts the tests in the background has them ignore Ctrl-C, and
# so would all that they start: some tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

jaxtyping.install_import_hook('mlc', 'beartype.beartype')
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def data_dir() -> str:
  """The folder of data sets that MLC_DATA_DIR names."""
  path = os.environ.get('MLC_DATA_DIR', '')
  if not path or not os.path.isdir(path):
    pytest.skip('MLC_DATA_DIR names no folder of data sets')
  return path


def every_vector(num_labels):
  """[2^L, L], label j in bit j."""
  codes = np.arange(2**num_labels)[:, None]
  return ((codes >> np.arange(num_labels)) & 1).astype(np.float32)


def random_rule(rng, num_labels):
  # After the hook that checks shapes.
  from mlc import rules as rule_set

  names = [f'y{j}' for j in range(num_labels)]
  size = int(rng.integers(2, min(4, num_labels) + 1))
  some = rng.permutation(num_labels)[:size].tolist()
  kind = rng.integers(6)
  if kind == 0:
    return rule_set.between(some, None, int(rng.integers(1, size)), names)
  if kind == 1:
    return rule_set.between(some, int(rng.integers(1, size + 1)), None, names)
  if kind == 2:
    return rule_set.forbid(some, names)
  if kind == 3:
    return rule_set.forbid_exactly(some, names)
  if kind == 4:
    return rule_set.require(some[:1], names)
  split = int(rng.integers(1, size))
  literals = [(label, bool(rng.random() < 0.7)) for label in some]
  return rule_set.implies(
    literals[:split], literals[split:], names, every=bool(rng.random() < 0.5)
  )


def keeps(rule, vectors):
  """[vectors] whether they keep a rule, from its terms alone."""
  value = sum(factor * vectors[:, label] for label, factor in rule.terms)
  return (value >= rule.low) & (value <= rule.high)


def possible(rules, num_labels):
  """[2^L] whether a vector keeps all the rules."""
  vectors = every_vector(num_labels)
  kept = [keeps(rule, vectors) for rule in rules]
  return np.all(kept, axis=0) if kept else np.ones(len(vectors), bool)


def smallest_by_force(rules, num_labels):
  """The size of the smallest set of rules that contradicts itself, or None."""
  vectors = every_vector(num_labels)
  kept = np.array([keeps(rule, vectors) for rule in rules])
  for size in range(1, len(rules) + 1):
    for some in itertools.combinations(range(len(rules)), size):
      if not kept[list(some)].all(axis=0).any():
        return size
  return None


@pytest.fixture(scope='session')
def brute():
  """Random rules, and what they allow by looking at every label vector."""

  class Brute:
    vectors = staticmethod(every_vector)
    rule = staticmethod(random_rule)
    possible = staticmethod(possible)
    smallest = staticmethod(smallest_by_force)

    @staticmethod
    def satisfiable(rng, num_labels, count):
      """`count` rules or fewer that some vector keeps."""
      found = []
      for _ in range(count):
        more = [*found, random_rule(rng, num_labels)]
        if possible(more, num_labels).any():
          found = more
      return found

  return Brute


@pytest.fixture(scope='session')
def random_rules(brute):
  """(rng, num_labels, sets, size) -> rule sets, and [sets, 2^L] allowed."""

  def make(rng, num_labels, sets, size):
    found = [brute.satisfiable(rng, num_labels, size) for _ in range(sets)]
    return found, np.stack([possible(rules, num_labels) for rules in found])

  return make
