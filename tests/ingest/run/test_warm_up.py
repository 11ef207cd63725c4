from foundation.common.processes.compiled import compiled
from foundation.store import Store, write_recording
from foundation.store.format.spike_blocks import _count, _cut, _gather
from foundation.store.format.spike_ticks import _fill, _first_wrong
from ingest.quality import unit_quality
from ingest.quality.quality_control import assess
from ingest.recipe.recipe_rules import ControlRules
from ingest.run.worker import compile_loops

LOOPS = (_count, _cut, _gather, _fill, _first_wrong, unit_quality._count)


def test_nothing_is_compiled_after_the_warm_up(tmp_path, make_recording):
    assert type(compiled()(lambda x: x)) is type(_count)
    compile_loops()
    known = [set(loop.signatures) for loop in LOOPS]
    assert all(known)
    store = Store(tmp_path / "store", create=True)
    write_recording(store, assess(make_recording(0, n_units=40, seconds=400.0), ControlRules()))
    assert [set(loop.signatures) for loop in LOOPS] == known
