"""The README's own programs, as a reader's type checkers see them: mypy --strict, and pyright in its strict mode.

They are one program here, since each goes on where the one before it ended. Exits with 1 if either has something to
say.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "readme.py")
        program.write_text("\n".join(blocks), encoding="utf-8")
        # An editable installation is a hook at run time, which pyright does not follow.
        settings = {"typeCheckingMode": "strict", "pythonVersion": "3.10", "extraPaths": [str(ROOT)]}
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        codes = [
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
            for command in (
                ("mypy", "--strict", str(program)),
                ("pyright", "--pythonpath", sys.executable, "--project", folder),
            )
        ]
    print(f"{len(blocks)} programs of the README, {sum(map(bool, codes))} of 2 checkers complain")
    return int(any(codes) or not blocks)


if __name__ == "__main__":
    sys.exit(main())
