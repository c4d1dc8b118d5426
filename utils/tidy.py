#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs clang-tidy on the project's sources that the build compiles; those that changed last come first.

A source found clean is not checked again while nothing changes that clang-tidy read or is: the source and every header
of it (content), compile commands, .clang-tidy, clang-tidy with its libraries, this script. Only that nothing was found
is kept, as empty files in RWKVC_TIDY_CACHE (default: rwkvc-tidy in the user's cache folder). Which headers a source has
is what ninja recorded when it compiled it, so build/ is brought up to date first.

  RWKVC_TIDY_MINUTES=N    start no further file after N minutes (default 20)
"""

import collections
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
TIDY = "clang-tidy-22"
FOLDERS = ("cmake", "include", "lib", "tools", "test", "examples", "benchmarks")
UNUSED_DAYS = 30  # after which a result is forgotten


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def content(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def portable(text):
    """Text in which this checkout's place does not matter."""
    return text.replace(str(ROOT), "<root>")


# -- what a result depends on ------------------------------------------------------------------------------------------


def read_commands():
    """source -> its compile commands (a source may belong to two libraries)."""
    commands = collections.defaultdict(list)
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        commands[entry["file"]].append(entry)
    return commands


def read_dependencies():
    """object -> every file that was read to compile it, as ninja recorded it."""
    found, files = {}, []
    for line in output("ninja", "-C", BUILD, "-t", "deps").splitlines():
        if line.startswith("    "):
            files.append(os.path.normpath(BUILD / line.strip()))
        elif line:
            name, _, state = line.rpartition(": #deps")
            found[name] = files = []
            if not state.endswith("(VALID)"):
                del found[name]
    return found


def read_headers():
    """Base name -> the project's headers of that name, written and generated."""
    headers = collections.defaultdict(list)
    for folder in (*(ROOT / folder for folder in FOLDERS), BUILD / "include", BUILD / "_deps"):
        for place, _, names in os.walk(folder):
            for name in names:
                headers[name].append(portable(os.path.join(place, name)))
    return headers


def describe_tool(commands, sources):
    """What all results depend on."""
    program = os.path.realpath(shutil.which(TIDY))
    libraries = re.findall(r"=> (/\S+)", output("ldd", program))
    folders = {folder for source in sources for folder in pathlib.Path(source).parents}
    configurations = sorted(folder / ".clang-tidy" for folder in folders if (folder / ".clang-tidy").exists())
    precompiled = [entry["command"] for file, entries in commands.items() if "cmake_pch" in file for entry in entries]
    return [
        [content(path) for path in (__file__, program, *libraries)],
        [(portable(str(path)), content(path)) for path in configurations],
        list(map(portable, precompiled)),
    ]


def key_of(source, commands, dependencies, headers, tool):
    """Names what the result of a source depends on; None where that is not known."""
    files = set()
    for entry in commands[source]:
        read = dependencies.get(os.path.relpath(os.path.join(BUILD, entry["output"]), BUILD))
        if not read or source not in read:
            return None
        files.update(read)
    # A new header may take the place of one of the same name that stands later in the include path.
    namesakes = {name: headers[name] for name in map(os.path.basename, files) if name in headers}
    read = [
        (portable(path), (content if path.startswith(str(ROOT)) else system_content)(path)) for path in sorted(files)
    ]
    parts = [tool, [portable(entry["command"]) for entry in commands[source]], read, sorted(namesakes.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


system_content = functools.cache(content)


# -- what clang-tidy says ----------------------------------------------------------------------------------------------


def check(source):
    """Returns (whether it is clean, what is wrong)."""
    # What counts as the project's header does not depend on where the checkout lies.
    pattern = re.search(r"^HeaderFilterRegex: '(.*)'$", (ROOT / ".clang-tidy").read_text(), re.MULTILINE)[1]
    headers = f"^{re.escape(str(ROOT))}(/build)?{pattern}"
    command = [TIDY, "-p", BUILD, "--quiet", f"--header-filter={headers}", source]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and not done.stdout.strip():
        return True, ""
    return False, done.stdout if re.search("(warning|error):", done.stdout) else done.stdout + done.stderr


def newest_first(sources):
    command = ["git", "log", "-100", "--name-only", "--format="]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    committed = [path for path in dict.fromkeys(str(ROOT / name) for name in names) if path in sources]
    return list(dict.fromkeys(committed + sorted(sources)))


def main():
    if not shutil.which(TIDY):
        sys.exit(f"error: no {TIDY}; install Debian's package of this name")
    cache = os.environ.get("RWKVC_TIDY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rwkvc-tidy"
    )
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * float(os.environ.get("RWKVC_TIDY_MINUTES", 20))
    if not (BUILD / "compile_commands.json").exists():
        sys.exit("error: clang-tidy needs build/compile_commands.json; run scripts/setup.sh")
    built = subprocess.run(["ninja", "-C", BUILD], capture_output=True, text=True)
    if built.returncode:
        sys.exit(f"{built.stdout}error: clang-tidy needs what the build generates, and the build fails")

    commands = read_commands()
    inside = tuple(str(ROOT / folder) + "/" for folder in FOLDERS)
    sources = newest_first({file for file in commands if file.startswith(inside) and file.endswith(".cpp")})
    if not sources:
        sys.exit(f"error: build/compile_commands.json has no source in {ROOT}; run scripts/setup.sh here")
    parts = commands, read_dependencies(), read_headers(), describe_tool(commands, sources)
    count, findings = collections.Counter(), []

    def run(source):
        key = key_of(source, *parts)
        if key and (cache / key).exists():
            os.utime(cache / key)
            return "clean before"
        if time.monotonic() > deadline:
            return "left out"
        clean, text = check(source)
        # A file may have been edited meanwhile.
        if clean and key and key == key_of(source, *parts):
            (cache / key).touch()
        if not clean:
            findings.append((source, text))
        return "checked"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        count.update(pool.map(run, sources))
    for path in cache.iterdir():
        if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
            path.unlink(missing_ok=True)
    # A header's finding comes with each source that includes it.
    lines = (line for _, text in sorted(findings) for line in text.splitlines())
    for line in dict.fromkeys(lines):
        print(line)
    print(
        f"clang-tidy: {len(sources)} files: {count['checked']} checked, {count['clean before']} unchanged since they were"
        f" found clean, {count['left out']} left out"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
