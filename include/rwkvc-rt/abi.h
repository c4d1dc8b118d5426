/*===-- rwkvc-rt/abi.h - Contract between compiled models and runtime -------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * A compiled model is one constant `rwkvrt_model_info`, emitted by the compiler
 * under the symbol `rwkvc_model_<name>`; shared libraries and executables also
 * export it as `rwkvc_model`. The structure is versioned: a runtime refuses a
 * model whose `abi_version` differs from its own.
 *
 *===------------------------------------------------------------------------===
 */
#ifndef RWKVC_RT_ABI_H
#define RWKVC_RT_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RWKVRT_ABI_VERSION 8u

/** Element types; the values are those of ONNX's TensorProto.DataType. */
typedef enum rwkvrt_dtype {
  RWKVRT_F32 = 1,
  RWKVRT_U8 = 2,
  RWKVRT_I8 = 3,
  RWKVRT_U16 = 4,
  RWKVRT_I16 = 5,
  RWKVRT_I32 = 6,
  RWKVRT_I64 = 7,
  RWKVRT_BOOL = 9,
  RWKVRT_F16 = 10,
  RWKVRT_F64 = 11,
  RWKVRT_U32 = 12,
  RWKVRT_U64 = 13,
  RWKVRT_BF16 = 16
} rwkvrt_dtype;

/** One input or output of a function: contiguous, row-major. */
typedef struct rwkvrt_tensor_info {
  const char *name;    /**< name in the ONNX graph, or of the derived form */
  int32_t dtype;       /**< rwkvrt_dtype */
  int32_t rank;        /**< number of entries of dims */
  const int64_t *dims; /**< elements per dimension, all >= 0 */
  int64_t index_limit; /**< inputs that index a table (token ids): valid values
                            are 0 .. index_limit-1; 0 = not an index */
} rwkvrt_tensor_info;

/** A state carried from one call to the next. Both tensors have one type. */
typedef struct rwkvrt_state_info {
  int32_t input;  /**< index into inputs */
  int32_t output; /**< index into outputs */
  double initial; /**< every element of the empty state: 0, or -1e30 for v4's
                       running maximum */
} rwkvrt_state_info;

/**
 * A compiled function. Status 0 is success.
 *
 * \p code is that of one of the model's levels, all of whose features the
 * processor has. \p weights is the weights' data section (NULL if the model has
 * none),
 * \p inputs and \p outputs hold one pointer per input and output, in the order
 * of the function's tables, \p workspace is workspace_size bytes of scratch
 * whose contents need not be kept (NULL if the size is 0).
 *
 * For a state pair the function reads the old and writes the new state in
 * outputs[state.output]; it never touches inputs[state.input], which may be
 * NULL. So may outputs[logits_output]: then what only the logits need is not
 * computed. Weights and workspace are 64-byte aligned. Inputs and outputs are
 * aligned to their element size at least, and to 64 bytes where the runtime
 * allocates them. Calls with different outputs and workspace may run at once.
 */
typedef int32_t (*rwkvrt_run_fn)(const void *code, const void *weights,
                                 void *const *inputs, void *const *outputs,
                                 void *workspace);

/**
 * What a function is for. A model holds each kind once at most.
 *
 * The file's own graph has the ONNX file's signature. The derived forms work on
 * one canonical state, the same list of tensors in both, so that any mixture of
 * their calls gives the same result. B sequences are computed at once.
 *
 * STEP, one token of each sequence:
 *     tokens [B] integer, states -> logits [B, V] float, states
 * PREFILL, a block of T tokens of each sequence, of which the first `length`
 * count (1 to T); what follows them is padding that must be valid, 0 for
 * instance. The states are those after `length` tokens, the logits [B, V] those
 * after the last one; or [B, T, V], of which rows from `length` on are
 * unspecified:
 *     tokens [B, T] integer, length int64 [], states -> logits, states
 *
 * Conversions are there where both the graph, with states, and a derived form
 * are. They have no state pairs: all tensors are plain inputs and outputs.
 * `batch` is the number of texts that the graph computes at once, which need
 * not be B; the canonical state's tensors are those of a derived form but for
 * their first axis.
 *
 * UNPACK: the graph's state inputs -> the canonical state
 * PACK:   the canonical state -> the graph's state outputs
 * both in the order of the functions' tables of states. Elements of the graph's
 * states that no token reads are 0.
 */
