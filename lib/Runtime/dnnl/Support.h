//===- Support.h - Owners of oneDNN objects, errors -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef RWKVC_LIB_RUNTIME_DNNL_SUPPORT_H
#define RWKVC_LIB_RUNTIME_DNNL_SUPPORT_H

#include "rwkvc-rt/dnnl.h"

#include <dnnl.h>
#include <memory>
#include <string>

namespace rwkvrt::onednn {

/// Thrown inside this library; the C API turns it into status and message.
struct Error {
  rwkvrt_dnnl_status status;
  std::string message;
};

/// Throws unless \p status is success; \p action completes "oneDNN cannot".
inline void check(dnnl_status_t status, const char *action) {
  if (status == dnnl_success)
    return;
  if (status == dnnl_out_of_memory)
    throw Error{RWKVRT_DNNL_OUT_OF_MEMORY,
                std::string("out of memory: oneDNN cannot ") + action};
  const char *reason = status == dnnl_unimplemented
                           ? "it has no kernel for these types or strides on "
                             "this processor"
                       : status == dnnl_invalid_arguments
                           ? "it calls the arguments invalid"
                           : "it gives no reason";
  throw Error{RWKVRT_DNNL_FAILED, std::string("oneDNN cannot ") + action +
                                      ": " + reason + " (status " +
                                      std::to_string(status) + ")"};
}

template <auto destroy> struct Destroy {
  template <typename T> void operator()(T *object) const { destroy(object); }
};
template <typename Handle, auto destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

using Engine = Owner<dnnl_engine_t, dnnl_engine_destroy>;
using Stream = Owner<dnnl_stream_t, dnnl_stream_destroy>;
using Memory = Owner<dnnl_memory_t, dnnl_memory_destroy>;
using MemoryDesc = Owner<dnnl_memory_desc_t, dnnl_memory_desc_destroy>;
using Attributes = Owner<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy>;
using PostOps = Owner<dnnl_post_ops_t, dnnl_post_ops_destroy>;
using PrimitiveDesc = Owner<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using Primitive = Owner<dnnl_primitive_t, dnnl_primitive_destroy>;

/// make<Stream>(dnnl_stream_create, "make a stream", engine, flags)
template <typename Object, typename Create, typename... Arguments>
Object make(Create create, const char *action, Arguments... arguments) {
  typename Object::pointer handle = nullptr;
  check(create(&handle, arguments...), action);
  return Object(handle);
}

inline Memory makeMemory(const_dnnl_memory_desc_t desc, dnnl_engine_t engine,
                         void *data) {
  return make<Memory>(dnnl_memory_create, "describe an operand", desc, engine,
                      data);
}

} // namespace rwkvrt::onednn

#endif // RWKVC_LIB_RUNTIME_DNNL_SUPPORT_H
