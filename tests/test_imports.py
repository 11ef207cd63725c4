"""Allowed imports between folders: dependencies go one way, and no files import each other in a cycle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("foundation", "ingest", "finetune")
EVERYWHERE = {"foundation.version", "foundation.common"}
DATA = {"foundation.store", "foundation.data"}
LEARNING = DATA | {"foundation.models", "foundation.objectives", "foundation.evaluation"}

# folder -> the other folders that its files may import, in addition to those of `EVERYWHERE`
ALLOWED: dict[str, set[str]] = {
    # `import foundation` exports names of all folders, and `python -m foundation` is the command
    "foundation": {
        "foundation.cli",
        "foundation.data",
        "foundation.embedding",
        "foundation.hub",
        "foundation.models",
        "foundation.store",
        "foundation.training",
        "finetune",
        "finetune.heads",
        "finetune.report",
        "ingest",
        "ingest.nwb",
        "ingest.run",
        "ingest.simulate",
    },
    "foundation.common": {"foundation.version"},
    "foundation.store": set(),
    "foundation.interop": {"foundation.store"},
    "foundation.catalog": {"foundation.store"},
    "foundation.data": {"foundation.store"},
    "foundation.evaluation": set(),
    "foundation.models": DATA,
    "foundation.objectives": DATA | {"foundation.models"},
    "foundation.hub": {"foundation.models"},
    "foundation.embedding": DATA | {"foundation.models", "foundation.hub"},
    "foundation.training": LEARNING | {"foundation.hub", "foundation.embedding"},
    "foundation.cost_model": LEARNING | {"foundation.training"},
    "foundation.sweep": LEARNING | {"foundation.training"},
    "foundation.cli": set(),  # names functions of all folders by strings, and imports the one that is called
    "ingest.recipe": {"foundation.store"},
    "ingest.quality": {"foundation.store", "ingest.recipe"},
    "ingest.nwb": {"foundation.store", "ingest.recipe", "ingest.quality"},
    "ingest.sources": {"foundation.store", "ingest.nwb"},
    "ingest.run": {
        "foundation.store",
        "ingest.recipe",
        "ingest.quality",
        "ingest.nwb",
        "ingest.sources",
        "ingest.sorting",
        "ingest",
    },
    "ingest.simulate": {"ingest.nwb"},
    "ingest.sorting": LEARNING | {"ingest.recipe", "ingest.quality", "ingest.nwb", "ingest.sources", "ingest.simulate"},
    "ingest": {"foundation.store", "ingest.recipe", "ingest.quality", "ingest.nwb", "ingest.sources", "ingest.run"},
    "finetune.tasks": LEARNING | {"foundation.embedding", "finetune"},
    "finetune.heads": LEARNING
    | {"foundation.embedding", "foundation.hub", "foundation.interop", "finetune", "finetune.tasks"},
    "finetune.report": LEARNING | {"foundation.hub", "foundation.embedding", "finetune", "finetune.tasks"},
    "finetune.packing": LEARNING | {"foundation.hub", "finetune", "finetune.report"},
    "finetune.benchmark": LEARNING
    | {"foundation.hub", "finetune", "finetune.heads", "finetune.report", "finetune.reproduce", "finetune.tasks"},
    "finetune.reproduce": LEARNING
    | {
        "foundation.embedding",
        "foundation.hub",
        "foundation.training",
        "finetune",
        "finetune.tasks",
        "finetune.heads",
    },
    "finetune": LEARNING
    | {
        "foundation.embedding",
        "foundation.hub",
        "foundation.training",
        "finetune.tasks",
        "finetune.heads",
        "finetune.report",
    },
}


def modules() -> dict[str, Path]:
    """Return every module of the three packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """Return the folder group of a module: its package and the folder below it."""
    parts = module.split(".")
    is_folder = MODULES[module].name == "__init__.py"
    return ".".join(parts[:2]) if len(parts) > 2 or (is_folder and len(parts) == 2) else parts[0]


def imported(module: str) -> set[str]:
    """Return our modules that a module imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            wholes = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {whole if whole in MODULES else node.module for whole in wholes}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES} - {module}


ARROWS = {module: imported(module) for module in MODULES}


def test_every_folder_is_listed():
    assert {room_of(module) for module in MODULES} - {"foundation.version"} == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_folders_import_only_lower_folders(room):
    known = EVERYWHERE | {room} | ALLOWED[room]
    wrong = [
        f"{module} imports {target}"
        for module in MODULES
        if room_of(module) == room
        for target in sorted(ARROWS[module])
        if room_of(target) not in known and target not in known
    ]
    assert not wrong


def test_no_import_cycles_between_files():
    """``__init__`` files are left out: they re-export lower names lazily."""
    graph = {
        module: {target for target in ARROWS[module] if MODULES[target].name != "__init__.py"}
        for module in MODULES
        if MODULES[module].name != "__init__.py"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_no_import_cycles_between_folders():
    """Single files at the top of `ingest` and `finetune` (settings, jobs) are both above and below their folders."""
    rooms = {room: {r for r in ALLOWED[room] if r not in PACKAGES} for room in ALLOWED if room not in PACKAGES}
    TopologicalSorter(rooms).prepare()
