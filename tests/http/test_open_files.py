"""How many connections a front takes where the system allows few open files."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import resource, sys
from raftkv.http.web.open_files import allowed_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (100, int(sys.argv[1])))
print(allowed_connections(300), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("hard", "expected"), [(1000, "300 350"), (200, "150 200"), (100, "50 100")])
def test_limit_is_raised_and_some_files_are_kept(hard, expected):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(hard)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
