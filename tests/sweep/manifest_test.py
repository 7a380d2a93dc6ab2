import json

import pytest

from mlc.run_directory import RunDirectory, RunDirectoryError
from mlc.sweep import manifest as manifests
from mlc.sweep.manifest import Manifest, freeze


def config(method='chain', **options) -> dict:
  return {'dataset': 'yeast', 'method': method, 'train': options}


def manifest(*configs: dict) -> Manifest:
  return Manifest(study='dependence', configs=configs)


def test_there_and_back(tmp_path):
  given = manifest(config(width=(1, 2), lr=0.1), config('independent'))
  assert manifests.read(tmp_path) is None
  assert freeze(tmp_path / 'study', given) == []
  assert manifests.read(tmp_path / 'study') == given
  assert given.configs[0]['train']['width'] == [1, 2]
  assert given.run_ids[1].startswith('yeast-independent-')


def test_frozen_twice_is_written_once(tmp_path):
  given = manifest(config(lr=0.1))
  freeze(tmp_path, given)
  before = (tmp_path / manifests.FILE).stat().st_mtime_ns
  assert freeze(tmp_path, manifest(config(lr=0.1))) == []
  assert (tmp_path / manifests.FILE).stat().st_mtime_ns == before
  assert len(list(tmp_path.iterdir())) == 1


def test_the_hash_sees_configs_order_and_study():
  a, b = config(lr=0.1), config(lr=0.2)
  hashes = {
    manifest(a, b).hash,
    manifest(b, a).hash,
    manifest(a).hash,
    Manifest(study='other', configs=(a, b)).hash,
  }
  assert len(hashes) == 4
  assert manifest(a, b).hash == manifest(dict(reversed(a.items())), b).hash


def test_the_same_config_twice_is_refused():
  with pytest.raises(ValueError, match=r'the same config twice: yeast-chain-'):
    manifest(config(lr=0.1), config(lr=0.1))


@pytest.mark.parametrize(
  'damage',
  [
    lambda text: text.replace('0.1', '0.2'),
    lambda text: text.replace('dependence', 'independence'),
    lambda text: text[:-5],
    lambda text: '[]',
    lambda text: '{}',
  ],
)
def test_a_damaged_manifest_is_refused(tmp_path, damage):
  freeze(tmp_path, manifest(config(lr=0.1)))
  path = tmp_path / manifests.FILE
  path.write_text(damage(path.read_text()))
  with pytest.raises(RunDirectoryError, match=r'manifest\.json is damaged'):
    manifests.read(tmp_path)


def begin(tmp_path, config: dict) -> str:
  name = manifest(config).run_ids[0]
  run = RunDirectory(tmp_path / name)
  run.path.mkdir()
  run.config_path.write_text(json.dumps(config))
  return name


def test_begun_runs_with_other_settings_are_named(tmp_path):
  old = config(lr=0.1, seeds=5)
  far = config(lr=0.7, seeds=9)
  freeze(tmp_path, manifest(old, far, config('independent', lr=0.1)))
  near = begin(tmp_path, old)
  begin(tmp_path, far)
  new = manifest(config(lr=0.1, seeds=10), config('independent', lr=0.1))
  (sentence,) = freeze(tmp_path, new)
  assert sentence == (
    f'{new.run_ids[0]} is another run than {near} (partial), which stays: '
    'train.seeds: 5 -> 10'
  )
  assert manifests.read(tmp_path) == new
  kept = tmp_path / f'manifest-{manifest(old, far).hash[:10]}.json'
  assert not kept.exists()
  assert len(list(tmp_path.glob('manifest-*.json'))) == 1
  assert (tmp_path / near).is_dir()


def test_more_methods_or_fewer_are_no_change(tmp_path):
  one, two = config(lr=0.1), config('independent', lr=0.1)
  freeze(tmp_path, manifest(one))
  begin(tmp_path, one)
  assert freeze(tmp_path, manifest(one, two)) == []
  begin(tmp_path, two)
  assert freeze(tmp_path, manifest(two)) == []


def test_what_was_never_begun_may_change_unsaid(tmp_path):
  freeze(tmp_path, manifest(config(lr=0.1)))
  assert freeze(tmp_path, manifest(config(lr=0.2))) == []
