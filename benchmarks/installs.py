"""Install the wheel into new environments and try it in each: every extra alone and all together, on each Python.

Writes results/installs/installs.jsonl and docs/results/installs.md:

    make dist
    python benchmarks/installs.py --wheel dist/*.whl --pythons python3.11 python3.12 python3.13

Environments are made one after the other and deleted after use; those with a result are left out. uv installs each
extra with the versions of constraints.txt. On the first Python pip does so for all extras, and uv once more with the
newest versions that fit. ``--links`` names a folder of wheels that are taken before those of the index, such as a
PyTorch without CUDA. ``--resolve`` only finds versions, ``--image`` builds and tries the image of infra/docker, and
``--page`` only renders the page again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness import Page
from packaging.utils import canonicalize_name

from foundation.cli.commands import COMMANDS
from foundation.common.files.jsonl_results import put_result, read_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results/installs/installs.jsonl"
IMAGES = ROOT / "results/installs/images.jsonl"
RESOLVED = ROOT / "results/installs/resolved.jsonl"
PAGE = ROOT / "docs/results/installs.md"
NAME = "neural-foundation"
KEY = ("python", "extra", "installer", "versions")
DEVELOPMENT = ("bench", "dev", "docs")  # extras that users do not install
TRIED_IN_IMAGE = (
    ["foundation", "--version"],
    ["foundation", "doctor", "--extras", "[ingest,train,finetune]"],
    ["foundation", "simulate", "izhikevich", "--config", "simulate/demo", "--networks", "1", "--output", "nwb"],
    ["foundation", "ingest", "--input", "nwb", "--store", "store", "--workers", "1"],
    ["ray", "--version"],
    ["mlflow", "--version"],
)
VERSION = "import platform; print(platform.python_version())"
THREE_LINES = """
import sys
import foundation

model = foundation.load_model("eit-tiny")
table = model.embed(foundation.read_nwb(sys.argv[1]))
print(f"a table of {table.num_rows} units")
"""
IMPORTING = """
import json
from foundation.cli.commands import COMMANDS, _load
found = {}
for name, command in COMMANDS.items():
    try:
        _load(command.function)
        found[name] = [command.extra, ""]
    except Exception as error:
        found[name] = [command.extra, f"{type(error).__name__}: {error}"]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Case:
    """One environment.

    Args:
        python: the interpreter.
        extra: ``none`` or the name of an extra.
        installer: ``uv`` or ``pip``.
        versions: ``constraints`` or ``newest``.
    """

    python: str
    extra: str
    installer: str = "uv"
    versions: str = "constraints"


def extras() -> dict[str, set[str]]:
    """Return the extras for users, each with those that it holds."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    held = {"none": set()}
    for name, lines in found.items():
        if name in DEVELOPMENT:
            continue
        others = [line.partition("[")[2].partition("]")[0].split(",") for line in lines if line.startswith(f"{NAME}[")]
        held[name] = {name, *(other for group in others for other in group)}
    return {name: names | {inner for other in names for inner in held.get(other, ())} for name, names in held.items()}


def run(command: list[str], environment: dict[str, str], folder: Path, seconds: int = 1500) -> dict:
    """Run a command; return its status, seconds and output."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=folder, timeout=seconds
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        status, out, err = -1, "", f"no end after {seconds} s"
    return {"status": status, "seconds": round(time.perf_counter() - began, 2), "out": out, "err": err}


