#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures rwkvc and other runtimes side by side, as a configuration says.

    benchmarks/setup.sh                               # once: the other runtimes, in benchmarks/.venv
    benchmarks/run.py benchmarks/configs/decode.json

Prints a table with ratios and writes results.json, table.md, and plots where matplotlib is installed. docs/Benchmarks.md says
what is measured and how. Needs nothing beyond Python itself; runtimes live in processes of their own (worker.py).
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
MODULES = {"llama.cpp": "llamacpp"}  # peers whose module has another name
PROMPT = [1, 5, 3, 7, 2, 11, 6, 4]  # what decoding starts from
SETTLE = 0.2  # seconds of rest before each measurement, unless the configuration says how many
WARM_TOKENS = 4  # of decoding, before those that count
REQUIRED = ["models", "runtimes", "scenarios", "rounds", "measure"]  # of a configuration
OPTIONAL = ["about", "limits", "settle_s", "timeout_s", "keep_loaded"]
MEASURES = ["build", "startup", "decode", "prefill", "lengths"]
LENGTHS_BLOCK = 512  # tokens that a growing text gets at once
CHECK_TOKENS = 24  # after which the logits of all runtimes are compared


class Failed(Exception):
    """A runtime could not do what it was asked; kind: 'absent' or 'failed'."""

    def __init__(self, kind, reason):
        super().__init__(reason)
        self.kind = kind


class Process:
    """A worker, stopped while it has nothing to do, so that no thread of its runtime waits busily."""

    def __init__(self, run, runtime, model, threads, log):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), RWKVC_NUM_THREADS=str(threads))
        environment |= {"RWKVC": str(run.tool("rwkvc")), "PYTHONUNBUFFERED": "1"}
        self.timeout = run.timeout
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [run.python, str(HERE / "worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
            )
        self.stopped = False
        try:
            self.started = self.ask(
                "start",
                peer=MODULES.get(runtime["peer"], runtime["peer"]),
                model=model["shape"],
                folder=str(model["folder"]),
                output=str(model["folder"] / runtime["slug"]),
                options=runtime["options"],
                threads=threads,
            )
        except BaseException:
            self.close()
            raise

    def ask(self, what, **arguments):
        if self.stopped:
            self.process.send_signal(signal.SIGCONT)
            self.stopped = False
        try:
            self.process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], self.timeout)
            if not ready:
                raise Failed("failed", f"{what} took longer than {self.timeout} s")
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise Failed("failed", f"{what}: the process ended with status {self.process.wait()}")
        reply = json.loads(line)
        for kind in ("absent", "failed"):
            if kind in reply:
                raise Failed(kind, reply[kind])
        return reply

    def rest(self):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@contextlib.contextmanager
def busy_core(wanted):
    """A process that computes all the time on the last core that this one may use."""
    if not wanted:
        yield
        return
    core = max(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile os.getppid() == {os.getpid()}:\n    sum(range(100000))"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def describe_machine():
    processor = read("/proc/cpuinfo") or ""
    name = re.search(r"model name\s*: (.*)", processor)
    flags = re.search(r"flags\s*: (.*)", processor)
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    caches = {}
    for folder in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if read(folder / "type") != "Instruction":
            caches["L" + (read(folder / "level") or "?")] = read(folder / "size")
    memory = re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo") or "")
    return {
        "processor": name.group(1) if name else platform.machine(),
        "isa": [flag for flag in wanted if flags and flag in flags.group(1).split()],
        "cores": len(os.sched_getaffinity(0)),
        "caches": caches,
        "memory_bytes": int(memory.group(1)) * 1024 if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0],
    }


def describe_revision():
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or None


