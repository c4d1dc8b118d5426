#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table and the plots of a benchmark's results.

benchmarks/report.py results.json           # prints the table
benchmarks/report.py results.json --plot    # writes plot.svg and plot.png beside it
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys

# A part of memory whose evenness is told beside its speed.
STRETCH_BYTES = 32 << 20


@dataclasses.dataclass
class Row:
    """A figure of all runtimes. values: {runtime: [one per round]}; limit: {runtime: what the machine allows}."""

    title: str
    unit: str
    larger_is_better: bool
    values: dict
    limit: dict = dataclasses.field(default_factory=dict)
    limit_name: str = ""
    ratios: bool = True
    charted: bool = True

    def best(self, runtime):
        return (max if self.larger_is_better else min)(self.values[runtime])

    def worst(self, runtime):
        return (min if self.larger_is_better else max)(self.values[runtime])


def best_limit(part, kind, name=None):
    """The best of the rounds, None where there is none."""
    found = [
        limits[kind].get(name) if name else limits[kind] for limits in part["limits"] if limits and limits.get(kind)
    ]
    return max((value for value in found if value), default=None)


def reads(limits, size):
    """Seconds that so many bytes of memory took to be read by all threads together, again and again in all rounds: as
    many pieces in a row as are nearest to it."""
    found = []
    for limit in limits:
        pieces = (limit or {}).get("piece_s", [])
        if not pieces:
            continue
        count = max(1, round(size / limit["threads"] / limit["piece_bytes"]))
        scale = size / limit["threads"] / (count * limit["piece_bytes"])
        found += [sum(pieces[i : i + count]) * scale for i in range(0, len(pieces) - count + 1, count)]
    return found


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def bytes_per_token(counts, size):
    """That decoding must move: all weights but the embedding table, of which it reads a row; states, there and back."""
    return size * (counts["matrices"] + counts["head"]) + 4 * (counts["vectors"] + 2 * counts["states"])


def operations(counts, tokens):
    """Of the matrix products of a prompt; the head's is for its last token only."""
    return 2 * (counts["matrices"] * tokens + counts["head"])


def numbers(figures, kind, unit):
    """The N of all figures that are called so: KIND_N_UNIT."""
    pattern = re.compile(rf"{kind}_(\d+)_{unit}")
    names = {name for found in figures.values() for name in found}
    return sorted(int(match.group(1)) for match in map(pattern.fullmatch, names) if match)


def rows(results, part):
    """All figures that the part holds, in the table's order."""
    counts = results["models"][part["model"]]["counts"]
    prepared = results["models"][part["model"]]["prepared"]
    figures = part["figures"]
    found = []

    def of(name, convert):
        return {runtime: [convert(v) for v in f[name]] for runtime, f in figures.items() if name in f}

    def add(title, unit, larger, values, **options):
        if values:
            found.append(Row(title, unit, larger, values, **options))

    bandwidth = best_limit(part, "read_gbps")
    decode = of("decode_token_s", lambda times: len(times) / sum(times))
    sizes = {runtime: prepared[runtime]["element_bytes"] for runtime in decode if prepared[runtime]["compares"]}
    limits = {r: bandwidth * 1e9 / bytes_per_token(counts, size) for r, size in sizes.items()} if bandwidth else {}
    add("decode", "tokens/s", True, decode, limit=limits, limit_name="of memory reads")
    latencies = {r: sum(figures[r]["decode_token_s"], []) for r in decode}
    # What a loop takes that does nothing but read a token's bytes.
    bare = {r: reads(part["limits"], bytes_per_token(counts, size)) for r, size in sizes.items()}
    bare = {r: times for r, times in bare.items() if times}
    for title, unit, figure, limit_name in (
        ("latency of a token, p50", "ms", lambda times: percentile(times, 0.5) * 1e3, "of median memory reads"),
        ("latency of a token, p99", "ms", lambda times: percentile(times, 0.99) * 1e3, "of p99 of memory reads"),
        ("p99 by p50", "times", lambda times: percentile(times, 0.99) / percentile(times, 0.5), "of memory reads'"),
    ):
        values = {r: [figure(times)] for r, times in latencies.items()}
        limits = {r: figure(times) for r, times in bare.items()}
        add(title, unit, False, values, limit=limits, limit_name=limit_name, charted=unit == "ms")
    peak = best_limit(part, "gemm_gops", "fp32")
    for tokens in numbers(figures, "prefill", "s"):
        limits = (
            {r: peak * 1e9 / operations(counts, tokens) * tokens for r in figures if prepared[r].get("compares")}
            if peak
            else {}
        )
        values = of(f"prefill_{tokens}_s", lambda seconds, tokens=tokens: tokens / seconds)
        add(f"prefill of {tokens}", "tokens/s", True, values, limit=limits, limit_name="of fp32 products")
    prompt = results["config"]["measure"].get("startup", {}).get("prompt")
    add("load", "ms", False, of("load_s", lambda s: s * 1e3))
    add(f"load and first token after {prompt}", "ms", False, of("first_token_s", lambda s: s * 1e3))
    for name, title in (("startup", "load and first token"), ("decode", "decode"), ("prefill", "prefill")):
        add(f"peak memory, {title}", "MB", False, of(f"{name}_peak_bytes", lambda size: size / 1e6))
        add("not of files", "MB", False, of(f"{name}_anonymous_bytes", lambda size: size / 1e6))
    for tokens in numbers(figures, "length", "bytes"):
        name = f"length_{tokens}"
        add(f"text of {tokens} tokens", "s", False, of(f"{name}_prompt_s", float), charted=False)
        add(f"a token after {tokens}", "ms", False, of(f"{name}_token_s", lambda s: s * 1e3), charted=False)
        add(f"memory after {tokens}", "MB", False, of(f"{name}_bytes", lambda size: size / 1e6), charted=False)
    ready = {r: p for r, p in prepared.items() if "build_s" in p}
    if "build" in results["config"]["measure"]:
        plain = {"ratios": False, "charted": False}
        built = {r: p for r, p in ready.items() if p["build_s"]}
        add("convert or compile", "s", False, {r: p["build_s"] for r, p in built.items()}, ratios=False)
        peaks = {r: [size / 1e6 for size in p["build_peak_bytes"]] for r, p in built.items()}
        add("its peak memory", "MB", False, peaks, ratios=False)
        add("artefact: weights", "MB", False, {r: [p["weights_bytes"] / 1e6] for r, p in ready.items()}, **plain)
        add("artefact: the rest", "MB", False, {r: [p["code_bytes"] / 1e6] for r, p in ready.items()}, **plain)
    return found