def last_line(done: dict) -> str:
    """Return what a command printed last."""
    lines = [line for line in (done["out"] if done["status"] == 0 else done["err"]).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return int(subprocess.check_output(["du", "-sb", str(folder)], text=True).split()[0])


def try_case(case: Case, wheel: Path, nwb: Path, uv: str, links: str, work: Path) -> dict:
    """Make an environment, try the wheel in it, delete it, and return what was found."""
    place, empty, home = work / "environment", work / "empty", work / "home"
    for folder in (place, empty, home):
        shutil.rmtree(folder, ignore_errors=True)
    empty.mkdir()
    home.mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("FOUNDATION", "PYTHONPATH"))}
    # Compiled code is kept for the next environment of this Python, which lies at the same place.
    compiled = {
        n: str(work / f"{case.python.replace('/', '-')}-{n}") for n in ("PYTHONPYCACHEPREFIX", "NUMBA_CACHE_DIR")
    }
    tried = plain | compiled | {"HOME": str(home)}
    python = place / "bin/python"
    what = str(wheel) if case.extra == "none" else f"{wheel}[{case.extra}]"
    options = ["--find-links", links] if links else []
    options += ["-c", str(ROOT / "constraints.txt")] if case.versions == "constraints" else []
    if case.installer == "uv":
        make = [uv, "venv", "-q", "--python", case.python, str(place)]
        install = [uv, "pip", "install", "-q", "--python", str(python), *options, what]
        check = [uv, "pip", "check", "--python", str(python)]
        listing = [uv, "pip", "list", "--format", "json", "--python", str(python)]
    else:
        make = [case.python, "-m", "venv", str(place)]
        install = [str(python), "-m", "pip", "install", "-q", *options, what]
        check = [str(python), "-m", "pip", "check"]
        listing = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    try:
        made = run(make, plain, empty)
        version = run([str(python), "-c", VERSION], plain, empty)["out"]
        result = {
            "python": version.strip() or case.python,
            "extra": case.extra,
            "installer": case.installer,
            "versions": case.versions,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        done = run(install, plain, empty) if made["status"] == 0 else made
        result["install"] = {"status": done["status"], "seconds": done["seconds"], "last_line": last_line(done)}
        if done["status"] != 0:
            return result
        packages = {each["name"]: each["version"] for each in json.loads(run(listing, plain, empty)["out"])}
        result["packages"], result["bytes"] = packages, size(place)
        result["check"] = _short(run(check, plain, empty))
        result["import"] = _short(
            run([str(python), "-c", "import foundation; print(foundation.__version__)"], tried, empty)
        )
        command = str(place / "bin/foundation")
        result["help"] = _short(run([command, "--help"], tried, empty))
        needed = [] if case.extra in ("none", "all") else ["--extras", f"[{case.extra}]"]
        needed = ["--extras", f"[{','.join(sorted(extras()['all'] - {'all'}))}]"] if case.extra == "all" else needed
        # The functions of all commands are imported below; the doctor imports each package only where all are there.
        needed += [] if case.extra == "all" else ["--imports", "false"]
        doctor = run([command, "doctor", "--json", *needed], tried, empty)
        result["doctor"] = {"status": doctor["status"], "seconds": doctor["seconds"]}
        found = json.loads(doctor["out"])["findings"] if doctor["out"].startswith("{") else []
        result["doctor"]["findings"] = [f for f in found if f["state"] in ("broken", "warning")] or last_line(
            doctor
        ) * (not found)
        result["doctor"]["notes"] = [f["subject"] for f in found if f["state"] == "note"]
        result["lines"] = _short(
            run([str(python), "-c", THREE_LINES, str(nwb)], tried | {"FOUNDATION_OFFLINE": "1"}, empty)
        )
        loaded = run([str(python), "-c", IMPORTING], tried, empty)
        result["commands"] = json.loads(loaded["out"]) if loaded["status"] == 0 else last_line(loaded)
        return json.loads(json.dumps(result).replace(str(place), "<environment>").replace(str(work), "<work>"))
    finally:
        if place.exists():
            old = place.rename(place.with_name(f"old-{time.time_ns()}"))
            subprocess.Popen(["rm", "-rf", str(old)])  # meanwhile the next environment is made


def _short(done: dict) -> dict:
    return {"status": done["status"], "seconds": done["seconds"], "last_line": last_line(done)}


def resolve(case: Case, wheel: Path, uv: str, links: str) -> dict:
    """Find the versions that an installation would get, without installing them."""
    what = f"{NAME}{'' if case.extra == 'none' else f'[{case.extra}]'} @ {wheel.as_uri()}"
    options = ["--find-links", links] if links else []
    options += ["-c", str(ROOT / "constraints.txt")] if case.versions == "constraints" else []
    command = [uv, "pip", "compile", "-q", "-", "--python", case.python, "--no-annotate", "--no-header", *options]
    done = subprocess.run(command, input=what, capture_output=True, text=True, check=False)
    version = subprocess.check_output([case.python, "-c", VERSION], text=True).strip()
    lines = [line for line in done.stdout.splitlines() if "==" in line]
    last = " ".join(done.stderr.split())[:300] if done.returncode else ""
    result: dict = {"python": version, "extra": case.extra, "installer": "uv", "versions": case.versions}
    result |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "last_line": last, "count": len(lines)}
    return result | ({"packages": lines} if case.extra == "all" else {})


