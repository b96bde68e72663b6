"""Memory of arrays: kept by the process once a calculator exists."""

import subprocess
import sys

import pytest

from gnnpot.memory import keep_freed_arrays

FAULTS = """
import resource, sys
import numpy as np
from gnnpot.memory import keep_freed_arrays
if sys.argv[1] == "keep":
    keep_freed_arrays()
def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(80 * 2**17)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_a_step()
print(min(faults_of_a_step() for _ in range(3)))
"""


@pytest.mark.skipif(not keep_freed_arrays(), reason="the C library of this system is not glibc")
def test_a_large_array_is_taken_from_memory_that_the_process_kept() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "give")
    )
    assert kept < 0.1 * given_back
