"""Runs a program in a terminal of its own, and takes the terminal away in one of several manners.

    terminal.py ACTION ROWS COLUMNS PROGRAM [ARGUMENT…]

ACTION: `close` (the terminal hangs up, with SIGHUP), `vanish` (the same without a signal, since it is not the controlling terminal), `q` (that key),
`HUP`, `TERM` or `INT` (that signal), `nothing` (it ends by itself). Prints a line of JSON: the exit code, seconds from the action to
the end, CPU seconds and the largest resident size in MB of the program, whether the terminal's settings are as they were, and
whether the alternate screen was left.
"""

import fcntl
import json
import os
import resource
import select
import signal
import struct
import sys
import termios
import time

LONGEST = 30

action, rows, columns, *command = sys.argv[1:]
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
before = termios.tcgetattr(slave)

child = os.fork()
if child == 0:
    os.setsid()
    if action != "vanish":
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    # Messages beside the screen are discarded.
    errors = os.open("/dev/null", os.O_WRONLY)
    for here, there in ((slave, 0), (slave, 1), (errors, 2)):
        os.dup2(here, there)
    os.closerange(3, 64)
    os.execvp(command[0], command)

written = b""


def read(seconds):
    """Reads what is drawn, as a terminal does."""
    global written
    ready, _, _ = select.select([master], [], [], seconds)
    if ready:
        written += os.read(master, 1 << 16)


def wait(seconds, done):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        if master is not None:
            read(0.02)
        else:
            time.sleep(0.005)
    return False


ended = None


def has_ended():
    global ended
    if ended is None:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            ended = (os.waitstatus_to_exitcode(status), usage)
    return ended is not None


if not wait(LONGEST, lambda: b"transactions" in written or has_ended()):
    os.kill(child, signal.SIGKILL)
    sys.exit("nothing was drawn")
if action != "nothing":
    # It is under way.
    wait(1, has_ended)
acted = time.monotonic()
if action in ("close", "vanish"):
    os.close(slave)
    os.close(master)
    master = None
elif action == "q":
    os.write(master, b"q")
elif action != "nothing":
    os.kill(child, getattr(signal, "SIG" + action))
if not wait(LONGEST, has_ended):
    os.kill(child, signal.SIGKILL)
    sys.exit(f"it did not end within {LONGEST} s of `{action}`")
took = time.monotonic() - acted
settings = left = None
if master is not None:
    while select.select([master], [], [], 0)[0]:
        read(0)
    settings = termios.tcgetattr(slave) == before
    left = written.rfind(b"\x1b[?1049l") > written.rfind(b"\x1b[?1049h")
code, usage = ended
print(json.dumps({
    "code": code,
    "seconds": round(took, 3),
    "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
    "largest_mb": usage.ru_maxrss // 1024,
    "settings_as_before": settings,
    "screen_left": left,
}))