def try_image(builder: list[str], base: str, note: str) -> dict:
    """Build the image of infra/docker with buildah and run commands in it.

    Args:
        builder: the ``buildah`` command with its own options.
        base: image to build on.
        note: what the base is, for the page.
    """
    environment, name = dict(os.environ), "foundation-tried"
    build = ["bud", "--isolation", "chroot", "--build-arg", f"BASE={base}", "-f", "infra/docker/Dockerfile"]
    done = run([*builder, *build, "-t", "foundation", "."], environment, ROOT, 3000)
    version = run([*builder, "--version"], environment, ROOT)["out"].split()[:3]
    result = {
        "base": note or base,
        "builder": " ".join(version).replace(" version", ""),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "build": {"status": done["status"], "seconds": done["seconds"], "last_line": last_line(done)},
        "tried": {},
    }
    if done["status"] == 0:
        run([*builder, "from", "--name", name, "localhost/foundation"], environment, ROOT)
        for words in TRIED_IN_IMAGE:
            found = run([*builder, "run", "--isolation", "chroot", name, "--", *words], environment, ROOT)
            result["tried"][" ".join(words)] = _short(found)
        run([*builder, "rm", name], environment, ROOT)
    return result


def simulated_file(work: Path) -> Path:
    """Return an NWB file of a simulated network, made here."""
    small = ["--networks", "1", "--neurons", "20", "--seconds", "30", "--wake", "20", "--nrem", "6", "--rem", "4"]
    command = [sys.executable, "-m", "foundation", "simulate", "izhikevich", "--config", "simulate/demo", *small]
    subprocess.run([*command, "--output", str(work / "nwb")], check=True, capture_output=True)
    return next((work / "nwb").rglob("*.nwb"))


def worked(result: dict) -> list[str]:
    """Return what failed in an environment: empty if everything worked."""
    failed = [
        name for name in ("install", "check", "import", "help", "doctor") if result.get(name, {"status": 1})["status"]
    ]
    failed += [] if lines_text(result)[1] else ["three lines"]
    return failed + [f"`{name}`" for name in missing_commands(result)]


def missing_commands(result: dict) -> list[str]:
    """Return the commands that do not import although the environment has the extra that they name."""
    commands = result.get("commands")
    if not isinstance(commands, dict):
        return ["all commands"]
    have = extras()[result["extra"]] | {""}
    now = {name: command.extra for name, command in COMMANDS.items()}
    return [name for name, (extra, error) in commands.items() if error and now.get(name, extra) in have]


def lines_text(result: dict) -> tuple[str, bool]:
    """Return the outcome of the three lines and whether it is right: a table, or an error that names the extra."""
    lines = result.get("lines")
    if lines is None:
        return "not run", False
    if lines["status"] == 0:
        return lines["last_line"], True
    reads = "ingest" in extras()[result["extra"]]
    named = f"{NAME}[ingest]" in lines["last_line"]
    return ("asks for `[ingest]`" if named else lines["last_line"]), named and not reads


