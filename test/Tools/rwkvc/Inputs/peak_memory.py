# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""peak_memory.py --growth MB COMMAND SMALL LARGE...

Runs COMMAND, a shell command, with each of the files in place of {}, and fails if it fails, writes anything to standard
error, or needs more memory of its own, other than pages of files, than it does for SMALL, by more than MB.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import time


def peak(command):
    """The peak of a process's anonymous memory in MB, as seen from time to time."""
    process = subprocess.Popen(["bash", "-c", "exec " + command], stderr=subprocess.PIPE, text=True)
    most = 0
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        except ProcessLookupError:
            break
        if found := re.search(r"RssAnon:\s+(\d+) kB", status):
            most = max(most, int(found[1]) / 1e3)
        time.sleep(0.003)
    said = process.communicate()[1]
    if process.returncode or said:
        sys.exit(f"{command}: exit status {process.returncode}\n{said}")
    return most


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--growth", type=float, required=True)
    parser.add_argument("command")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    peaks = {file: peak(options.command.replace("{}", file)) for file in options.files}
    print(options.command, peaks)
    if max(peaks.values()) > peaks[options.files[0]] + options.growth:
        sys.exit(f"memory grows by more than {options.growth} MB")


if __name__ == "__main__":
    main()
