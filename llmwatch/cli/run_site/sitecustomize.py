"""The module that ``site`` imports before the script in the processes under ``llmwatch run``.

:mod:`llmwatch.cli.run_process` does the work, and needs Python 3.10. A child with an older Python, down to 2.7, starts
as it would have: this module removes its traces, counts the child, and imports the machine's own ``sitecustomize``.
The text is valid in Python 2.7, and defines no function.
"""

import os
import sys

if __name__ == "sitecustomize":
    _folder = os.path.dirname(os.path.abspath(__file__))
    _file = os.path.join(os.path.dirname(_folder), "run_process.py")
    if sys.version_info >= (3, 10):  # noqa: UP036 - an older child comes here, too
        import importlib.util

        # By its path, for the package may not be on sys.path.
        _spec = importlib.util.spec_from_file_location("_llmwatch_run_process", _file)
        assert _spec is not None
        assert _spec.loader is not None
        _process = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_process)
        _process.begin(_folder)
    else:
        # The same rules as in run_process.
        _told = os.environ.pop("_LLMWATCH_RUN", "")
        _value = os.environ.pop("PYTHONPATH", _folder)
        _instead = []
        if _value.startswith(_folder + os.pathsep):
            os.environ["PYTHONPATH"] = _value[len(_folder + os.pathsep) :]
        elif _value != _folder:
            os.environ["PYTHONPATH"] = os.pathsep.join(e for e in _value.split(os.pathsep) if e != _folder)
        try:
            import json

            _message = json.loads(_told)
            if _value == _folder and _message["empty"]:
                os.environ["PYTHONPATH"] = ""
                if sys.version_info < (3,):  # noqa: UP036
                    # Python 2 searches the current directory then.
                    _instead.append(os.getcwd())
            if _message["folder"]:
                open(os.path.join(_message["folder"], "unwatched-" + str(os.getpid())), "w").close()
        except Exception:
            pass
        if _folder in sys.path:
            _at = sys.path.index(_folder)
            sys.path[_at : _at + 1] = _instead
        sys.path_importer_cache.pop(_folder, None)
        # A reference, without which Python 2 clears this module at once.
        _self = sys.modules.pop("sitecustomize")
        import sitecustomize  # noqa: F401