def render(command: str) -> None:
    """Write the page from the results."""
    results = read_results(RESULTS)
    page = Page("Installing the wheel", command)
    bad = [result for result in results if worked(result)]
    page.say(
        f"The wheel of version 0.1.0 was installed into {len(results)} new environments, each in an empty folder with "
        "an empty home. In each, `pip check`, `import foundation`, `foundation --help`, `foundation doctor` with the "
        "extra as a requirement, and the [three lines](../start.md#three-lines) were run, and the function of every "
        f"command was imported. {f'{len(bad)} of them' if bad else 'No environment'} failed in any of these."
    )
    page.say(
        "*As tested* are the versions of `constraints.txt`; *newest* are those that the installer chose without it. "
        "Without the extra `ingest` no NWB file can be read, and the three lines ask for it. Seconds were taken on a "
        "busy machine with most packages in the installer's cache, so they do not measure the software."
    )
    moved = sorted(
        f"`{name}` (extra `{extra}` then, `{COMMANDS[name].extra}` now)"
        for name, extra in {(n, e) for r in results for n, (e, _) in r.get("commands", {}).items()}
        if name in COMMANDS and COMMANDS[name].extra != extra
    )
    if moved:
        page.say(
            "These commands asked for an extra that was not enough, which has been fixed since this wheel: "
            f"{', '.join(moved)}."
        )
    rows = []
    for result in sorted(
        results, key=lambda r: (_numbers(r["python"]), r["versions"], r["installer"] == "pip", r["extra"])
    ):
        torch = result.get("packages", {}).get("torch", "-")
        doctor = result.get("doctor")
        commands = result.get("commands", {})
        imported = sum(not error for _, error in commands.values()) if isinstance(commands, dict) else 0
        rows.append(
            [
                result["python"],
                result["extra"],
                f"{result['installer']}, {'as tested' if result['versions'] == 'constraints' else 'newest'}",
                len(result.get("packages", ())),
                torch,
                f"{result.get('bytes', 0) / 1e9:.1f}",
                f"{result['install']['seconds']:.0f}",
                *(
                    f"{result[n]['seconds']:.2f}" if n in result and not result[n]["status"] else "failed"
                    for n in ("import", "help")
                ),
                _doctor(doctor),
                lines_text(result)[0],
                f"{imported} of {len(commands)}",
                ", ".join(worked(result)) or "-",
            ]
        )
    head = [
        "Python",
        "extra",
        "installed by",
        "packages",
        "torch",
        "GB",
        "install, s",
        "import, s",
        "help, s",
        "doctor",
    ]
    page.table([*head, "three lines", "commands", "failed"], rows)
    _problems(page, results)
    _resolved(page)
    _images(page)
    page.not_measured(
        [
            *_missing(results),
            "`infra/docker/compose.yaml` as a whole: it pulls an image of MinIO from a registry, and needs Docker.",
            "macOS, Windows and processors other than x86-64: no such machine was available.",
            "A machine with a GPU: where PyTorch is built for CUDA, it ran on the CPU.",
            "conda, poetry and pdm.",
            "The extras `dev`, `docs` and `bench`, which are for developers: `make install` brings the first two.",
        ]
    )
    page.write(PAGE)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _doctor(doctor: dict | None) -> str:
    if doctor is None:
        return "not run"
    if isinstance(doctor["findings"], str) and doctor["findings"]:
        return doctor["findings"]
    count = {state: sum(f["state"] == state for f in doctor["findings"] or []) for state in ("broken", "warning")}
    parts = [f"{n} {state}" for state, n in count.items() if n] + (
        [f"{len(doctor['notes'])} notes"] if doctor["notes"] else []
    )
    return ", ".join(parts) or "in order"


def _problems(page: Page, results: list[dict]) -> None:
    """Return failures, in the words of the commands, and the warnings of the doctor."""
    texts: dict[str, list[str]] = {}
    for result in results:
        place = f"{result['python']} {result['extra']} ({result['installer']}, {result['versions']})"
        for name in ("install", "check", "import", "help"):
            if result.get(name, {"status": 0})["status"]:
                texts.setdefault(f"{name}: {result[name]['last_line']}", []).append(place)
        for finding in (result.get("doctor") or {}).get("findings") or []:
            if isinstance(finding, dict):
                text = f"doctor, {finding['state']}: {finding['subject']}: {finding['text']}; {finding['mend']}"
                texts.setdefault(text, []).append(place)
        if not lines_text(result)[1] and "lines" in result:
            texts.setdefault(f"three lines: {result['lines']['last_line']}", []).append(place)
        for name in missing_commands(result) if isinstance(result.get("commands"), dict) else []:
            texts.setdefault(f"`foundation {name}`: {result['commands'][name][1]}", []).append(place)
    if texts:
        page.heading("What failed, and warnings")
        page.items(
            f"{text} — {', '.join(places) if len(places) < 4 else f'{len(places)} environments'}"
            for text, places in texts.items()
        )


def _missing(results: list[dict]) -> list[str]:
    """Return the environments that were not tried."""
    pythons = sorted({result["python"] for result in results}, key=_numbers)
    tried = {(result["python"], result["extra"]) for result in results if result["versions"] == "constraints"}
    texts = []
    for extra in extras():
        lacking = [python for python in pythons if (python, extra) not in tried]
        if lacking:
            texts.append(f"{extra} on {', '.join(lacking)}")
    if not texts:
        return []
    why = "for lack of time on a busy machine, although suitable versions exist (above)"
    return [f"Extras not installed alone, {why}: {'; '.join(texts)}."]


