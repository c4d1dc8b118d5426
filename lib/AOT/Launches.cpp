//===- Launches.cpp - Functions as lists of launches ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Launches.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

void aot::setLaunches(Operation *entry, ArrayRef<Launch> launches) {
  Builder b(entry->getContext());
  SmallVector<Attribute> list;
  for (const Launch &launch : launches) {
    SmallVector<int64_t> arguments;
    for (const LaunchArgument &argument : launch.arguments)
      arguments.append({argument.kind, argument.index, argument.value});
    SmallVector<NamedAttribute> fields{
        b.getNamedAttr("arguments", b.getDenseI64ArrayAttr(arguments)),
        b.getNamedAttr("groups", b.getI64IntegerAttr(launch.numGroups)),
        b.getNamedAttr("kernel", b.getStringAttr(launch.kernel))};
    if (launch.isForLogits)
      fields.push_back(b.getNamedAttr("for_logits", b.getUnitAttr()));
    list.push_back(b.getDictionaryAttr(fields));
  }
  entry->setAttr(kLaunchesAttr, b.getArrayAttr(list));
}

FailureOr<SmallVector<Launch>> aot::readLaunches(Operation *entry) {
  auto list = entry->getAttrOfType<ArrayAttr>(kLaunchesAttr);
  auto malformed = [&] {
    return entry->emitOpError() << "must have the attribute '" << kLaunchesAttr
                                << "' that rwkvc-record-launches makes";
  };
  if (!list)
    return malformed();
  SmallVector<Launch> launches;
  for (Attribute attribute : list) {
    auto fields = dyn_cast<DictionaryAttr>(attribute);
    auto kernel = fields ? fields.getAs<StringAttr>("kernel") : nullptr;
    auto groups = fields ? fields.getAs<IntegerAttr>("groups") : nullptr;
    auto arguments =
        fields ? fields.getAs<DenseI64ArrayAttr>("arguments") : nullptr;
    if (!kernel || !groups || !arguments || arguments.size() % 3 != 0)
      return malformed();
    Launch launch{
        kernel.str(), groups.getInt(), fields.contains("for_logits"), {}};
    for (int64_t i = 0; i < arguments.size(); i += 3) {
      if (arguments[i] < LaunchArgument::Weights ||
          arguments[i] > LaunchArgument::Number)
        return malformed();
      launch.arguments.push_back(
          {static_cast<LaunchArgument::Kind>(arguments[i]), arguments[i + 1],
           arguments[i + 2]});
    }
    launches.push_back(std::move(launch));
  }
  return launches;
}