typedef enum rwkvrt_function_kind {
  RWKVRT_GRAPH = 0,
  RWKVRT_STEP = 1,
  RWKVRT_PREFILL = 2,
  RWKVRT_UNPACK = 3,
  RWKVRT_PACK = 4
} rwkvrt_function_kind;

/** Of rwkvrt_function_info::flags: a call takes as long as its length asks
 * for; without it, as long as a full block. */
#define RWKVRT_FUNCTION_SKIPS_PADDING 1u

/** One function of a model. */
typedef struct rwkvrt_function_info {
  int32_t kind; /**< rwkvrt_function_kind */
  uint32_t num_inputs, num_outputs, num_states;
  const rwkvrt_tensor_info *inputs;
  const rwkvrt_tensor_info *outputs;
  const rwkvrt_state_info *states;
  int32_t token_input;   /**< index of the token ids' input, -1 = not known */
  int32_t length_input;  /**< index of the length, -1 = none */
  int32_t logits_output; /**< index of the logits output, -1 = not known */
  uint32_t flags;        /**< RWKVRT_FUNCTION_... */
  int64_t batch; /**< sequences per call; 0 for the file's own graph, whose
                      axes may mean anything */
  int64_t block; /**< most tokens of each sequence per call; 0 likewise, and
                      for conversions */
  uint64_t workspace_size; /**< bytes of 64-byte aligned scratch that one call
                                needs; contents need not be kept */
  rwkvrt_run_fn run; /**< NULL in a model that has code for devices only */
} rwkvrt_function_info;

/**
 * Code for one kind of processor. All of a model's levels compute the same, and
 * share weights, states and workspaces.
 */
typedef struct rwkvrt_level_info {
  const char *name;  /**< the processor, as `rwkvc --mcpu` names it */
  uint64_t features; /**< instruction sets that it needs: a bit for each line
                          of x86-features.def; 0 on other architectures, where
                          nothing can be checked */
  const void *code;  /**< for calls of the model's functions; may be NULL */
} rwkvrt_level_info;

/** Interfaces by which a device takes code. */
typedef enum rwkvrt_device_kind {
  RWKVRT_OPENCL = 1, /**< SPIR-V for 64-bit OpenCL devices */
  RWKVRT_CUDA = 2,   /**< PTX, which need not end with a null character, a
                          cubin or a fat binary */
  RWKVRT_HIP = 3     /**< an AMD code object */
} rwkvrt_device_kind;

/**
 * What a kernel's argument is. Addresses are those of the device's global
 * memory, in OpenCL pointers to CrossWorkgroup; numbers are integers.
 */
typedef enum rwkvrt_argument_kind {
  RWKVRT_ARG_WEIGHTS = 0,   /**< address in the weights' data section, within
                                 the part that the device's code reads */
  RWKVRT_ARG_WORKSPACE = 1, /**< address in the scratch */
  RWKVRT_ARG_INPUT = 2,     /**< address in input number `index` */
  RWKVRT_ARG_OUTPUT = 3,    /**< address in output number `index` */
  RWKVRT_ARG_NUMBER = 4     /**< `value` itself, 64 bits */
} rwkvrt_argument_kind;

typedef struct rwkvrt_argument {
  int32_t kind;   /**< rwkvrt_argument_kind */
  uint32_t index; /**< of the input or output; else 0 */
  uint64_t value; /**< bytes from its beginning, or the number */
} rwkvrt_argument;

/** Of rwkvrt_launch::flags: only the logits depend on what it computes. */
#define RWKVRT_LAUNCH_FOR_LOGITS 1u

/** One run of a kernel on a device. */
typedef struct rwkvrt_launch {
  uint32_t kernel; /**< index into the code's kernels */
  uint32_t groups; /**< workgroups, along one axis; at least 1 */
  uint32_t flags;  /**< RWKVRT_LAUNCH_… */
  uint32_t reserved;
  const rwkvrt_argument *arguments; /**< as many as the kernel takes */
} rwkvrt_launch;

/** A kernel of a device's code. All arguments have 64 bits. */
typedef struct rwkvrt_kernel_info {
  const char *name; /**< in the image */
  uint32_t num_arguments;
  uint32_t group_size; /**< threads of a workgroup, along one axis */
  uint32_t local_size; /**< bytes that a workgroup shares, for messages */
  uint32_t reserved;
} rwkvrt_kernel_info;

