#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the tests of python/tests as `python -m unittest discover -s python/tests` does, several at one time.

Exit status: 0 all passed, 1 something failed, 2 there is no test of that name.
"""

import argparse
import contextlib
import io
import itertools
import os
import pathlib
import sys
import time
import unittest

from isolated import run_isolated

ROOT = pathlib.Path(__file__).resolve().parents[2]


def flatten(suite):
    for test in suite:
        yield from flatten(test) if isinstance(test, unittest.TestSuite) else [test]


def load_tests():
    """name -> test, in the order of unittest."""
    suite = unittest.defaultTestLoader.discover(ROOT / "python" / "tests")
    return {test.id(): test for test in flatten(suite)}


TESTS = load_tests()


def group_tests(names):
    """Lists of names, each for one process: what a class sets up is set up once."""
    for kind, members in itertools.groupby(names, lambda name: type(TESTS[name])):
        group = list(members)
        has_fixture = kind.setUpClass.__func__ is not unittest.TestCase.setUpClass.__func__
        yield from [group] if has_fixture else ([name] for name in group)


def run_group(names):
    """Returns (number of failed tests, of skipped ones, what was printed)."""
    text, failed = io.StringIO(), set()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        runner = unittest.TextTestRunner(io.StringIO(), warnings="default")
        result = runner.run(unittest.TestSuite(TESTS[name] for name in names))
    for kind, found in (("FAILED", result.failures), ("ERROR", result.errors)):
        for test, trace in found:
            print(f"{kind}: {test}\n{trace}", file=text)
            failed.add(getattr(test, "test_case", test).id())  # a subtest's test
    failed |= {test.id() for test in result.unexpectedSuccesses}
    # What a class sets up, if that failed, has a name of its own.
    return len(failed if failed <= set(names) else names), len(result.skipped), text.getvalue()


def ended(names):
    return len(names), 0, f"ERROR: one of {', '.join(names)} ended its process\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="only tests whose name contains TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="tests at one time")
    options = parser.parse_args()
    # Code for other processors would not run; numerics.py and the compiler's tests make it.
    os.environ["RWKVC_OPTIONS"] = os.environ.get("RWKVC_OPTIONS", "") + " --mcpu=native"
    start = time.monotonic()
    names = [name for name in TESTS if options.only in name]
    if not names:
        print(f"error: no test's name contains '{options.only}'")
        return 2
    groups = list(group_tests(names))
    ran = failed = skipped = 0
    for group, result in zip(groups, run_isolated(run_group, groups, options.jobs, ended)):
        ran, failed, skipped = ran + len(group), failed + result[0], skipped + result[1]
        print(result[2], end="")
        print(f"[{ran}/{len(names)}] {group[0].rpartition('.')[0] if len(group) > 1 else group[0]}", flush=True)
    print(f"\n{ran} tests in {time.monotonic() - start:.1f} s, {skipped} skipped")
    print(f"{ran - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