def number(value):
    """Three significant digits, no exponent."""
    if value == 0:
        return "0"
    for digits, limit in ((0, 100), (1, 10), (2, 1), (3, 0.1)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


def show_error(error, is_reference):
    if is_reference:
        return "reference"
    return "–" if error is None else "0" if error == 0 else f"{error:.1e}"


def cell(row, runtime, first):
    """Best (worst), how many times better the first runtime is, and the share of the limit."""
    if runtime not in row.values:
        return "–"
    best, worst = row.best(runtime), row.worst(runtime)
    text = number(best) + (f" ({number(worst)})" if len(row.values[runtime]) > 1 else "")
    if row.ratios and runtime != first and first in row.values and best and row.best(first):
        ratio = row.best(first) / best if row.larger_is_better else best / row.best(first)
        text += f", {number(ratio)}×"
    if row.limit.get(runtime):
        share = best / row.limit[runtime] if row.larger_is_better else row.limit[runtime] / best
        text += f", {100 * share:.0f} %"
    return text


def describe_limits(part):
    lines = []
    for count, key in ((part["threads"], "limits"), (1, "limits_one_thread")):
        view = {"limits": part[key]}
        speed = best_limit(view, "read_gbps")
        if speed is None:
            continue
        text = f"{count} thread{'s' * (count != 1)}: memory reads {number(speed)} GB/s"
        times = reads(part[key], STRETCH_BYTES)
        if times:
            middle = percentile(times, 0.5)
            text += (
                f", median {number(STRETCH_BYTES / middle / 1e9)}, of {STRETCH_BYTES >> 20} MiB each p99 is "
                f"{percentile(times, 0.99) / middle:.2f} × p50"
            )
        products = {name: best_limit(view, "gemm_gops", name) for name in ("fp32", "tf32", "bf16", "fp16", "int8")}
        parts = [f"{name} {number(value)}" for name, value in products.items() if value]
        lines.append(text + (f"; matrix products, GOP/s: {', '.join(parts)}" if parts else ""))
    return lines


def describe_machine(results):
    machine = results["machine"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if machine["memory_bytes"] else "?"
    load = f"{machine['load_before']:.1f} before, {machine.get('load_after', 0):.1f} after"
    return (
        f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['isa'])}; {caches}; {memory}; "
        f"{machine['system']}; load {load}"
    )


def describe_runtimes(results):
    for name, runtime in results["runtimes"].items():
        versions = ", ".join(f"{package} {version}" for package, version in runtime["versions"].items())
        if not versions and name.startswith("rwkvc"):
            versions = f"revision {results['revision']}"
        options = f", {json.dumps(runtime['options'])}" if runtime["options"] else ""
        yield f"- {name}: {versions or 'not used'}{options}"


