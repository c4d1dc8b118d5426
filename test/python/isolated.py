# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Work in other processes, several at one time: compiled code that is wrong may end its own."""

import concurrent.futures
import multiprocessing


def run_isolated(work, items, jobs, ended):
    """Yields work(item) for each of items, in order; ended(item) where it ended its process."""
    context = multiprocessing.get_context("fork")  # starts at once, with what is imported
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
        futures = [pool.submit(work, item) for item in items]
        for item, future in zip(items, futures):
            try:
                yield future.result()
            except concurrent.futures.BrokenExecutor:
                # Some item ended its process, and that the pool: alone it is known which.
                with concurrent.futures.ProcessPoolExecutor(1, context) as single:
                    try:
                        yield single.submit(work, item).result()
                    except concurrent.futures.BrokenExecutor:
                        yield ended(item)
