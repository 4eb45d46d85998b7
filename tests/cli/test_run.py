"""A script under ``llmwatch run`` sees, says and ends as it does under ``python``."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmwatch.cli import run as command
from tests.cli.running import Ended, environment, interrupt, invoke, started
from tests.cli.running import run as llmwatch
from tests.cli.times import PATIENCE
from tests.rows import each

PROBE = """
import json, os, signal, sys, threading, traceback
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "cached": [entry for entry in sys.path_importer_cache if "run_site" in entry],
    "name": __name__,
    "file": globals().get("__file__"),
    "spec": getattr(__spec__, "name", None),
    "package": __package__,
    "globals": sorted(globals()),
    "main": vars(sys.modules["__main__"]) is globals(),
    "environ": dict(os.environ),
    "started as": sys.orig_argv,
    "flags": repr(sys.flags),
    "site": "sitecustomize" in sys.modules,
    "stack": traceback.format_stack(),
    "threads": [thread.name for thread in threading.enumerate()],
    "interrupt": repr(signal.getsignal(signal.SIGINT)),
    "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(threading.excepthook)],
    "streams": [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()],
}, indent=1))
"""


def python(*words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes = b"") -> Ended:
    """The same as :func:`tests.cli.running.run`, with Python alone."""
    done = subprocess.run(
        [sys.executable, *words],
        env=environment(env),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def both(
    *words: str,
    options: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> Ended:
    """The end of the script under Python, after a check that its end under the command is the same."""
    alone = python(*options, *words, env=env, cwd=cwd, stdin=stdin)
    if options:
        under = python(*options, "-m", "llmwatch", "run", *words, env=env, cwd=cwd, stdin=stdin)
    else:
        under = llmwatch("run", *words, env=env, cwd=cwd, stdin=stdin)
    assert under == alone
    return alone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a script, a package and a zip file that say all that they can see."""
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    return tmp_path


SCRIPTS = [
    pytest.param(("probe.py",), id="script"),
    pytest.param(("probe.py", "--quiet", "-q", "-h", "--help", "--", "-m", "it's", "ö"), id="arguments"),
    pytest.param(("./package/../probe.py", ""), id="path"),
    pytest.param(("-m", "probe", "--quiet", "-m", "x"), id="module"),
    pytest.param(("-mprobe", "-q"), id="module in a word"),
    pytest.param(("-m", "package", "--version"), id="package"),
    pytest.param(("package", "x"), id="folder"),
    pytest.param(("zipped.zip", "x"), id="zip"),
    pytest.param(("-c", PROBE, "-m", "x"), id="code"),
]


@pytest.mark.parametrize("words", SCRIPTS)
def test_what_a_script_sees(folder: Path, words: tuple[str, ...]) -> None:
    """Arguments, path, environment, stack, ``__main__`` and all else are those that Python gives."""
    ended = both(*words, cwd=folder)
    assert (ended.code, ended.err) == (0, "")
    assert '"argv"' in ended.out


@each("options, quiet", [((), False), (("--",), False), (("-q",), True), (("-q", "--"), True), (("--quiet",), True)])
@each("words", SCRIPTS)
def test_the_same_is_started_with_dashes_and_without(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], options: tuple[str, ...], quiet: bool
) -> None:
    """The script, its arguments and its variables are the same with and without ``--``.

    They are the same behind the command's own options.
    """
    begun: list[tuple[str, list[str], dict[str, str]]] = []

    def execve(path: str, argv: list[str], env: dict[str, str]) -> None:
        begun.append((path, argv, env))
        raise OSError(errno.ENOENT, "not now")

    monkeypatch.setattr(os, "execve", execve)
    assert invoke("run", *options, *words).code == 2
    ((path, argv, env),) = begun
    assert (path, argv) == (sys.executable, [sys.executable, *words])
    assert json.loads(env["_LLMWATCH_RUN"])["quiet"] is quiet


def test_a_dash_runs_the_script_from_standard_input(folder: Path) -> None:
    """``-`` runs what comes in, and no argument at all is no script."""
    assert both("-", "x", cwd=folder, stdin=PROBE.encode()).code == 0
    assert llmwatch("run", stdin=PROBE.encode()).code == 2


def test_standard_input_is_left_to_the_script(tmp_path: Path) -> None:
    """The command reads no standard input before the script."""
    (tmp_path / "reads.py").write_text("import sys; print(sys.stdin.read())")
    assert both("reads.py", cwd=tmp_path, stdin=b"words\n" * 10_000).out == "words\n" * 10_000 + "\n"


