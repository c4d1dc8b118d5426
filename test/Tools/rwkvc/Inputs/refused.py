# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""refused.py [--file-limit BYTES] [--read-only] FOLDER TEXT COMMAND...

Runs a command that must fail: by exit status 1, with TEXT in what it prints, without a stack dump, and without leaving
anything in FOLDER, in the folder for temporary files or on the way; what was in FOLDER must be as before.
"""

import argparse
import hashlib
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

NOBODY = 65534


def listing(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in folder.rglob("*")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--file-limit", type=int, help="largest file that may be written")
    parser.add_argument("--read-only", action="store_true", help="FOLDER may not be written")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("text")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o777)

        def restrict():
            if options.file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
            if options.read_only and os.geteuid() == 0:
                os.setgroups([])
                os.setuid(NOBODY)  # root may write everywhere

        mode = options.folder.stat().st_mode
        if options.read_only:
            options.folder.chmod(0o555)
        before = listing(options.folder)
        try:
            done = subprocess.run(
                options.command,
                capture_output=True,
                text=True,
                preexec_fn=restrict,
                env={**os.environ, "TMPDIR": temporary},
                timeout=300,
            )
        finally:
            options.folder.chmod(mode)
        after, left = listing(options.folder), listing(pathlib.Path(temporary))
    said = done.stdout[-2000:] + done.stderr[-2000:]
    problems = []
    if done.returncode != 1:
        problems.append(f"exit status {done.returncode}, expected 1")
    if options.text not in said:
        problems.append(f"the message lacks '{options.text}'")
    if "PLEASE submit a bug report" in said:
        problems.append("it crashed")
    if before != after:
        changed = sorted(set(before.items()) ^ set(after.items()))
        problems.append(f"the folder has changed: {[name for name, _ in changed]}")
    if left:
        problems.append(f"temporary files are left: {sorted(left)}")
    if problems:
        print("\n".join(problems), said, sep="\n--- it said:\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