class Run:
    def __init__(self, options, config):
        self.options, self.config = options, config
        self.python, self.timeout = options.python, config.get("timeout_s", 600)
        self.output, self.logs = options.output, options.output / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.rounds = options.rounds or config["rounds"]
        self.runtimes = []
        for entry in config["runtimes"]:
            entry = {"name": entry} if isinstance(entry, str) else dict(entry)
            entry.setdefault("peer", entry["name"])
            entry.setdefault("options", {})
            if not options.runtimes or entry["name"] in options.runtimes:
                entry["slug"] = re.sub(r"\W+", "-", entry["name"])
                self.runtimes.append(entry)
        self.results = {
            "about": config.get("about", ""),
            "config": config,
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "rounds": self.rounds,
            "machine": describe_machine(),
            "revision": describe_revision(),
            "runtimes": {runtime["name"]: {"versions": {}, "options": runtime["options"]} for runtime in self.runtimes},
            "models": {},
            "parts": [],
        }

    def tool(self, name):
        return pathlib.Path(self.options.tools) / name

    def say(self, text):
        print(f"{datetime.datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)

    def log(self, runtime):
        return self.logs / f"{runtime['slug']}.log"

    def make_model(self, entry):
        """Writes the model's files unless they are there."""
        name = entry if isinstance(entry, str) else entry["name"]
        folder = self.options.work / name
        stamp = folder / "made-from"
        sources = [HERE / "models.py", HERE / "synthetic.py", ROOT / "python/rwkvc/export.py"]
        made_from = json.dumps(entry) + "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in sources)
        if read(stamp) != made_from:
            self.say(f"{name}: writing the model")
            # With all that was made from another.
            shutil.rmtree(folder, ignore_errors=True)
            command = [self.python, str(HERE / "models.py"), json.dumps(entry) if isinstance(entry, dict) else entry]
            if subprocess.run([*command, str(folder)]).returncode:
                sys.exit(f"error: no model {name}")
            stamp.write_text(made_from)
        return {"name": name, "shape": entry, "folder": folder, "counts": json.loads(read(folder / "counts.json"))}

    def prepare(self, model):
        """Lets every runtime convert or compile the model; returns {runtime: figures or why there are none}."""
        prepared = {}
        for runtime in self.runtimes:
            name = runtime["name"]
            stamp = model["folder"] / runtime["slug"] / "prepared.json"
            rounds = self.config["measure"].get("build", {}).get("rounds", 1)
            found = []
            try:
                for _ in range(rounds):
                    with contextlib.closing(Process(self, runtime, model, self.cores(), self.log(runtime))) as worker:
                        started = worker.started
                        if self.options.reuse and stamp.exists():
                            found = json.loads(stamp.read_text())
                            break
                        self.say(f"{model['name']}: {name}: preparing")
                        found.append(worker.ask("prepare"))
            except Failed as error:
                self.say(f"{model['name']}: {name}: {error.kind}: {error}")
                prepared[name] = {error.kind: str(error)}
                continue
            stamp.write_text(json.dumps(found))
            self.results["runtimes"][name]["versions"] |= started["versions"]
            prepared[name] = {
                "build_s": [one["seconds"] for one in found if one["seconds"]],
                "build_peak_bytes": [one["peak"] for one in found if one["peak"]],
                "weights_bytes": found[-1]["weights"],
                "code_bytes": found[-1]["code"],
                "element_bytes": started["element_bytes"],
                "compares": started["compares"],
                "notes": started["notes"],
            }
        return prepared

    def cores(self):
        return len(os.sched_getaffinity(0))

    def measure_limits(self, threads):
        settings = self.config.get("limits", {})
        limits = self.tool("rwkvc-limits")
        if settings is False:
            return None
        if "device" in settings:
            command = [self.python, HERE / "device_limits.py"]
        elif os.access(limits, os.X_OK):
            command = [limits]
        else:
            return None
        command += [f"--threads={threads}", *(f"--{name}={value}" for name, value in settings.items())]
        # oneDNN's threads are OpenMP's.
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS=str(threads))
        )
        if done.returncode:
            self.say(f"the limits could not be measured: {done.stderr.strip()[-500:]}")
            return None
        return json.loads(done.stdout)

    def measure(self, model, prepared, scenario):
        threads = self.cores() if scenario["threads"] == "all" else scenario["threads"]
        busy = scenario.get("busy", False) or self.options.busy
        part = {"model": model["name"], "threads": threads, "busy": busy, "limits": [], "limits_one_thread": []}
        part["figures"] = {runtime["name"]: {} for runtime in self.runtimes}
        self.results["parts"].append(part)
        active = [runtime for runtime in self.runtimes if "build_s" in prepared[runtime["name"]]]
        turns = Turns(self, model, part, threads, self.keeps_all(model, active))
        try:
            with busy_core(busy):
                for number in range(self.rounds):
                    self.say(
                        f"{model['name']}, {threads} threads{', a busy core' * busy}: round {number + 1}/{self.rounds}"
                    )
                    part["limits"].append(self.measure_limits(threads))
                    if threads != 1:
                        part["limits_one_thread"].append(self.measure_limits(1))
                    # Nobody always comes after the same one.
                    shift = number % max(1, len(active))
                    turns.take(active[shift:] + active[:shift])
        finally:
            turns.close()

    def keeps_all(self, model, active):
        """Whether all runtimes' processes can hold the model in memory at once."""
        elements = model["counts"]["matrices"] + 2 * model["counts"]["head"]
        available = int(re.search(r"MemAvailable:\s*(\d+)", read("/proc/meminfo") or "MemAvailable: 0").group(1)) * 1024
        uses = len(self.config["measure"].keys() & {"decode", "prefill"})
        return self.config.get("keep_loaded", 2 * 4 * elements * uses * len(active) < 0.7 * available)

    def go(self):
        for entry in self.config["models"]:
            model = self.make_model(entry)
            prepared = self.prepare(model)
            self.results["models"][model["name"]] = {"counts": model["counts"], "prepared": prepared}
            for scenario in self.config["scenarios"]:
                self.measure(model, prepared, scenario)
        self.results["machine"]["load_after"] = os.getloadavg()[0]
        self.results["ended"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Turns:
    """The measurements of one model and scenario. Runtimes take turns in each."""

    def __init__(self, run, model, part, threads, keep):
        self.run, self.model, self.part, self.threads, self.keep = run, model, part, threads, keep
        self.workers = {}
        self.checked = set()
        self.warm = set()
        self.reference = run.output / "logits.npy"

    def close(self):
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def add(self, runtime, what, value):
        self.part["figures"][runtime["name"]].setdefault(what, []).append(value)

    def add_memory(self, runtime, use, worker):
        """Beyond what the process had before it imported the runtime."""
        found, idle = worker.ask("memory"), worker.started["idle"]
        self.add(runtime, f"{use}_peak_bytes", found["peak"] - idle["now"])
        self.add(runtime, f"{use}_anonymous_bytes", found["anonymous"] - idle["anonymous"])

    def spawn(self, runtime):
        return Process(self.run, runtime, self.model, self.threads, self.run.log(runtime))

    @contextlib.contextmanager
    def worker(self, runtime, use):
        """The runtime's process with the model loaded for 'decode' or 'prefill'."""
        key = runtime["name"], use
        worker = self.workers.pop(key, None)
        if not worker:
            worker = self.spawn(runtime)
            self.warm = {warm for warm in self.warm if warm[:2] != key}
        try:
            if key not in self.warm:
                worker.ask("load", use=use)
            time.sleep(self.run.config.get("settle_s", SETTLE))
            yield worker
            self.warm.add(key)
            if self.keep:
                worker.rest()
                self.workers[key] = worker
            else:
                worker.close()
        except BaseException:
            worker.close()
            raise

    def check(self, runtime, worker, use):
        """Compares its logits with the first runtime's, once."""
        if (runtime["name"], use) in self.checked:
            return
        tokens = make_tokens(self.model, CHECK_TOKENS)
        found = worker.ask("check", use=use, tokens=tokens, reference=str(self.reference), write=not self.checked)
        if not self.checked:
            self.part["reference"] = [runtime["name"], use]
        self.checked.add((runtime["name"], use))
        if found["error"] is not None:
            self.part["figures"][runtime["name"]][f"{use}_logits_error"] = found["error"]

    def take(self, runtimes):
        measures = self.run.config["measure"]
        steps = []
        if "startup" in measures:
            steps.append((self.startup, measures["startup"]["prompt"]))
        if "decode" in measures:
            steps.append((self.decode, measures["decode"]["tokens"]))
        for tokens in measures.get("prefill", {}).get("tokens", ()):
            steps.append((self.prefill, tokens))
        if "lengths" in measures:
            steps.append((self.lengths, measures["lengths"]))
        for step, argument in steps:
            for runtime in runtimes:
                figures = self.part["figures"][runtime["name"]]
                if "failed" in figures:
                    continue
                try:
                    step(runtime, argument)
                except Failed as error:
                    self.run.say(f"{self.model['name']}: {runtime['name']}: {error.kind}: {error}")
                    figures["failed"] = f"{step.__name__}: {error}"

    def startup(self, runtime, prompt):
        """In a fresh process: load, then the first token after a prompt."""
        with contextlib.closing(self.spawn(runtime)) as worker:
            time.sleep(self.run.config.get("settle_s", SETTLE))
            load = worker.ask("load", use="prefill")["seconds"]
            first = worker.ask("first", tokens=make_tokens(self.model, prompt))["seconds"]
            self.add(runtime, "import_s", worker.started["seconds"])
            self.add(runtime, "load_s", load)
            self.add(runtime, "first_token_s", load + first)
            self.add_memory(runtime, "startup", worker)

    def decode(self, runtime, count):
        with self.worker(runtime, "decode") as worker:
            fresh = (runtime["name"], "decode") not in self.warm
            self.check(runtime, worker, "decode")
            found = worker.ask("decode", prompt=PROMPT if fresh else [], warmup=WARM_TOKENS, count=count)
            self.add(runtime, "decode_token_s", found["seconds"])
            self.add(runtime, "decode_tokens", found["tokens"])
            self.add_memory(runtime, "decode", worker)

    def prefill(self, runtime, count):
        with self.worker(runtime, "prefill") as worker:
            key = (runtime["name"], "prefill", count)
            self.check(runtime, worker, "prefill")
            tokens = make_tokens(self.model, count)
            warmup = tokens[:16] if key in self.warm else tokens
            self.add(runtime, f"prefill_{count}_s", worker.ask("prefill", warmup=warmup, tokens=tokens)["seconds"])
            self.warm.add(key)
            self.add_memory(runtime, "prefill", worker)

    def lengths(self, runtime, settings):
        """One text that grows: its time so far, then that of a token and the memory, at several lengths."""
        with contextlib.closing(self.spawn(runtime)) as worker:
            worker.ask("load", use="prefill")
            worker.ask("extend", tokens=make_tokens(self.model, LENGTHS_BLOCK), block=LENGTHS_BLOCK)
            worker.ask("reset")
            length, seconds = 0, 0.0
            for target in settings["tokens"]:
                tokens = make_tokens(self.model, target - length)
                spent = worker.ask("extend", tokens=tokens, block=LENGTHS_BLOCK)["seconds"]
                seconds = None if spent is None or seconds is None else seconds + spent
                found = worker.ask("decode", prompt=[], warmup=WARM_TOKENS, count=settings["decode"])
                length = target + WARM_TOKENS + settings["decode"]
                if seconds is not None:
                    self.add(runtime, f"length_{target}_prompt_s", seconds)
                self.add(runtime, f"length_{target}_token_s", sorted(found["seconds"])[len(found["seconds"]) // 2])
                self.add(runtime, f"length_{target}_bytes", worker.ask("memory")["now"] - worker.started["idle"]["now"])


def read_config(path):
    """Ends the program with a message if the file cannot be used."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"error: {path}: {error}")
    missing = [key for key in REQUIRED if key not in config]
    unknown = [key for key in config if key not in REQUIRED + OPTIONAL]
    unknown += [f"measure: {key}" for key in config.get("measure", ()) if key not in MEASURES]
    if missing or unknown:
        expected = (
            f"expected {', '.join(REQUIRED)}; also known: {', '.join(OPTIONAL)}; in measure: {', '.join(MEASURES)}"
        )
        sys.exit(
            f"error: {path}: {', '.join([f'no {k}' for k in missing] + [f'unknown {k}' for k in unknown])}; {expected}"
        )
    return config


def make_tokens(model, count):
    """Spread over the vocabulary: text does not repeat one embedding either."""
    size = model["counts"]["vocabulary"]
    return [i * 7919 % size for i in range(1, count + 1)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    environment = HERE / ".venv/bin/python"
    parser.add_argument("config", type=pathlib.Path, help="configuration, see benchmarks/configs")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder of the results (default: by name and time)")
    parser.add_argument(
        "--work", type=pathlib.Path, default=HERE / ".work", help="folder of models, kept for the next run"
    )
    parser.add_argument("--reuse", action="store_true", help="do not convert and compile again what is there")
    parser.add_argument("--rounds", type=int, help="instead of the configuration's")
    parser.add_argument("--models", nargs="+", help="only these, also others than the configuration's")
    parser.add_argument("--runtimes", nargs="+", help="only these of the configuration's; the first is compared with")
    parser.add_argument("--threads", nargs="+", help="instead of the configuration's: numbers, or all")
    parser.add_argument("--busy", action="store_true", help="keep one core busy with another process")
    parser.add_argument("--tools", default=str(ROOT / "build/bin"), help="folder of rwkvc and rwkvc-limits")
    python = str(environment) if environment.exists() else sys.executable
    parser.add_argument("--python", default=python, help="the runtimes' Python")
    options = parser.parse_args()
    config = read_config(options.config)
    if options.models:
        known = {entry["name"]: entry for entry in config["models"] if isinstance(entry, dict)}
        config["models"] = [known.get(name, name) for name in options.models]
    runtimes = [entry if isinstance(entry, str) else entry["name"] for entry in config["runtimes"]]
    for name in options.runtimes or []:
        if name not in runtimes:
            parser.error(f"no runtime '{name}' in {options.config}; it has {', '.join(runtimes)}")
    if options.threads:
        config["scenarios"] = [{"threads": n if n == "all" else int(n)} for n in options.threads]
    if not options.output:
        options.output = HERE / ".work" / f"{options.config.stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    for name in ("output", "work"):
        folder = getattr(options, name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        setattr(options, name, folder)
    run = Run(options, config)
    # What was measured is written, too, when the run is ended early.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"error: ended by signal {number}"))
    try:
        run.go()
    finally:
        (options.output / "results.json").write_text(json.dumps(run.results))
    text = report.table(run.results)
    (options.output / "table.md").write_text(text)
    print(text)
    # The plot needs matplotlib, which this Python may lack.
    done = subprocess.run([options.python, str(HERE / "report.py"), str(options.output / "results.json"), "--plot"])
    if done.returncode:
        run.say("no plot")
    run.say(f"results: {options.output}")


if __name__ == "__main__":
    main()
