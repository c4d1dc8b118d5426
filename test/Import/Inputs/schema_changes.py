# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the importer's table with the schemas: schema_changes.py UpdateOpset.cpp onnx_ops.txt.

An operator needs an entry where a newer operator set takes an operand away or requires one, takes an attribute away or
requires one, or gives a default another value. New optional operands and new attributes with a default need none.
"""

import pathlib
import re
import sys

import onnx
from onnx.defs import OpSchema

OLDEST, NEWEST = 11, 28
# Changed in meaning alone, which schemas do not show: per channel instead of per group; equal parts need a number.
BY_MEANING = {("GroupNormalization", 21), ("Split", 18)}


def attributes(schema):
    return {
        name: onnx.helper.get_attribute_value(a.default_value) if a.default_value.name else None
        for name, a in schema.attributes.items()
    }


def is_compatible(old, new):
    if len(new.inputs) < len(old.inputs) or len(new.outputs) < len(old.outputs):
        return False
    optional = OpSchema.FormalParameterOption.Optional
    if any(i.option != optional for i in new.inputs[len(old.inputs) :]):
        return False
    before, after = attributes(old), attributes(new)
    if any(name not in after or after[name] != value for name, value in before.items()):
        return False
    return not any(a.required and name not in before for name, a in new.attributes.items())


def main():
    table = set(re.findall(r'\{"(\w+)", (\d+),', pathlib.Path(sys.argv[1]).read_text()))
    table = {(op, int(version)) for op, version in table}
    lines = pathlib.Path(sys.argv[2]).read_text().splitlines()
    typed = {line.split("#")[0].strip() for line in lines} - {""}
    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in typed:
            versions.setdefault(schema.name, {})[schema.since_version] = schema
    needed = set()
    for name, schemas in versions.items():
        numbers = sorted(schemas)
        for old, new in zip(numbers, numbers[1:], strict=False):
            if OLDEST < new <= NEWEST and not is_compatible(schemas[old], schemas[new]):
                needed.add((name, new))
    newest = onnx.defs.onnx_opset_version()
    if newest != NEWEST:
        print(f"onnx has operator set {newest}; the importer knows {NEWEST}")
    print("not in the table:", sorted(needed - table))
    print("in the table without need:", sorted(table - needed - BY_MEANING))
    return not (newest == NEWEST and needed <= table <= needed | BY_MEANING)


if __name__ == "__main__":
    sys.exit(main())