def table(results):
    """Everything as Markdown."""
    lines = [results["about"], ""] if results["about"] else []
    lines += [f"{results['started']}; {describe_machine(results)}", ""]
    lines += describe_runtimes(results)
    names = list(results["runtimes"])
    for part in results["parts"]:
        prepared = results["models"][part["model"]]["prepared"]
        title = f"{part['model']}, {part['threads']} thread{'s' * (part['threads'] != 1)}"
        lines += ["", f"## {title}{', another process on one core' * part['busy']}", ""]
        lines += [line for text in describe_limits(part) for line in (text, "")]
        found = rows(results, part)
        if found:
            lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for row in found:
            limit = f", share {row.limit_name}" if row.limit else ""
            cells = [cell(row, name, names[0]) for name in names]
            lines.append(f"| {row.title}, {row.unit}{limit} | " + " | ".join(cells) + " |")
        for use in ("decode", "prefill"):
            errors = {
                name: f[f"{use}_logits_error"] for name, f in part["figures"].items() if f"{use}_logits_error" in f
            }
            if errors:
                reference = part["reference"]
                cells = [show_error(errors.get(name), reference == [name, use]) for name in names]
                lines.append(f"| difference of logits, {use} | " + " | ".join(cells) + " |")
        lines.append("")
        for name in names:
            for kind in ("absent", "failed"):
                reason = prepared[name].get(kind) or (part["figures"][name].get("failed") if kind == "failed" else None)
                if reason:
                    lines.append(f"- {name} is {kind}: {reason}" if kind == "absent" else f"- {name} failed: {reason}")
            for use, note in prepared[name].get("notes", {}).items():
                lines.append(f"- {name}, {use}: {note}")
    first = names[0] if names else ""
    lines += [
        "",
        f"Best of {results['rounds']} rounds (worst in brackets), in which the runtimes take turns. ×: how many times better "
        f"{first} is. %: of what the machine allows, measured in the same rounds. Memory is beyond that of an idle Python.",
    ]
    return "\n".join(lines) + "\n"


COLUMNS = 4


def draw(axes, row, names, colors):
    """Bars of all runtimes, from the best round; lines from there to the worst; the limit."""
    for position, name in enumerate(names):
        if name not in row.values:
            axes.text(0, position, " –", va="center", fontsize=8)
            continue
        best, worst = row.best(name), row.worst(name)
        axes.barh(position, best, color=colors[position % len(colors)], height=0.7, alpha=0.8)
        axes.plot([best, worst], [position, position], color="black", linewidth=1)
        axes.text(0, position, f" {number(best)}", va="center", fontsize=8)
        if row.limit.get(name):
            axes.plot([row.limit[name]] * 2, [position - 0.45, position + 0.45], color="red", linewidth=1.5)
    axes.set_xlim(left=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(f"{row.title}, {row.unit}", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot_lengths(results, part, path, pyplot):
    """Time and memory against the length of a text."""
    sizes = numbers(part["figures"], "length", "bytes")
    figure, grid = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    kinds = (
        ("prompt_s", 1, "the text so far, s"),
        ("token_s", 1e3, "one more token, ms"),
        ("bytes", 1e-6, "memory, MB"),
    )
    for axes, (kind, scale, title) in zip(grid, kinds):
        for name, figures in part["figures"].items():
            points = [(n, figures.get(f"length_{n}_{kind}")) for n in sizes]
            points = [(n, min(values) * scale) for n, values in points if values]
            axes.plot(*zip(*points) if points else ([], []), marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("tokens")
        axes.set_title(title, fontsize=10)
    grid[0].set_yscale("log")
    for axes in grid[1:]:
        axes.set_ylim(bottom=0)
    grid[0].legend(fontsize=8)
    figure.suptitle(f"{part['model']}, {part['threads']} threads", fontsize=10)
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=120)


def plot(results, folder):
    """A block of bar charts for each model and scenario, one chart for each figure."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("no plot: matplotlib is not installed; see benchmarks/setup.sh")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for number, part in enumerate(results["parts"]):
        if numbers(part["figures"], "length", "bytes"):
            plot_lengths(results, part, folder / f"lengths{number or ''}", pyplot)
    lines = []  # (part, up to COLUMNS rows of its table)
    for part in results["parts"]:
        found = [row for row in rows(results, part) if row.charted]
        lines += [(part, found[start : start + COLUMNS]) for start in range(0, len(found), COLUMNS)]
    if not lines:
        return
    names = list(results["runtimes"])
    size = 13, (0.22 * len(names) + 0.75) * len(lines) + 0.4
    figure, grid = pyplot.subplots(len(lines), COLUMNS, figsize=size, squeeze=False, layout="constrained")
    for charts, (part, found) in zip(grid, lines):
        for axes in charts[len(found) :]:
            axes.axis("off")
        for axes, row in zip(charts, found):
            draw(axes, row, names, pyplot.get_cmap("tab10").colors)
            axes.set_yticks(range(len(names)), names if axes is charts[0] else [""] * len(names), fontsize=8)
        busy = ",\na busy core" * part["busy"]
        threads = f"{part['threads']} thread{'s' * (part['threads'] != 1)}"
        charts[0].set_ylabel(f"{part['model']}\n{threads}{busy}", fontsize=8)
    legend = f"black: best to worst round; red: what the machine allows.\n{describe_machine(results)}"
    figure.supxlabel(legend, fontsize=7)
    for suffix in (".svg", ".png"):
        figure.savefig(folder / f"plot{suffix}", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("results", type=pathlib.Path, help="results.json")
    parser.add_argument("--plot", action="store_true", help="write plot.svg and plot.png beside it instead")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    if options.plot:
        plot(results, options.results.parent)
    else:
        print(table(results), end="")


if __name__ == "__main__":
    main()