@pytest.mark.parametrize(
    "options",
    [("-X", "dev", "-W", "error", "-u", "-OO", "-s"), ("-W", "ignore", "-Pb")],
    ids=lambda options: " ".join(options),
)
def test_options_before_m_llmwatch_hold_for_the_script(folder: Path, options: tuple[str, ...]) -> None:
    """Python's options before ``-m llmwatch`` hold for the script."""
    assert both(*(("probe.py",) if "-Pb" in options else ("-m", "probe")), options=options, cwd=folder).code == 0


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-m", "llmwatch"], []),
        (["-X", "dev", "-m", "llmwatch"], ["-X", "dev"]),
        (["-W", "error", "-OO", "-m", "llmwatch"], ["-W", "error", "-OO"]),
        (["-Im", "llmwatch"], ["-I"]),
        (["-u", "-mllmwatch"], ["-u"]),
        (["-s", "/usr/bin/llmwatch"], []),
        (["/usr/bin/llmwatch"], []),
        (["-m", "coverage", "run", "-m", "llmwatch"], []),
        (["profiler.py", "-m", "llmwatch"], []),
        ([], []),
    ],
)
def test_only_options_typed_by_the_user_are_passed_on(words: list[str], options: list[str]) -> None:
    """Options that the user typed are Python's.

    Those in the first line of a console script concern llmwatch alone.
    """
    assert command._python_options([*words, "run", "-m", "llmwatch"], 3) == options


def test_a_console_script_keeps_its_options_to_itself(folder: Path) -> None:
    """``-P`` in its first line would hide the modules that lie beside a script."""
    console = folder / "llmwatch-console"
    console.write_text("import re, sys\nfrom llmwatch.cli import main\nmain()\n")
    (folder / "imports.py").write_text("import sys, package; print(sys.flags.isolated, sys.path[0])")
    done = python("-I", str(console), "run", str(folder / "imports.py"))
    assert (done.code, done.out, done.err) == (0, f"0 {folder}\n", "")


@pytest.mark.parametrize("theirs", [None, "", f"one{os.pathsep}two"])
def test_pythonpath_is_what_it_was(folder: Path, theirs: str | None) -> None:
    """The script and its children find modules in the same places as without the command."""
    env = {} if theirs is None else {"PYTHONPATH": theirs}
    before = os.environ.pop("PYTHONPATH", None)
    try:
        assert both("probe.py", env=env, cwd=folder).code == 0
    finally:
        if before is not None:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def site(folder: Path) -> dict[str, str]:
    """Variables by which a ``sitecustomize`` is found, and a script that says which one it sees."""
    (folder / "site").mkdir()
    (folder / "says.py").write_text(
        "import sys; site = sys.modules.get('sitecustomize');"
        "print(getattr(sys, 'here', None), getattr(site, '__file__', None))"
    )
    return {"PYTHONPATH": str(folder / "site")}


def test_a_sitecustomize_of_the_machine_is_loaded(folder: Path, site: dict[str, str]) -> None:
    """The machine's own sitecustomize runs as under Python, and is the one that the script can import."""
    (folder / "site" / "sitecustomize.py").write_text("import sys; sys.here = 'theirs'")
    ended = both("says.py", env=site, cwd=folder)
    assert ended == Ended(0, f"theirs {folder / 'site' / 'sitecustomize.py'}\n")
    both("probe.py", env=site, cwd=folder)


@pytest.mark.parametrize("theirs", ["raise RuntimeError('theirs')", "import none_such", "1 +"])
def test_a_sitecustomize_of_the_machine_fails_in_its_own_way(folder: Path, site: dict[str, str], theirs: str) -> None:
    """Python says that it failed, and the script runs, and is watched."""
    (folder / "site" / "sitecustomize.py").write_text(theirs)
    alone = python("says.py", env=site, cwd=folder)
    assert alone.err.startswith("Error in sitecustomize; ")
    with (folder / "says.py").open("a") as says:
        says.write("\nimport requests; print(requests.Session().get_adapter('http://any').__class__.__module__)")
    ended = llmwatch("run", str(folder / "says.py"), env=site)
    # Once for the command, which is a Python too, and once for the script.
    assert (ended.code, ended.err) == (0, alone.err * 2)
    assert ended.out.startswith("None None\nllmwatch.session.")


