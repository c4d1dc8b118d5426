/*===-- rwkvc-rt/dnnl.h - Matrix products through oneDNN --------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * What compiled models call for their large matrix products, in the library
 * librwkvc-rt-dnnl. Only models that have such calls need it, and with it
 * oneDNN: the core runtime does not.
 *
 * Failures. A call in the midst of a model, perhaps deep in its loops, cannot
 * return early. It records the first failure of its thread instead, and
 * computes nothing; the model's run function ends with
 * rwkvrt_dnnl_take_status() and returns what that gives, so that the loader
 * sees a run that failed and asks rwkvrt_dnnl_last_error() why. Nothing throws,
 * exits or aborts.
 *
 * Threads. Any number of threads may call with one slot at once. Products use
 * the OpenMP that the process has loaded; where the core runtime is present,
 * with as many threads as its rwkvrt_get_num_threads() says.
 *
 *===------------------------------------------------------------------------===
 */
#ifndef RWKVC_RT_DNNL_H
#define RWKVC_RT_DNNL_H

#include "rwkvc-rt/abi.h"

#include <stddef.h>

#ifndef RWKVRT_API
#define RWKVRT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define RWKVRT_DNNL_MAX_RANK 6
#define RWKVRT_DNNL_MAX_POST_OPS 8

/** One operand: dims and strides in elements, outermost first, of which the
 * description's rank counts. The last two are rows and columns of the operand
 * as it is multiplied; a transposed one differs in its strides. */
typedef struct rwkvrt_dnnl_matrix {
  int32_t dtype; /**< RWKVRT_F32, RWKVRT_BF16 or RWKVRT_F16 */
  int32_t reserved;
  int64_t dims[RWKVRT_DNNL_MAX_RANK];
  int64_t strides[RWKVRT_DNNL_MAX_RANK];
} rwkvrt_dnnl_matrix;

/** rwkvrt_dnnl_matmul_desc.flags: c = c + a b instead of c = a b. */
#define RWKVRT_DNNL_ACCUMULATE 1u
/** b keeps its values as long as the slot lives, or until
 * rwkvrt_dnnl_forget(): a copy that is laid out for the kernel is kept. */
#define RWKVRT_DNNL_CONSTANT_B 2u

/** What is applied to each element x of the sums, before it is rounded. */
typedef enum rwkvrt_dnnl_post_op {
  RWKVRT_DNNL_RELU = 1,     /**< max(x, 0) */
  RWKVRT_DNNL_SQUARE = 2,   /**< x x */
  RWKVRT_DNNL_LOGISTIC = 3, /**< 1 / (1 + exp(-x)) */
  RWKVRT_DNNL_TANH = 4,     /**< tanh(x) */
  RWKVRT_DNNL_SWISH = 5,    /**< x / (1 + exp(-x)) */
  RWKVRT_DNNL_ADD = 6,      /**< x + y, with y of the next further operand */
  RWKVRT_DNNL_MUL = 7       /**< x y, likewise */
} rwkvrt_dnnl_post_op;

/** Added to RWKVRT_DNNL_ADD or RWKVRT_DNNL_MUL: the operand is one row of N
 * elements for all rows of c, and not of the size of c. For rank 2 only. */
#define RWKVRT_DNNL_ROW 256

/** A product of M x K by K x N matrices, in batches if the rank is above 2. */
typedef struct rwkvrt_dnnl_matmul_desc {
  uint32_t struct_size; /**< sizeof(rwkvrt_dnnl_matmul_desc), at compile time */
  int32_t rank;         /**< 2 .. RWKVRT_DNNL_MAX_RANK */
  uint32_t flags;       /**< RWKVRT_DNNL_… */
  uint32_t num_post_ops;      /**< 0 .. RWKVRT_DNNL_MAX_POST_OPS */
  const char *where;          /**< the op's place in the model, for messages */
  rwkvrt_dnnl_matrix a, b, c; /**< c has a's type or is f32 */
  /** In order of application; at most two with an operand. */
  int32_t post_ops[RWKVRT_DNNL_MAX_POST_OPS];
} rwkvrt_dnnl_matmul_desc;

/** What the runtime keeps for one call site. Zero-initialised. */
typedef struct rwkvrt_dnnl_slot {
  void *sites;
} rwkvrt_dnnl_slot;

/** Status of a call; 0 is success. */
typedef enum rwkvrt_dnnl_status {
  RWKVRT_DNNL_OK = 0,
  RWKVRT_DNNL_BAD_DESCRIPTION = 1, /**< compiled for another runtime version */
  RWKVRT_DNNL_OUT_OF_MEMORY = 2,
  RWKVRT_DNNL_FAILED = 3 /**< oneDNN refused */
} rwkvrt_dnnl_status;

/**
 * Computes c = a b or c = c + a b, with float32 sums, to which the post-ops are
 * applied. \p first and \p second are the operands of those post-ops that have
 * one, in their order: float32, row-major without gaps; null where there are
 * fewer. The first call with a slot prepares the primitive, later ones find it;
 * all must pass the same \p desc. Element types that oneDNN has no kernel for
 * on this processor are widened to float32. c may not overlap the other
 * operands. Returns a rwkvrt_dnnl_status, and records a failure for
 * rwkvrt_dnnl_take_status().
 */
RWKVRT_API int32_t rwkvrt_dnnl_matmul(rwkvrt_dnnl_slot *slot,
                                      const rwkvrt_dnnl_matmul_desc *desc,
                                      const void *a, const void *b, void *c,
                                      const void *first, const void *second);

/** Frees what the slot holds, and zeroes it. Not while a call uses the slot. */
RWKVRT_API void rwkvrt_dnnl_release(rwkvrt_dnnl_slot *slot);

/**
 * Drops the copies of constant operands that begin in the \p size bytes at
 * \p begin. The loader calls this before it unmaps weights, since others may be
 * mapped at the same place later. Not while a call uses those weights.
 */
RWKVRT_API void rwkvrt_dnnl_forget(const void *begin, size_t size);

/** The calling thread's first failure since this was last called, 0 if none. */
RWKVRT_API int32_t rwkvrt_dnnl_take_status(void);

/** The message of the calling thread's last failure, "" before the first. */
RWKVRT_API const char *rwkvrt_dnnl_last_error(void);

/** Bytes that copies of constant operands take at the moment. */
RWKVRT_API size_t rwkvrt_dnnl_packed_bytes(void);

#ifdef __cplusplus
}
#endif

#endif /* RWKVC_RT_DNNL_H */
