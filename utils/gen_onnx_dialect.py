#!/usr/bin/env python3
# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Write the op definitions of the `onnx` dialect from the ONNX operator schemas.

Usage: gen_onnx_dialect.py [--list python/rwkvc/onnx_ops.txt] -o ONNXOps.td.inc

The list names the operators that get a typed op. Operands, results and
attributes keep the schema's names (operands and results in snake case), order
and defaults. An operand that a node leaves out is the result of
`onnx.NoValue`, so that operand positions always equal ONNX positions.
"""

import argparse
import pathlib
import re

import onnx
from onnx.defs import OpSchema

HEADER = """\
//===- ONNXOps.td.inc - Ops generated from the ONNX schemas ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Written by utils/gen_onnx_dialect.py from the schemas of ONNX {version};
// do not edit. The ops listed are those of python/rwkvc/onnx_ops.txt.
//
//===----------------------------------------------------------------------===//

"""

Type = OpSchema.AttrType
ATTRIBUTES = {
    Type.INT: "I64Attr",
    Type.FLOAT: "F32Attr",
    Type.STRING: "StrAttr",
    Type.INTS: "DenseI64ArrayAttr",
    Type.FLOATS: "DenseF32ArrayAttr",
    Type.STRINGS: "StrArrayAttr",
    Type.TENSOR: "ElementsAttr",
}
# Element types of the dialect; a schema's other types (strings, sequences, ...) have no typed form.
ELEMENTS = {
    "tensor(float)": "F32",
    "tensor(float16)": "F16",
    "tensor(bfloat16)": "BF16",
    "tensor(double)": "F64",
    "tensor(bool)": "I1",
    "tensor(int8)": "I8",
    "tensor(int16)": "I16",
    "tensor(int32)": "I32",
    "tensor(int64)": "I64",
    "tensor(uint8)": "UI8",
    "tensor(uint16)": "UI16",
    "tensor(uint32)": "UI32",
    "tensor(uint64)": "UI64",
}
FLOATS = ("F32", "F16", "BF16", "F64")
# Names that C++ or the generated accessors reserve.
RENAME = {"input": "input", "then": "then_value", "else": "else_value"}


def snake(name):
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return RENAME.get(name, name)


def type_constraint(schema, type_str):
    allowed = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == type_str), [type_str])
    elements = [ELEMENTS[t] for t in allowed if t in ELEMENTS]
    if set(elements) == set(ELEMENTS.values()):
        return "ONNX_Tensor"
    if set(elements) == set(FLOATS):
        return "ONNX_FloatTensor"
    return f"TensorOf<[{', '.join(elements)}]>" if elements else "ONNX_Tensor"


def value_lines(schema, values, results):
    for value in values:
        constraint = type_constraint(schema, value.type_str)
        option = value.option
        if option == OpSchema.FormalParameterOption.Variadic:
            constraint = f"Variadic<{'ONNX_Value' if not value.is_homogeneous else constraint}>"
        elif option == OpSchema.FormalParameterOption.Optional:
            constraint = f"AnyTypeOf<[{constraint}, NoneType]>"
        yield f"{constraint}:${snake(value.name)}" if not results else f"{constraint}:${snake(value.name)}"


def attribute_lines(schema):
    for name, attribute in sorted(schema.attributes.items()):
        kind = ATTRIBUTES.get(attribute.type)
        if kind is None:
            continue
        default = onnx.helper.get_attribute_value(attribute.default_value) if attribute.default_value.name else None
        if default is None:
            yield f"{kind if attribute.required else f'OptionalAttr<{kind}>'}:${name}"
        elif attribute.type == Type.INT:
            yield f'DefaultValuedAttr<{kind}, "{default}">:${name}'
        elif attribute.type == Type.FLOAT:
            yield f'DefaultValuedAttr<{kind}, "{default:.9g}{"" if "." in f"{default:.9g}" or "e" in f"{default:.9g}" else "."}f">:${name}'
        elif attribute.type == Type.STRING:
            yield f'DefaultValuedStrAttr<{kind}, "{default.decode()}">:${name}'
        else:
            yield f'DefaultValuedAttr<{kind}, "{{{", ".join(map(str, default))}}}">:${name}'


def first_sentence(schema):
    text = " ".join(schema.doc.split())
    text = re.split(r"(?<=[.!])\s", text)[0] if text else schema.name
    return text.replace('"', "'").replace("\\", "")[:160].rstrip(". ")


def op_definition(schema):
    operands = list(value_lines(schema, schema.inputs, False))
    results = list(value_lines(schema, schema.outputs, True))
    graphs = [n for n, a in sorted(schema.attributes.items()) if a.type == Type.GRAPH]
    lines = [f'def ONNX_{schema.name}Op : ONNX_Op<"{schema.name}"{", []" if graphs else ""}> {{']
    lines.append(f'  let summary = "{first_sentence(schema)}";')
    lines.append(f"  let description = [{{ONNX `{schema.name}`, semantics of opset {schema.since_version}.}}];")
    arguments = operands + list(attribute_lines(schema))
    lines.append("  let arguments = (ins" + ",".join(f"\n    {a}" for a in arguments) + ");")
    lines.append("  let results = (outs" + ",".join(f"\n    {r}" for r in results) + ");")
    if graphs:
        lines.append("  let regions = (region" + ",".join(f"\n    SizedRegion<1>:${snake(g)}" for g in graphs) + ");")
    lines.append("}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--list", type=pathlib.Path, default=here.parent / "python" / "rwkvc" / "onnx_ops.txt")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    names = [line.split("#")[0].strip() for line in arguments.list.read_text().splitlines()]
    ops = [op_definition(onnx.defs.get_schema(n)) for n in sorted(filter(None, names))]
    arguments.output.write_text(HEADER.format(version=onnx.__version__) + "\n\n".join(ops) + "\n")


if __name__ == "__main__":
    main()