@pytest.mark.parametrize("code", ["0", "300", "None", "True", "'words'", "(1, 'two')"])
def test_sys_exit_ends_as_under_python(tmp_path: Path, code: str) -> None:
    """``sys.exit`` with any argument ends as under Python."""
    (tmp_path / "exits.py").write_text(f"import sys; sys.exit({code})")
    both("exits.py", cwd=tmp_path)


@pytest.mark.parametrize(
    "program",
    [
        "def one():\n    raise ValueError('ö')\none()",
        "try:\n    1 / 0\nexcept Exception as error:\n    raise KeyError('b') from error",
        "def (",
        "import none_such",
        "import sys\nsys.excepthook = lambda *seen: print(*seen[:2])\n1 / 0",
        "import signal\nsignal.raise_signal(signal.SIGINT)",
        "import threading\nthreading.Thread(target=lambda: 1 / 0).start()",
        "def deeper():\n    deeper()\ndeeper()",
        "import warnings; warnings.warn('twice', stacklevel=2)",
        "import asyncio\nasync def one():\n    raise OSError\nasyncio.run(one())",
    ],
    ids=["error", "chain", "syntax", "import", "hook", "interrupt", "thread", "recursion", "warning", "asyncio"],
)
def test_a_traceback_is_that_of_python(tmp_path: Path, program: str) -> None:
    """A traceback has the lines that it has under Python, and no other."""
    (tmp_path / "fails.py").write_text(program)
    assert "llmwatch" not in both("fails.py", cwd=tmp_path).err


def test_the_traceback_of_a_module(tmp_path: Path) -> None:
    """Python shows its own ``runpy`` above a module, and nothing else is shown here either."""
    (tmp_path / "fails.py").write_text("1 / 0")
    assert "runpy" in both("-m", "fails", cwd=tmp_path).err


