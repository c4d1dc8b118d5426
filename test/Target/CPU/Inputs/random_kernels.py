# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""random_kernels.py CC FOLDER [--cases N] [--seed S] [--only K]

Random linalg ops, lowered by upstream's convert-linalg-to-loops and by cpu-vectorize-kernels at several register
widths, compiled, run on the same data and compared: integers, minima and maxima exactly, sums and products within
rounding. Parallel kernels run one unit at a time, last unit first, so that no unit may rely on another. Registers wider
than the machine's are split by LLVM, so every width runs everywhere. AMX's instructions are carried out by amx.c. A
failing case prints its IR.
"""

import argparse
import ctypes
import pathlib
import random
import subprocess
import sys

import numpy as np

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 24, 31, 32, 33, 40, 64, 65, 100, 129)
MAX_POINTS = 60_000
NUMPY = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.uint16, "i8": np.int8, "i16": np.int16}
NUMPY |= {"i32": np.int32, "i64": np.int64, "i1": np.bool_}
EPSILON = {"f64": 2.0**-52, "f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}
# Options of cpu-vectorize-kernels, and what the processor must have to run the instructions that they say.
CONFIGURATIONS = {
    "vector-bits=128 min-parallel-work=0": (),
    "vector-bits=256 min-parallel-work=0": (),
    "vector-bits=256 min-parallel-work=1 dot-products=avx2": ("avx2",),
    "vector-bits=512 min-parallel-work=1": (),
    "vector-bits=512 min-parallel-work=1 dot-products=avx512bw": ("avx512bw", "avx512vl"),
    "vector-bits=512 min-parallel-work=0 dot-products=vnni": ("avx512_vnni", "avx512vl"),
    "vector-bits=256 min-parallel-work=0 dot-products=vnni": ("avx512_vnni", "avx512vl"),
    "vector-bits=512 min-parallel-work=1 dot-products=bf16": ("avx512_bf16", "avx512vl"),
    "vector-bits=256 min-parallel-work=0 dot-products=bf16": ("avx512_bf16", "avx512vl"),
    "vector-bits=512 min-parallel-work=1 dot-products=amx": ("avx512_bf16", "avx512vl"),
    "vector-bits=256 min-parallel-work=0 dot-products=amx": ("avx512_bf16", "avx512vl"),
}
AMX = ("-mamx-bf16", "-mamx-int8", str(pathlib.Path(__file__).parent / "amx.c"))
PARALLEL_FOR = """
typedef void (*Task)(void *, long, long);
void rwkvrt_parallel_for(Task task, void *context, long units) {
  for (long unit = units; unit-- > 0;)
    task(context, unit, unit + 1);
}
"""


class Buffer:
    """An operand: a view of `shape` into a buffer that may be wider and start later, with its index expressions."""

    def __init__(self, rng, element, indices, shape):
        self.element, self.indices, self.shape = element, indices, shape
        # The view's rows may be part of longer ones, and start somewhere inside the memory.
        padding = rng.choice((0, 0, 0, 1, 3)) if len(shape) > 1 else 0
        self.offset = rng.choice((0, 0, 0, 5))
        self.pad(padding)

    def pad(self, padding):
        self.padding, self.strides, size = padding, [], 1
        for extent in reversed(self.shape):
            self.strides.insert(0, size)
            size *= extent + (padding if len(self.strides) == 1 else 0)
        self.size = self.offset + size

    @property
    def type(self):
        shape = "".join(f"{extent}x" for extent in self.shape)
        if not self.offset and not self.padding:
            return f"memref<{shape}{self.element}>"
        strides = ", ".join(map(str, self.strides))
        return f"memref<{shape}{self.element}, strided<[{strides}], offset: {'?' if self.offset else 0}>>"

    def descriptor(self, memory):
        address = memory.ctypes.data
        return np.array([address, address, self.offset, *self.shape, *self.strides], np.int64)


class Case:
    """One linalg.generic: its operands, body and tolerance."""

    def __init__(self, rng, name):
        self.name = name
        self.lines, self.values = [], 0
        self.tables, self.exact, self.skips = [], False, 0
        self.of_pairs = False
        kinds = (self.random_nest, self.product, self.product, self.block_product)
        of_parts = {1: self.block_product, 3: self.float_parts, 5: self.pair_parts}
        of_parts.get(name % 8, rng.choice(kinds))(rng)
        bodies = {1: self.body, 2: self.block_body, 4: self.byte_body}
        (self.pair_body if self.of_pairs else bodies[self.group])(rng)
        # Of some parallel loops only the first iterations are needed.
        rng = random.Random(f"needed {name} {self.ranges}")
        loops = [d for d, reduced in enumerate(self.reduction) if not reduced]
        if name % 8 in (3, 5):  # rows, several of which go together
            loops = [1]
        self.limited = rng.choice(loops) if rng.random() < 0.5 else None
        self.needed = rng.randint(0, self.ranges[self.limited]) if self.limited is not None else None

    # -- loops and operands ------------------------------------------------------------------------------------------

    def random_nest(self, rng):
        self.group = 1
        while True:
            loops = rng.randint(1, 4)
            self.ranges = [rng.choice(SIZES) for _ in range(loops)]
            self.reduction = [rng.random() < 0.35 for _ in range(loops)]
            if np.prod(self.ranges) <= MAX_POINTS and not all(self.reduction):
                break
        integer = rng.random() < 0.25
        self.accumulator = "i32" if integer else rng.choice(("f32", "f32", "f32", "f64"))
        narrow = ("i8", "i32", "i32") if integer else ("f32", "f32", "f16", "bf16")
        maps = [[d for d in range(loops) if rng.random() < 0.7] for _ in range(rng.randint(1, 3))]
        parallel = [d for d in range(loops) if not self.reduction[d]]
        # Every loop's range is some operand's extent.
        maps[0] += [d for d in range(loops) if not any(d in dims for dims in (*maps, parallel))]
        self.inputs = []
        for dims in maps:
            rng.shuffle(dims)
            self.inputs.append(self.operand(rng, rng.choice(narrow), dims, constants=True))
        self.outputs = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            # Some outputs have an element for each step of the reductions, others sum over them.
            dims = list(range(loops)) if rng.random() < 0.25 else list(parallel)
            if rng.random() < 0.4:
                rng.shuffle(dims)
            self.outputs.append(self.operand(rng, self.accumulator, dims))

    def product(self, rng):
        """[batch x] [m x] k times k x n, with operands possibly transposed: what most of a model is."""
        self.group = 1
        k, n = rng.choice(SIZES[3:]), rng.choice((*SIZES[3:], 160, 257, 300))
        outer = rng.choice(([], [], [], [2], [3], [5], [2, 3]))
        while int(np.prod([k, n, *outer])) > 2 * MAX_POINTS:
            k = rng.choice(SIZES[3:])
        self.ranges = [*outer, n, k]
        self.reduction = [*(False for _ in outer), False, True]
        axes = list(range(len(outer)))
        integer = rng.random() < 0.2
        self.accumulator = "i32" if integer else "f32"
        weight = rng.choice(("i8", "i32") if integer else ("f32", "f16", "bf16"))
        column, row = len(outer), len(outer) + 1
        matrix = [column, row] if rng.random() < 0.5 else [row, column]
        batched = [a for a in axes if rng.random() < 0.5]
        self.inputs = [
            self.operand(rng, "i8" if integer else "f32", [*axes, row]),
            self.operand(rng, weight, [*batched, *matrix]),
        ]
        self.outputs = [self.operand(rng, self.accumulator, [*axes, column])]
        if weight == "bf16" and rng.random() < 0.7:
            return self.pair_product(rng, outer, n - n % 4, k // 2)
        # Half of the row's elements are zero, and skipped.
        self.skips = 0.5 if not integer and rng.random() < 0.3 else 0

    def pair_product(self, rng, outer, n, pairs):
        """[m x] pairs x two times pairs x n x two, all of bf16."""
        self.of_pairs = True
        self.ranges = [*outer, pairs, n, 2]
        self.reduction = [*(False for _ in outer), True, False, True]
        rows = list(range(len(outer)))
        pair, column, two = range(len(outer), len(outer) + 3)
        matrix = [pair, column, two] if rng.random() < 0.8 else [pair, two, column]
        self.inputs = [self.operand(rng, "bf16", [*rows, pair, two]), self.operand(rng, "bf16", matrix)]
        self.outputs = [self.operand(rng, "f32", [*rows, column])]

    def float_parts(self, rng):
        """m x k times parts x k x n, as matrices are packed."""
        self.group, self.accumulator = 1, "f32"
        part, row, step, column = range(4)
        self.ranges = [rng.choice((2, 3)), rng.choice((7, 12, 16, 29, 33, 64)), rng.choice((5, 24, 31))]
        self.ranges.append(rng.choice((16, 32, 64)))
        self.reduction = [False, False, True, False]
        weight = rng.choice(("f32", "f16", "bf16"))
        self.inputs = [self.operand(rng, "f32", [row, step]), self.operand(rng, weight, [part, step, column])]
        self.outputs = [self.operand(rng, "f32", [row, part, column])]

    def pair_parts(self, rng):
        """m x pairs x two times parts x pairs x n x two, as matrices are packed, most of which fit AMX's tiles."""
        self.of_pairs, self.group, self.accumulator = True, 1, "f32"
        part, row, pair, column, two = range(5)
        pairs, columns = rng.choice((16, 16, 32, 48, 24, 1040)), rng.choice((16, 32, 48, 64, 40))
        self.ranges = [rng.choice((1, 2, 3)), rng.choice((16, 32, 33, 47, 89, 15)), pairs, columns, 2]
        self.reduction = [False, False, True, False, True]
        self.inputs = [
            self.operand(rng, "bf16", [row, pair, two]),
            self.operand(rng, "bf16", [part, pair, column, two]),
        ]
        self.outputs = [self.operand(rng, "f32", [row, part, column])]
        for operand in self.inputs:
            operand.pad(0)
        rng.shuffle(self.inputs)

    def block_product(self, rng):
        """[m x] blocks x rows times blocks x rows x n, integers with a scale for each block: rows are seen as groups of
        two or four, which mostly lie side by side."""
        self.group, self.accumulator = rng.choice((2, 4, 4)), "f32"
        outer = rng.choice(([], [2], [13]))
        if self.name % 8 == 1:  # some that fit AMX's tiles
            self.group, outer = 4, rng.choice(([16], [48], [2, 33], [3, 16]))
        self.ranges = [*outer, rng.choice((1, 2, 3)), rng.choice((1, 4, 8, 16)), rng.choice((4, 16, 24, 32, 33, 64))]
        self.ranges.append(self.group)
        self.reduction = [*(False for _ in outer), True, True, False, True]
        rows = list(range(len(outer)))
        block, pair, column, two = range(len(outer), len(outer) + 4)
        matrix = [block, pair, column, two] if rng.random() < 0.8 else [block, pair, two, column]
        self.inputs = [
            self.operand(rng, "i16" if self.group == 2 else "i8", [*rows, block, pair, two]),
            self.operand(rng, "i8", matrix),
            self.operand(rng, rng.choice(("f32", "bf16")), [block, column]),
        ]
        if rng.random() < 0.4:  # zero points
            self.inputs.append(self.operand(rng, "i8", [block, column]))
        self.has_zeros = len(self.inputs) > 3
        self.gives_sums = self.group == 4 and rng.random() < 0.6
        if self.gives_sums:
            self.inputs.append(self.operand(rng, rng.choice(("i16", "i32")), [*rows, block]))
        self.outputs = [self.operand(rng, "f32", [*rows, column])]
        # Many of the row's groups are zero: few enough, or too many, to be skipped.
        self.skips = 0 if outer else rng.choice((0, 0.5, 0.9, 0.9))

    def operand(self, rng, element, dims, constants=False):
        indices, shape = [f"d{d}" for d in dims], [self.ranges[d] for d in dims]
        if constants and rng.random() < 0.15:
            place = rng.randint(0, len(indices))
            indices.insert(place, "1")
            shape.insert(place, 2)
        if constants and indices and rng.random() < 0.1:
            place = rng.randrange(len(indices))
            if indices[place] != "1" and not self.reduction[int(indices[place][1:])]:
                extent = shape[place]
                indices[place], shape[place] = f"{indices[place]} * 2 + 1", 2 * extent
        return Buffer(rng, element, indices, shape)

    # -- body --------------------------------------------------------------------------------------------------------

    def op(self, text, of=None):
        self.values += 1
        self.lines.append(f"    %v{self.values} = {text} : {of or self.accumulator}")
        return f"%v{self.values}"

    def widen(self, value, element):
        if element == self.accumulator:
            return value
        name = "arith.extsi" if self.accumulator == "i32" else "arith.extf"
        return self.op(f"{name} {value}", f"{element} to {self.accumulator}")

    def pair_body(self, rng):
        x, weight = (self.widen(f"%in{i}", "bf16") for i in (0, 1))
        self.yields = [self.op(f"arith.addf %out0, {self.op(f'arith.mulf {x}, {weight}')}")]

    def byte_body(self, rng):
        """Numbers of 8 bits or 4 without a sign, less a zero point."""
        x = self.op("arith.extsi %in0", "i8 to i32")
        numbers = rng.choice((["%in1"], ["%low"], ["%low", "%high"]))
        self.terms = len(numbers)
        zero = rng.choice((None, "%bias"))
        if self.has_zeros:
            zero = self.op("arith.extsi %in3", "i8 to i32")
        terms = []
        for number in numbers:
            if number == "%low":
                number = self.op("arith.andi %in1, %byte_mask", "i8")
            elif number == "%high":
                number = self.op("arith.shrui %in1, %byte_half", "i8")
                number = self.op(f"arith.xori {number}, %byte_sign", "i8")
            elif self.name % 8 == 1 and zero:  # weights with a sign
                number = self.op("arith.addi %in1, %byte_bias", "i8")
            weight = self.op(f"arith.extui {number}", "i8 to i32")
            if zero:
                weight = self.op(f"arith.subi {weight}, {zero}", "i32")
            terms.append(self.op(f"arith.muli {x}, {weight}", "i32"))
        sum = terms[0] if len(terms) == 1 else self.op(f"arith.addi {terms[0]}, {terms[1]}", "i32")
        self.add_scaled(sum)

    def add_scaled(self, sum):
        value = self.op(f"arith.sitofp {sum}", "i32 to f32")
        value = self.op(f"arith.mulf {value}, {self.widen('%in2', self.inputs[2].element)}")
        self.yields = [self.op(f"arith.addf %out0, {value}")]

    def block_body(self, rng):
        x = self.op("arith.extsi %in0", "i16 to i32")
        has_halves = rng.random() < 0.5
        if self.has_zeros:  # numbers without a sign, less their block's zero point
            number = self.op("arith.extui %in1", "i8 to i16")
            zero = self.op("arith.extsi %in3", "i8 to i16")
            halves = [f"arith.andi {number}, %mask", f"arith.shrui {number}, %half_byte"]
            weights = [self.op(half, "i16") for half in halves] if has_halves else [number]
            weights = [self.op(f"arith.subi {weight}, {zero}", "i16") for weight in weights]
            weights = [self.op(f"arith.extsi {weight}", "i16 to i32") for weight in weights]
        else:
            weights = [self.op("arith.extsi %in1", "i8 to i32")]
            if has_halves:
                weights.append(self.op(f"arith.shrsi {weights[0]}, %shift", "i32"))
        terms = [self.op(f"arith.muli {x}, {weight}", "i32") for weight in weights]
        self.add_scaled(self.op(f"arith.addi {terms[0]}, {terms[1]}", "i32") if has_halves else terms[0])

    def body(self, rng):
        integer = self.accumulator == "i32"
        suffix = "i" if integer else "f"
        values = [self.widen(f"%in{i}", x.element) for i, x in enumerate(self.inputs)]
        if rng.random() < 0.15:
            loop = rng.randrange(len(self.ranges))
            index = self.op(f"linalg.index {loop}", "index")
            values.append(self.number(index, integer))
        if rng.random() < 0.1 and not integer:
            values.append("%scalar")
        if rng.random() < 0.15 and self.accumulator == "f32":
            # Read in the body: a row of a table, along some loop.
            loop = rng.randrange(len(self.ranges))
            self.tables.append(Buffer(rng, "f32", [], [3, self.ranges[loop] + rng.choice((0, 2))]))
            along = self.op(f"linalg.index {loop}", "index")
            values.append(self.op(f"memref.load %t0[%row, {along}]", self.tables[0].type))
        value = values[0]
        for other in values[1:]:
            names = ("mul",) if self.skips else ("mul", "mul", "add", "sub")
            value = self.op(f"arith.{rng.choice(names)}{suffix} {value}, {other}")
        reduces = any(r for r, size in zip(self.reduction, self.ranges))
        if rng.random() < 0.2:
            positive = self.compare(values[0], integer)
            value = self.op(f"arith.select {positive}, {value}, {values[0]}")
        if rng.random() < 0.2 and not integer and not reduces:
            value = self.op(f"math.absf {value}")
        if not reduces and self.inputs[0].element == self.accumulator and rng.random() < 0.2:
            self.inputs[0] = self.outputs[0]  # in place
        self.yields = []
        largest = "arith.max", "arith.min"
        combiners = ["add", "add", "add", "mul", *largest, "ordered"]
        kinds = [rng.choice(combiners) if not self.skips else "add" for _ in self.outputs]
        for i, kind in enumerate(kinds):
            old = f"%out{i}"
            if not reduces and rng.random() < 0.7:
                self.yields.append(value)
            elif kind in largest:
                name = kind + ("si" if integer else rng.choice(("numf", "imumf")))
                self.yields.append(self.op(f"{name} {rng.choice((f'{old}, {value}', f'{value}, {old}'))}"))
            elif kind == "ordered":  # no reduction that may change its order
                half = self.op("arith.shrsi " + old + ", %shift") if integer else self.op(f"arith.mulf {old}, %half")
                self.yields.append(self.op(f"arith.add{suffix} {half}, {value}"))
            elif kind == "mul" and not integer:
                # Near one, so that products stay in range.
                small = self.op(f"arith.mulf {value}, %small")
                near = self.op(f"arith.addf {small}, %one")
                self.yields.append(self.op(f"arith.mulf {old}, {near}"))
            else:
                self.yields.append(self.op(f"arith.{'mul' if kind == 'mul' else 'add'}{suffix} {old}, {value}"))

        # Nothing is rounded otherwise: no product that is contracted with a sum, no sum in another order.
        rounded = ("mulf", "addf") if reduces else ("mulf",)
        self.exact = integer or not any(name in line for line in self.lines for name in rounded)

    def number(self, index, integer):
        self.values += 1
        self.lines.append(f"    %v{self.values} = arith.index_cast {index} : index to i32")
        return f"%v{self.values}" if integer else self.op(f"arith.sitofp %v{self.values}", f"i32 to {self.accumulator}")

    def compare(self, value, integer):
        zero = "%izero" if integer else "%fzero"
        return self.op(f"arith.cmp{'i sgt' if integer else 'f ogt'}, {value}, {zero}")

    # -- text and data -----------------------------------------------------------------------------------------------

    @property
    def operands(self):
        return [*self.inputs, *self.outputs]

    def text(self):
        operands = [*self.operands, *self.tables]
        names = [f"%x{i}" for i in range(len(self.inputs))] + [f"%y{i}" for i in range(len(self.outputs))]
        names += [f"%t{i}" for i in range(len(self.tables))]
        arguments = ", ".join(f"{name}: {x.type}" for name, x in zip(names, operands))
        dims = ", ".join(f"d{d}" for d in range(len(self.ranges)))
        maps = [f"affine_map<({dims}) -> ({', '.join(x.indices)})>" for x in self.operands]
        kinds = ", ".join('"reduction"' if r else '"parallel"' for r in self.reduction)
        block = [f"%in{i}: {x.element}" for i, x in enumerate(self.inputs)]
        inputs = [(f"%x{i}", x.type) for i, x in enumerate(self.inputs)]
        if self.limited is not None:
            maps.insert(len(inputs), f"affine_map<({dims}) -> ()>")
            inputs.append(("%needed", "index"))
            block.append("%number: index")
        block += [f"%out{i}: {x.element}" for i, x in enumerate(self.outputs)]
        constants = {"half": 0.5, "small": 0.001, "one": 1.0, "scalar": 0.75, "fzero": 0.0}
        floating = "f32" if self.accumulator == "i32" else self.accumulator

        def group(word, operands):
            if not operands:
                return ""
            names, types = zip(*operands)
            return f"{word}({', '.join(names)} : {', '.join(types)})"

        lines = [f"func.func private @kernel_{self.name}({arguments}) {{"]
        lines += [f"  %{name} = arith.constant {value:e} : {floating}" for name, value in constants.items()]
        lines += ["  %shift = arith.constant 1 : i32", "  %izero = arith.constant 0 : i32"]
        lines += ["  %mask = arith.constant 15 : i16", "  %half_byte = arith.constant 4 : i16"]
        lines += ["  %byte_mask = arith.constant 15 : i8", "  %byte_half = arith.constant 4 : i8"]
        lines += ["  %byte_bias = arith.constant 128 : i8"]
        lines += ["  %byte_sign = arith.constant 8 : i8", "  %bias = arith.constant 128 : i32"]
        lines += ["  %row = arith.constant 1 : index"]
        skips = ", cpu.skip_zeros = 0 : i64" if self.skips else ""
        if self.limited is not None:
            lines += [f"  %needed = arith.constant {self.needed} : index"]
            skips += f", rwkvc.needed = array<i64: {self.limited}, {len(self.inputs)}>"
        if self.group == 4 and self.gives_sums:
            skips += f", cpu.block_sums = {len(self.inputs) - 1} : i64"
        lines += [f"  linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{kinds}]{skips}}}"]
        outputs = [(f"%y{i}", x.type) for i, x in enumerate(self.outputs)]
        lines += [f"      {group('ins', inputs)} {group('outs', outputs)} {{"]
        lines += [f"  ^bb0({', '.join(block)}):", *self.lines]
        lines += [f"    linalg.yield {', '.join(self.yields)} : {', '.join(x.element for x in self.outputs)}", "  }"]
        lines += ["  return", "}"]
        types = ", ".join(x.type for x in operands)
        lines += [f"func.func @case_{self.name}({arguments}) attributes {{llvm.emit_c_interface}} {{"]
        lines += [f"  call @kernel_{self.name}({', '.join(names)}) : ({types}) -> ()", "  return", "}"]
        return "\n".join(lines)

    def data(self, rng):
        def memory(x):
            if x.element == "i8" and self.group == 4:
                return rng.integers(-128, 128, x.size).astype(np.int8)
            if x.element.startswith("i"):
                return rng.integers(-9, 10, x.size).astype(NUMPY[x.element])
            values = rng.uniform(-1.0, 1.0, x.size).astype(np.float32)
            if x.element == "bf16":
                return (values.view(np.uint32) >> 16).astype(np.uint16)
            return values.astype(NUMPY[x.element])

        memories = [memory(x) for x in (*self.operands, *self.tables)]
        if self.group == 4:
            self.fill_extremes(memories[0], -127 if self.gives_sums else -128, rng)
        if self.skips:
            zeros = rng.random(memories[0].size // self.group + 1) < self.skips
            memories[0][np.repeat(zeros, self.group)[: memories[0].size]] = 0
        if self.group == 4 and self.gives_sums:
            sums = self.view(memories[0], self.inputs[0]).sum(axis=(-2, -1), dtype=np.int32)
            self.view(memories[-2], self.inputs[-1])[...] = sums * self.terms
        return memories

    @staticmethod
    def fill_extremes(memory, least, rng):
        """Where instructions saturate: long runs of what is largest."""
        kind = rng.integers(3)
        if kind:
            memory[...] = (least, 127)[kind - 1]
        memory[...] = np.maximum(memory, least)

    @staticmethod
    def view(memory, buffer):
        strides = [stride * memory.itemsize for stride in buffer.strides]
        return np.lib.stride_tricks.as_strided(memory[buffer.offset :], buffer.shape, strides)

    def run(self, library, memories):
        memories = [memory.copy() for memory in memories]
        if self.inputs[0] is self.outputs[0]:
            memories[0] = memories[len(self.inputs)]
        descriptors = [x.descriptor(m) for x, m in zip((*self.operands, *self.tables), memories)]
        getattr(library, f"_mlir_ciface_case_{self.name}")(*(ctypes.c_void_p(d.ctypes.data) for d in descriptors))
        return memories

    def check(self, expected, actual):
        """None, or what differs. Whole buffers are compared: what lies between the rows of a view must not change."""
        count, in_place = len(self.inputs), self.inputs[0] is self.outputs[0]
        if any(not np.array_equal(a, b) for a, b in zip(expected[in_place:count], actual[in_place:count])):
            return "an input was written"
        steps = np.prod([size for size, r in zip(self.ranges, self.reduction) if r], dtype=np.int64) + 4
        for number, (a, b) in enumerate(zip(expected[count : len(self.operands)], actual[count : len(self.operands)])):
            if self.limited is not None:
                b = self.with_rest(self.outputs[number], b, a)
            if self.exact:
                wrong = a != b
            else:
                scale = np.maximum(np.abs(a), 1.0 + np.sqrt(steps) * self.bound())
                wrong = ~(np.abs(a - b) <= 2.0 * EPSILON[self.accumulator] * steps * scale)
            if wrong.any():
                place = int(np.argmax(wrong))
                return f"output {number}, element {place}: {b[place]} instead of {a[place]} ({wrong.sum()} differ)"
        return None

    def with_rest(self, output, memory, other):
        """`memory` with what is not needed of it taken from `other`."""
        memory = memory.copy()
        rest = tuple(slice(self.needed if x == f"d{self.limited}" else None, None) for x in output.indices)
        self.view(memory, output)[rest] = self.view(other, output)[rest]
        return memory

    def bound(self):
        """How large one term may be: inputs are below 1, loop numbers below their range, integers below 10."""
        if self.group == 4:
            return 100_000.0
        if self.group == 2:
            return 5000.0 if self.has_zeros else 200.0
        return max(self.ranges) if any("linalg.index" in line for line in self.lines) else 2.0


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:300]}\n{done.stderr[-4000:]}")
    return done.stdout