/**
 * A function of the model on a device: its launches in order, each of which
 * starts when the one before is done. They are the same in every call, so they
 * can be recorded once; those for the logits are left out of a call that does
 * not want them. Inputs, outputs, weights and scratch lie in the device's
 * memory, 64-byte aligned. States are in the memory of their outputs, as
 * rwkvrt_run_fn says; a state's input is the same memory. Every output has
 * memory, also one that the caller does not want.
 */
typedef struct rwkvrt_device_function {
  uint32_t num_launches;
  uint32_t reserved;
  uint64_t workspace_size; /**< in place of that in rwkvrt_function_info */
  const rwkvrt_launch *launches;
} rwkvrt_device_function;

/** A part of the weights' data section. It starts at a multiple of 64 bytes. */
typedef struct rwkvrt_range {
  uint64_t offset, size; /**< bytes */
} rwkvrt_range;

/** Code for one kind of device. It computes what the processor's code does. */
typedef struct rwkvrt_device_info {
  const char *name; /**< as `rwkvc --target` names it, "nvptx:sm_80" say */
  const char *chip; /**< what the device must be: the least compute capability
                         "sm_80", the processor "gfx942", "" for any */
  int32_t kind;     /**< rwkvrt_device_kind */
  uint32_t num_kernels;
  const rwkvrt_kernel_info *kernels;
  const rwkvrt_device_function *functions; /**< in the order of the model's */
  const void *image;
  uint64_t image_size;
  rwkvrt_range weights; /**< what the code reads; no more is in the device's
                             memory */
} rwkvrt_device_info;

typedef struct rwkvrt_model_info {
  uint32_t abi_version; /**< RWKVRT_ABI_VERSION */
  uint32_t struct_size; /**< sizeof(rwkvrt_model_info) at compile time */
  const char *name;     /**< model name, from the ONNX file's */
  const char *producer; /**< "rwkvc <version>" */
  const char *target;   /**< the triple */
  uint32_t num_functions;
  uint32_t function_size; /**< sizeof(rwkvrt_function_info) */
  const rwkvrt_function_info *functions;
  /** Weights, shared by all functions: a safetensors file `<weights_file>` (a
   * plain file name) beside the library or program; its data section starts
   * 64-byte aligned and has weights_size bytes. Or embedded_weights,
   * weights_size bytes, 64-byte aligned; then weights_file is NULL. Neither:
   * the model has no weights. */
  const char *weights_file;
  uint64_t weights_size;
  uint64_t weights_hash; /**< 64-bit FNV-1a hash of the file's JSON header;
                              not checked for embedded weights, but part of
                              the identity that state files carry */
  const void *embedded_weights;
  rwkvrt_range levels_weights; /**< what the levels' code reads */
  uint32_t num_levels;         /**< at least 1, or 0 if there are devices */
  uint32_t level_size;         /**< sizeof(rwkvrt_level_info) */
  /** The features of the first level are among those of every other. Of the
   * levels that a processor can run, the last is the best. */
  const rwkvrt_level_info *levels;
  uint32_t num_devices;
  uint32_t device_size;              /**< sizeof(rwkvrt_device_info) */
  const rwkvrt_device_info *devices; /**< the most wanted first */
} rwkvrt_model_info;

#ifndef RWKVRT_API
#define RWKVRT_API __attribute__((visibility("default")))
#endif

/**
 * Called by generated code: runs body over [0, n) on the runtime's threads, in
 * contiguous pieces, and returns when all are done. Every index is visited
 * exactly once, in any order. Calls from inside a body, and n == 1, run on the
 * calling thread. Nothing for n <= 0.
 */
RWKVRT_API void rwkvrt_parallel_for(void (*body)(void *ctx, int64_t begin,
                                                 int64_t end),
                                    void *ctx, int64_t n);

/** A loop as rwkvrt_parallel_for() takes it. */
typedef struct rwkvrt_loop {
  void (*body)(void *ctx, int64_t begin, int64_t end);
  void *ctx;
  int64_t n;
} rwkvrt_loop;

/**
 * Called by generated code: the same for several loops at once, none of which
 * depends on another.
 */
RWKVRT_API void rwkvrt_parallel_loops(const rwkvrt_loop *loops, int32_t count);

#ifdef __cplusplus
}
#endif

#endif /* RWKVC_RT_ABI_H */