@pytest.mark.parametrize("words", [("none-such.py",), ("-m", "none_such"), (".",), ("-m", "json.none"), ("",)])
def test_a_missing_script_is_refused_by_python(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A script or module that is not there is refused by Python, in its words and with its exit code."""
    ended = both(*words, cwd=tmp_path)
    assert ended.code in (1, 2)
    if words == ("none-such.py",):
        assert ended.code == 2
        assert re.search(r"can't open file .*none-such\.py", ended.err)


def test_threads_and_exit_handlers_end_as_under_python(tmp_path: Path) -> None:
    """Threads are waited for, then exit handlers run, in the order and with the exit code of Python."""
    (tmp_path / "ends.py").write_text(
        textwrap.dedent(
            """
            import atexit, sys, threading

            def work():
                main.join()  # over, but for what waits for this thread
                print("thread", flush=True)

            main = threading.main_thread()
            atexit.register(print, "last")
            atexit.register(print, "first")
            threading.Thread(target=work).start()
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            sys.exit(7)
            """
        )
    )
    assert both("ends.py", cwd=tmp_path) == Ended(7, "thread\nfirst\nlast\n")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_import_the_script(tmp_path: Path, method: str) -> None:
    """Children import the script as ``__mp_main__`` where Python does so.

    The import has the script's own path and environment.
    """
    (tmp_path / "parent.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, sys

            def child(number):
                return number, __name__, __file__, sys.argv, sys.path, dict(os.environ)

            if __name__ == "__main__":
                with multiprocessing.get_context({method!r}).Pool(1) as pool:
                    print(pool.map(child, [1, 2]))
            """
        )
    )
    ended = both("parent.py", "--quiet", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert ("__mp_main__" in ended.out) == (method != "fork")


INTERRUPTED = """
import sys, threading
try:
    print("ready", flush=True)
    threading.Event().wait(60)
except KeyboardInterrupt:
    if "handles" in sys.argv:
        sys.exit(9)
    raise
"""


@pytest.mark.parametrize("words", [(), ("handles",)])
def test_ctrl_c_is_raised_in_the_script(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The script sees ``KeyboardInterrupt`` where it stands.

    Unhandled it ends the process as it ends Python.
    """
    script = str(tmp_path / "waits.py")
    Path(script).write_text(INTERRUPTED)
    ends = []
    for program in ([sys.executable], [sys.executable, "-m", "llmwatch", "run"]):
        with subprocess.Popen(
            [*program, script, *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            ends.append(interrupt(process))
    # The line of the interrupt may differ; test_a_traceback_is_that_of_python compares the whole text.
    alone, under = ((end.code, end.out, end.err.splitlines()[:1], end.err.splitlines()[-1:]) for end in ends)
    assert under == alone
    assert under[0] == (9 if words else -signal.SIGINT)
    assert under[3] == ([] if words else ["KeyboardInterrupt"])


SEAM = """
import llmwatch.hooks
def install(**given):
    {does}
llmwatch.hooks.install = install
"""


def with_install(tmp_path: Path, does: str) -> dict[str, str]:
    """Variables for a process in which ``install`` does something else: a ``sitecustomize`` sees to that."""
    (tmp_path / "seam").mkdir()
    (tmp_path / "seam" / "sitecustomize.py").write_text(SEAM.format(does=does))
    (tmp_path / "script.py").write_text("print('the script runs')")
    return {"PYTHONPATH": str(tmp_path / "seam")}


def test_ctrl_c_before_the_script_ends_at_once(tmp_path: Path) -> None:
    """Before the script begins, Ctrl-C ends the interpreter at once and without a message."""
    env = with_install(tmp_path, "print('ready', flush=True); import threading; threading.Event().wait(60)")
    with started("run", str(tmp_path / "script.py"), env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert interrupt(process) == Ended(-signal.SIGINT, "", "")


def test_a_failure_before_the_script_runs_no_script(tmp_path: Path) -> None:
    """A failure before the script ends the process with a traceback, and the script does not begin."""
    env = with_install(tmp_path, "raise RuntimeError('it broke')")
    ended = llmwatch("run", str(tmp_path / "script.py"), env=env)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert ended.err.endswith("RuntimeError: it broke\nllmwatch: the script was not started.\n")


def test_a_config_error_of_install_is_one_line(tmp_path: Path) -> None:
    """A ``ConfigError`` is reported in one line, with its exit code."""
    env = with_install(tmp_path, "import llmwatch; raise llmwatch.ConfigError('It is invalid.', field='x')")
    ended = llmwatch("run", str(tmp_path / "script.py"), env=env)
    assert ended == Ended(2, "", "llmwatch: It is invalid.\n")


@pytest.mark.parametrize(("quiet", "given"), [((), ["sinks"]), (("-q", "--"), [])])
def test_install_is_called_once_with_the_summary_sink(tmp_path: Path, quiet: tuple[str, ...], given: list[str]) -> None:
    """``install`` is called once, with a sink for the summary if there is to be one.

    All else is the environment's.
    """
    env = with_install(tmp_path, "print(sorted(given))")
    ended = llmwatch("run", *quiet, str(tmp_path / "script.py"), env=env)
    assert ended == Ended(0, f"{given}\nthe script runs\n", "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LLMWATCH_TTFB_TIMEOUT_SECONDS", "soon"),
        ("LLMWATCH_DEADLINE_SECONDS", "-1"),
        ("LLMWATCH_MAX_ATTEMPTS", "many"),
        ("LLMWATCH_KEEPALIVE_SECONDS", "nan"),
        ("LLMWATCH_MAX_EVENT_BYTES", "64M"),
        ("LLMWATCH_MAX_BODY_BYTES", "1G"),
        ("LLMWATCH_PROFILE", "none such"),
        ("LLMWATCH_INCIDENT_LOG", "/none/such/folder/log"),
    ],
)
def test_an_invalid_variable_ends_with_exit_code_2(tmp_path: Path, variable: str, value: str) -> None:
    """An invalid variable is named, and ends with 2 before the script begins."""
    (tmp_path / "script.py").write_text("print('the script runs')")
    ended = llmwatch("run", "--quiet", str(tmp_path / "script.py"), env={variable: value})
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"llmwatch: {variable}=")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("quiet", [False, True])
def test_a_misspelt_variable_is_reported_and_the_script_runs(tmp_path: Path, quiet: bool) -> None:
    """A name that is almost right is pointed out, and the script runs."""
    (tmp_path / "script.py").write_text("print('the script runs')")
    words = ["run", *(["-q"] if quiet else []), str(tmp_path / "script.py")]
    ended = llmwatch(*words, env={"LLMWATCH_TTFB_TIMEOUT": "3"})
    assert (ended.code, ended.out) == (0, "the script runs\n")
    assert ("did you mean LLMWATCH_TTFB_TIMEOUT_SECONDS?" in ended.err) == (not quiet)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing argument"),
        (("--quiet",), "Missing argument"),
        (("--",), "Missing argument"),
        (("--qiet", "script.py"), "--qiet is no option of llmwatch run"),
        (("-X", "dev", "script.py"), "python -X dev -m llmwatch run"),
        (("--", "-u", "script.py"), "-u is no option of llmwatch run"),
        (("-m",), "-m needs a module"),
        (("-q", "-c"), "-c needs code"),
    ],
)
def test_invalid_usage_runs_nothing(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str) -> None:
    """Invalid usage is a usage error, and no script runs."""
    monkeypatch.setattr(os, "execve", pytest.fail)
    ended = invoke("run", *words)
    assert ended.code == 2
    assert "Usage: llmwatch run [OPTIONS] [--] SCRIPT|-m MODULE [ARGS]..." in ended.err
    assert says in " ".join(ended.err.split())


def test_help_is_the_commands_without_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help is the command's as long as no script is named."""
    monkeypatch.setattr(os, "execve", pytest.fail)
    for words in (("--help",), ("-q", "-h")):
        ended = invoke("run", *words)
        assert (ended.code, ended.err) == (0, "")
        assert "LLMWATCH_INCIDENT_LOG" in ended.out


@pytest.mark.parametrize("option", ["-I", "-E"])
def test_a_python_that_keeps_llmwatch_out_runs_no_script(folder: Path, option: str) -> None:
    """Under options that keep llmwatch out the script is not run unwatched."""
    ended = python(option, "-m", "llmwatch", "run", "probe.py", cwd=folder)
    assert (ended.code, ended.out) == (2, "")
    assert "llmwatch.install()" in ended.err


def test_a_python_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter that is gone, or does not know where it is, is a matter of configuration."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    ended = invoke("run", "script.py")
    assert (ended.code, ended.err) == (
        2,
        f"llmwatch: {tmp_path / 'gone'} cannot be started: No such file or directory.\n",
    )
    monkeypatch.setattr(sys, "executable", "")
    ended = invoke("run", "script.py")
    assert ended.code == 2
    assert "llmwatch.install()" in ended.err


def test_closed_standard_streams_stay_closed(folder: Path) -> None:
    """A process whose standard streams are closed runs its script with the same streams closed."""
    script = folder / "says.py"
    script.write_text("import os, sys; os.write(3, repr([sys.stdin, sys.stdout, sys.stderr]).encode()); sys.exit(5)")
    for program in ([sys.executable], [sys.executable, "-m", "llmwatch", "run"]):
        line = " ".join([*program, str(script)])
        done = subprocess.run(
            ["sh", "-c", f"{line} 3>&1 <&- >&- 2>&-"],
            env=environment(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (5, b"[None, None, None]", b"")


def test_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    """The llmwatch that was called is the one that watches, even if no path of the script leads to it."""
    root = Path(command.__file__).parents[2]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "llmwatch").symlink_to(root / "llmwatch")
    (tmp_path / "script.py").write_text("import sys; print(sys.modules['llmwatch'].__file__, len(sys.path))")
    done = python("-m", "llmwatch", "run", str(tmp_path / "script.py"), cwd=elsewhere)
    assert done.code == 0
    assert done.out.startswith(str(elsewhere / "llmwatch"))


def test_a_process_started_before_the_script_is_not_watched(folder: Path) -> None:
    """A process that is started before the script, by something on the machine, is left alone."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("")
    # A .pth file would do the same; a child that inherits the variables is what matters.
    told = {"_LLMWATCH_RUN": '{"process": 1, "pythonpath": null, "quiet": false}'}
    env = {"PYTHONPATH": os.path.dirname(command.__file__) + "/run_site", **told}
    (folder / "says.py").write_text("import os, sys; print('llmwatch.session' in sys.modules, sorted(os.environ))")
    ended = python("says.py", env=env, cwd=folder)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("False [")
    assert "_LLMWATCH_RUN" not in ended.out
    assert "PYTHONPATH" not in ended.out


def test_the_script_loads_no_library_of_the_command_line(tmp_path: Path) -> None:
    """The watchdog comes without the libraries of the command line, and starts no thread."""
    (tmp_path / "says.py").write_text(
        "import sys, threading; print('llmwatch.session' in sys.modules, threading.active_count(),"
        "[name for name in ('typer', 'rich', 'click', 'llmwatch.faults', 'httpx') if name in sys.modules])"
    )
    assert llmwatch("run", str(tmp_path / "says.py")) == Ended(0, "True 1 []\n", "")