def build(cc, folder, name, source, passes, extra=()):
    """Compiles the module to a library, with `extra` arguments; returns it with the IR before LLVM."""
    lowered = run(["rwkv-opt", *passes, "-canonicalize"], source)
    llvm = run(["rwkv-opt", "-rwkvc-to-llvm"], lowered)
    (folder / f"{name}.ll").write_text(run(["mlir-translate", "-mlir-to-llvmir"], llvm))
    library = folder / f"{name}.so"
    files = [str(folder / f"{name}.ll"), str(folder / "parallel_for.c")]
    run(
        [
            cc,
            "-O1",
            "-march=native",
            "-ffp-contract=off",
            "-Wno-override-module",
            "-shared",
            "-fPIC",
            *files,
            *extra,
            "-lm",
            "-o",
            str(library),
        ]
    )
    return ctypes.CDLL(str(library)), lowered


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cc")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this case alone")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "parallel_for.c").write_text(PARALLEL_FOR)
    cases = [Case(random.Random(f"{options.seed}.{i}"), i) for i in range(options.cases)]
    if options.only is not None:
        cases = [cases[options.only]]
    source = "\n".join(case.text() for case in cases)
    (options.folder / "cases.mlir").write_text(source)
    reference, _ = build(options.cc, options.folder, "loops", source, ["-convert-linalg-to-loops"])
    failures = 0
    inputs = [case.data(np.random.default_rng([options.seed, case.name])) for case in cases]
    expected = [case.run(reference, memories) for case, memories in zip(cases, inputs)]
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    for number, (configuration, needs) in enumerate(CONFIGURATIONS.items()):
        if not all(name in flags for name in needs):
            continue
        passes = [f"-cpu-vectorize-kernels={configuration}"]
        extra = AMX if "amx" in configuration else ()
        library, lowered = build(options.cc, options.folder, f"vectors{number}", source, passes, extra)
        wrong = 0
        for case, memories, wanted in zip(cases, inputs, expected):
            difference = case.check(wanted, case.run(library, memories))
            if difference:
                wrong += 1
                print(f"case {case.name}, {configuration}: {difference}\n{case.text() if not failures else ''}")
                failures += 1
        kernels = lowered.split("func.func private")[1:]
        features = {
            "vectorised": sum("vector." in part for part in kernels),
            "with pairs": sum("vector.deinterleave" in part for part in kernels),
            "with instructions of their own": sum("llvm.x86" in part for part in kernels),
            "in tiles": sum("amx.tile_mul" in part for part in kernels),
            "with rows skipped": sum("memref.alloca" in part and "amx." not in part for part in kernels),
            "with a horizontal reduction": sum("vector.reduction" in part for part in kernels),
            "parallel": lowered.count("cpu.parallel_units"),
        }
        told = ", ".join(f"{count} {what}" for what, count in features.items())
        print(f"{configuration}: {len(cases)} kernels, {told}: {wrong} wrong")
    print("FAIL" if failures else "PASS")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
