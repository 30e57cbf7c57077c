"""The environment in which every kernel of this course runs, the same when a notebook is made and when it is tested.

Gives environment variables; starts nothing. Whatever could make an output differ between two runs or two machines
(hash seeds, thread counts, a reader's own IPython start-up files) is fixed here and nowhere else.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tools import ROOT

__all__ = ["settle"]

FIXED = {
    "PYTHONHASHSEED": "0",  # sets print in the same order
    "PYTHONIOENCODING": "utf-8",  # Windows would print in its own code page
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger warns on stderr where modules are frozen
    "OMP_NUM_THREADS": "1",  # sums in the same order whatever the number of cores
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CC": "no-compiler",  # no lesson may need one: most readers have none
    "CXX": "no-compiler",
}
SAME_SUMS = {  # one set of instructions on every x86 processor: else the last digit of a sum depends on its kind
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # what is not there is passed over
}
UNSET = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS", "FORCE_COLOR")
# In place of the reader's own IPython settings: no history on disk, no warning that the kernel speaks TCP.
QUIET = """c = get_config()
c.IPKernelApp.log_level = "ERROR"
c.HistoryManager.enabled = False
"""


def settle(root: Path = ROOT, fast: bool = False) -> None:
    """Make this process, and the kernels that it starts, run in the course's fixed environment.

    With `fast` the processor does what it can: for what is measured, not compared.
    """
    same = not fast and platform.machine().lower() in ("x86_64", "amd64")
    os.environ.update(FIXED | SAME_SUMS if same else FIXED)
    for name in UNSET:
        os.environ.pop(name, None)
    paths = [str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    profile = root / "_build" / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(QUIET, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(profile.parent)
