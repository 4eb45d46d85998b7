#!/usr/bin/env bash
# typer 0.29.1 on Python 3.10: a callback whose parameter is annotated list[str] breaks every command of the application.
#
# Guess: an annotation that typer does not need is ignored, as on later versions of Python.
# Seen: typer asks issubclass() about each annotation of a callback once isinstance(annotation, type) holds. On CPython
# 3.10 that holds for list[str], and issubclass() raises TypeError, with --help too. On 3.11 and later the same program
# runs. Annotated as Any (or typing.List[str]) it runs on both.
# This script exits 0 while that is so, 1 when it changes, 2 where there is no CPython 3.10 and a later one.
set -euo pipefail
old=${PYTHON310:-$(command -v "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python python3.10 | head -n 1 || true)}
new=${PYTHON:-python3}
"$old" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null || { echo "CPython 3.10 is needed"; exit 2; }
"$new" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "a CPython after 3.10 is needed"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/program.py" <<'PROGRAM'
from typing import Annotated, Any
import sys
import typer

kind = Any if sys.argv.pop(1) == "Any" else list[str]


def checked(words: kind):
    return words


app = typer.Typer()


@app.command()
def main(words: Annotated[list[str], typer.Argument(callback=checked)]) -> None:
    print(words)


app()
PROGRAM
seen=""
for python in "$old" "$new"; do
    "$python" -m venv "$folder/env"
    "$folder/env/bin/pip" install --quiet --disable-pip-version-check typer==0.29.1 2>/dev/null
    for annotation in Any list; do
        line=$("$folder/env/bin/python" "$folder/program.py" "$annotation" one two 2>&1 | tail -n 1 || true)
        "$folder/env/bin/python" --version
        echo "  $annotation: $line"
        case "$line" in *"issubclass() arg 1 must be a class"*) seen+="E" ;; "['one', 'two']") seen+="+" ;; *) seen+="?" ;; esac
    done
    rm -rf "$folder/env"
done
[ "$seen" = "+E++" ]