def _resolved(page: Page) -> None:
    """Return the extras for which versions were found, on each Python."""
    results = read_results(RESOLVED)
    if not results:
        return
    page.heading("Versions that fit")
    page.say(
        "`uv pip compile` found versions for each extra without installing them. The numbers are packages: with "
        "`constraints.txt`, and the newest."
    )
    pythons = sorted({result["python"] for result in results}, key=_numbers)
    found = {(r["python"], r["extra"], r["versions"]): r["last_line"] or str(r["count"]) for r in results}
    rows = [
        [extra, *(" / ".join(found.get((p, extra, v), "not run") for v in ("constraints", "newest")) for p in pythons)]
        for extra in extras()
    ]
    page.table(["extra", *pythons], rows)
    _newest(page)


def _images(page: Page) -> None:
    """Return how the image of infra/docker was built, and what ran in it."""
    for result in read_results(IMAGES):
        page.heading("The image")
        built = result["build"]
        failed = "" if built["status"] == 0 else f"; it failed: {built['last_line']}"
        page.say(
            f"`infra/docker/Dockerfile` was built on {result['date']} with {result['builder']}, in "
            f"{built['seconds']:.0f} s, on {result['base']}{failed}."
        )
        rows = [[f"`{words}`", done["status"], done["last_line"]] for words, done in result["tried"].items()]
        if rows:
            page.table(["Command in the image", "status", "last line"], rows)


def _newest(page: Page) -> None:
    """Return packages whose newest suitable version differs from constraints.txt."""
    tested = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        tested[canonicalize_name(name)] = version
    rows: dict[tuple[str, ...], list[str]] = {}
    for result in read_results(RESOLVED):
        if result["extra"] != "all" or result["versions"] != "newest":
            continue
        for line in result["packages"]:
            name, version = line.split(";")[0].strip().split("==")
            known = tested.get(canonicalize_name(name), version)
            if version.split("+")[0] != known:
                rows.setdefault((name, known, version), []).append(result["python"])
    page.say(f"The newest versions of all extras differ from `constraints.txt` in {len(rows)} packages:")
    page.table(["package", "as tested", "newest", "on"], [[*row, ", ".join(on)] for row, on in sorted(rows.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--pythons", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--extras", nargs="+", default=list(extras()))
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--links", default="")
    parser.add_argument("--work", type=Path, help="folder for environments; by default one for temporary files")
    parser.add_argument("--resolve", action="store_true", help="only find versions for each extra")
    parser.add_argument("--image", metavar="BASE", help="build the image of infra/docker on this one, and try it")
    parser.add_argument("--builder", default="buildah", help="buildah, with its own options")
    parser.add_argument("--note", default="", help="what the base of the image is, for the page")
    parser.add_argument("--page", action="store_true", help="only render the page")
    given = parser.parse_args()
    command = "python benchmarks/installs.py --wheel dist/*.whl --pythons python3.11 python3.12 python3.13"
    if given.image:
        put_result(IMAGES, try_image(given.builder.split(), given.image, given.note), ("base", "builder"))
    if given.page or given.image:
        render(command)
        return
    if given.wheel is None or not given.wheel.is_file():
        parser.error(f"--wheel is {given.wheel}: expected the file that `make dist` built")
    if given.resolve:
        for case in [
            Case(p, e, "uv", v) for p in given.pythons for e in given.extras for v in ("constraints", "newest")
        ]:
            put_result(RESOLVED, resolve(case, given.wheel.resolve(), given.uv, given.links), KEY)
        render(command)
        return
    # All extras first: that is what most people install. pip and the newest versions are tried on the first Python.
    cases = [Case(python, "all") for python in given.pythons if "all" in given.extras]
    cases += [Case(case.python, "all", *how) for case in cases[:1] for how in (("pip",), ("uv", "newest"))]
    cases += [Case(python, extra) for extra in given.extras if extra != "all" for python in given.pythons]
    done = {tuple(result[name] for name in KEY) for result in read_results(RESULTS)}
    if given.work:
        given.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder)
        nwb = simulated_file(work)
        for case in cases:
            version = subprocess.check_output([case.python, "-c", VERSION], text=True).strip()
            if (version, case.extra, case.installer, case.versions) in done:
                continue
            result = try_case(case, given.wheel.resolve(), nwb, given.uv, given.links, work)
            put_result(RESULTS, result, KEY)
            print(result["python"], case.extra, case.installer, case.versions, worked(result) or "works", flush=True)
    render(command)


if __name__ == "__main__":
    main()
