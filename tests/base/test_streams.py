"""Standard error whose reader ends first."""

import subprocess
import sys

PROGRAM = """
import sys
from hitsr.base.streams import survive_readers

survive_readers()
print("heard", file=sys.stderr)
sys.stdin.readline()
print("unheard", file=sys.stderr, flush=True)
print("unheard", file=sys.stderr)
print("done")
"""


def test_a_reader_of_messages_that_ends_does_not_end_the_program() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin
        assert program.stdout
        assert program.stderr
        assert program.stderr.readline() == "heard\n"
        program.stderr.close()
        program.stdin.write("\n")
        program.stdin.close()
        assert program.stdout.read() == "done\n"
    assert program.returncode == 0
