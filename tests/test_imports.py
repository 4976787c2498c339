"""Who may import whom, what `import mfpde` loads, and what is packaged."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mfpde

PACKAGE = Path(mfpde.__file__).parent

# A module imports from lower layers only. A layer is a list of rooms, and a room one
# module, one package (with a star), or several of them that belong together: among the
# modules of one room the order is free as long as there is no cycle.
LAYERS = [
    [
        "differences digits environment errors lazy_names mfpde paths streams "
        "arrays describe fields options plugins progress shipped signals sizes",
    ],
    ["kernels.*"],
    [
        *(
            "blocks.* clipping losses problem readouts",
            "data.*",
            "depth scales schedules",
            "engine.*",
        ),
        *("executors.*", "figures", "snapshots", "storage.*", "waiting"),
    ],
    ["ensemble laws.*", "steppers.*"],
    ["evaluation gradients ledger"],
    ["networks.*", "recording", "references.*"],
    ["run.*"],
    ["analysis.*", "config.*", "limit.*", "plotting.*", "theory.*"],
    ["report.*", "studies.*"],
    ["papers.*", "protocols"],
    ["__main__ cli commands.*"],
]
# Where modules are imported by name, late, so that a start is quick: names of the
# package by need (PEP 562), the command that was called, and optional packages.
LATE = {"cli", "describe", "lazy_names", "plugins", "progress", "run.stored"}


def modules():
    """Module name, without the package's, to its syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        name = ".".join(parts) or "mfpde"
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def imports_of(tree):
    """(module, node) for every import statement of our own, also conditional ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            # `from package import module` is an import of the module.
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if _ours(n) in MODULES else node.module for n in below]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "mfpde":
                yield _ours(name), node


def _ours(name):
    return name.removeprefix("mfpde.")


ROOMS = {name: room for layer in LAYERS for room in layer for name in room.split()}


def group_of(module):
    """The room that a module belongs to, by its name or that of the nearest package."""
    parts = module.split(".")
    packages = [".".join(parts[:n]) + ".*" for n in range(len(parts), 0, -1)]
    known = (name for name in [module, *packages] if name in ROOMS)
    return ROOMS.get(next(known, ""), module)


def layer_of(module):
    group = group_of(module)
    found = [i for i, layer in enumerate(LAYERS) if group in layer]
    assert found, f"{module} stands in no layer: give it one"
    return found[0]


EDGES = sorted(
    {(name, used) for name, tree in MODULES.items() for used, _ in imports_of(tree)}
)


def test_every_module_has_a_layer_and_every_layer_a_module():
    assert {group_of(module) for module in MODULES} == set(ROOMS.values())
    assert len(LAYERS) <= 12
    packages = {parent for name in MODULES for parent in [name, f"{name}.*"]}
    assert set(ROOMS) <= packages


def test_imports_point_down():
    wrong = [
        f"{name} imports {used}"
        for name, used in EDGES
        if group_of(name) != group_of(used) and layer_of(used) >= layer_of(name)
    ]
    assert not wrong


def test_there_is_no_cycle():
    """Also not among the modules of one package."""
    below = {name: {used for n, used in EDGES if n == name} for name in MODULES}
    while below:
        free = {name for name, used in below.items() if not used & below.keys()}
        assert free, f"a cycle among {sorted(below)}"
        below = {name: used for name, used in below.items() if name not in free}


def test_no_imports_of_our_own_inside_functions():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    wrong = []
    for module, tree in MODULES.items():
        nodes = list(ast.walk(tree))
        lines = {
            node.lineno
            for function in nodes
            if isinstance(function, functions)
            for _, node in imports_of(function)
        }
        if module not in LATE:
            lines |= {
                node.lineno
                for node in nodes
                if isinstance(node, ast.Attribute) and node.attr == "import_module"
            }
        wrong += [f"{module}, line {line}" for line in sorted(lines)]
    assert not wrong


def test_the_exact_references_know_nothing_of_what_they_check():
    ours = "references.exact"
    used = {used for name, used in EDGES if name.startswith(ours)}
    assert {name for name in used if not name.startswith(ours)} == {"arrays", "errors"}


def test_the_check_sees_an_import_that_points_up():
    """The rules above can fail."""
    tree = ast.parse(
        "def f():\n    from mfpde.run import solver\nimport mfpde.cli as c\n"
    )
    assert {name for name, _ in imports_of(tree)} == {"run.solver", "cli"}
    assert layer_of("run.solver") > layer_of("evaluation") > layer_of("kernels.sweep")
    assert layer_of("commands.run") == layer_of("commands.info")


def loaded_after(statement):
    """Top-level packages that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{n.split('.')[0] for n in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"numba", "llvmlite", "scipy", "matplotlib", "h5py", "numpy", "tqdm", "xarray"}


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import mfpde; dir(mfpde); mfpde.__version__") & HEAVY


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import mfpde.cli; mfpde.cli.make_parser()", HEAVY),
        ("import mfpde.laws, mfpde.data, mfpde.ensemble", {"numba", "matplotlib"}),
        ("import mfpde.references.exact", {"numba", "matplotlib", "h5py"}),
        ("import mfpde.storage", {"numba", "matplotlib", "scipy"}),
        ("import mfpde; mfpde.open_run", {"numba", "matplotlib", "scipy"}),
        ("import mfpde.run.solver", {"matplotlib", "tqdm", "xarray"}),
        ("import mfpde.analysis", {"matplotlib", "ot", "xarray"}),
    ],
)
def test_modules_load_no_more_than_they_need(statement, absent):
    loaded = loaded_after(statement)
    assert "mfpde" in loaded
    assert not loaded & absent


def test_every_public_name_is_there():
    for name in mfpde.__all__:
        assert getattr(mfpde, name) is not None
    assert set(mfpde.__all__) <= set(dir(mfpde))
    assert len(mfpde.__all__) == len(set(mfpde.__all__))
    with pytest.raises(AttributeError, match="module 'mfpde' has no attribute 'solv'"):
        mfpde.solv  # noqa: B018


def test_a_name_stays_what_it_is_when_modules_are_imported():
    """A submodule that is imported becomes an attribute, before `__getattr__`."""
    submodules = {path.stem for path in PACKAGE.iterdir()}
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                assert alias.name not in submodules
                first = getattr(mfpde, alias.name)
                module = importlib.import_module(node.module)
                assert (
                    getattr(mfpde, alias.name) is first is getattr(module, alias.name)
                )
                assert not inspect.ismodule(first)


def test_there_are_at_most_forty_names():
    assert len(mfpde.__all__) <= 40


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    assert {path.parent for path in PACKAGE.rglob("*.py")} == folders
