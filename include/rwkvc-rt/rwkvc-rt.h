/*===-- rwkvc-rt/rwkvc-rt.h - Run compiled RWKV models ----------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * The runtime's C API. A model (rwkvrt_model) is read-only and may be used by
 * any number of threads at once. A sequence (rwkvrt_sequence) is one text's
 * state; it belongs to one thread at a time, but different sequences of one
 * model may run at once.
 *
 *     rwkvrt_model *model;
 *     rwkvrt_sequence *text;
 *     const float *logits;
 *     if (rwkvrt_model_load("model.so", &model) ||
 *         rwkvrt_sequence_create(model, &text) ||
 *         rwkvrt_sequence_step(text, token, &logits))
 *       fprintf(stderr, "%s\n", rwkvrt_last_error());
 *
 * Errors: a function that can fail returns a rwkvrt_status and leaves a message
 * that names the file or tensor, for rwkvrt_last_error(). It then has changed
 * nothing but what its comment says, and no object pointer has been set.
 * Nothing throws, exits or aborts. A pointer argument may be NULL only where
 * the comment says so; the functions that return a status refuse a NULL.
 *
 * Tensors are contiguous and row-major, in the machine's byte order. docs/
 * RuntimeContract.md describes files and memory.
 *
 *===------------------------------------------------------------------------===
 */
#ifndef RWKVC_RT_RWKVC_RT_H
#define RWKVC_RT_RWKVC_RT_H

#include "rwkvc-rt/abi.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rwkvrt_status {
  RWKVRT_OK = 0,
  RWKVRT_INVALID_ARGUMENT = 1, /**< NULL, bad index, token out of range, … */
  RWKVRT_IO_ERROR = 2, /**< the system refused: missing file, full disk */
  RWKVRT_BAD_FILE = 3, /**< not a file of the expected kind, or damaged */
  RWKVRT_MISMATCH = 4, /**< belongs to another model, version or machine */
  RWKVRT_OUT_OF_MEMORY = 5,
  RWKVRT_RUN_FAILED = 6 /**< the compiled function reported a failure */
} rwkvrt_status;

typedef struct rwkvrt_model rwkvrt_model;
typedef struct rwkvrt_sequence rwkvrt_sequence;

/**
 * The message of the calling thread's last failure, "" before the first. Valid
 * until the thread's next failing call; never NULL.
 */
RWKVRT_API const char *rwkvrt_last_error(void);

/** The status' name, "invalid argument" for instance. Never NULL. */
RWKVRT_API const char *rwkvrt_status_name(rwkvrt_status status);

/*===-- Models
 * --------------------------------------------------------------===*/

/**
 * Loads the shared library \p path, made by `rwkvc`, and maps its weights file,
 * which is looked for beside it. Weights are mapped read-only and never copied:
 * processes share them, and they must not be changed while they are in use.
 * Code in the library runs with the program's rights; load what you trust.
 */
RWKVRT_API rwkvrt_status rwkvrt_model_load(const char *path,
                                           rwkvrt_model **model);

/**
 * Uses a model that is linked into the program. \p info must stay valid. Its
 * weights file, if it has one, is looked for in the folder \p folder, or beside
 * the program's executable if \p folder is NULL.
 */
RWKVRT_API rwkvrt_status rwkvrt_model_from_info(const rwkvrt_model_info *info,
                                                const char *folder,
                                                rwkvrt_model **model);

/** Frees the model once its last sequence is freed. NULL is allowed. */
RWKVRT_API void rwkvrt_model_free(rwkvrt_model *model);

/** What the compiler wrote about the model; valid as long as the model is. */
RWKVRT_API const rwkvrt_model_info *
rwkvrt_model_get_info(const rwkvrt_model *model);

/** Path of the mapped weights file, NULL if weights are embedded or none. */
RWKVRT_API const char *rwkvrt_model_weights_path(const rwkvrt_model *model);

/** Index of the input, output or state by name, -1 if there is none. A state
 * has the names of its input and of its output. */
RWKVRT_API int32_t rwkvrt_model_find_input(const rwkvrt_model *model,
                                           const char *name);
RWKVRT_API int32_t rwkvrt_model_find_output(const rwkvrt_model *model,
                                            const char *name);
RWKVRT_API int32_t rwkvrt_model_find_state(const rwkvrt_model *model,
                                           const char *name);

/** Number of logits that rwkvrt_sequence_step() gives; 0 if the model's logits
 * are not known. */
RWKVRT_API size_t rwkvrt_model_vocabulary_size(const rwkvrt_model *model);

/** Elements and bytes of a tensor; bytes of one element, 0 = no such type. */
RWKVRT_API size_t rwkvrt_tensor_elements(const rwkvrt_tensor_info *tensor);
RWKVRT_API size_t rwkvrt_tensor_bytes(const rwkvrt_tensor_info *tensor);
RWKVRT_API size_t rwkvrt_dtype_size(int32_t dtype);
/** "float32", "bfloat16", "int64", …; "unknown" for no such type. */
RWKVRT_API const char *rwkvrt_dtype_name(int32_t dtype);

/**
 * Calls the model through its original graph interface: one pointer per graph
 * input and output, in the order of rwkvrt_model_info, each aligned to its
 * element size.
 *
 * State inputs are copied to their state outputs before the call, so both can
 * be given as they were to the ONNX file; they may also be the same buffer. A
 * NULL state input means that the state output's buffer already holds the old
 * state. Any output but a state may be NULL if it is not wanted. Values of
 * inputs with an index_limit are checked. Outputs of a failed call are
 * unspecified.
 */
RWKVRT_API rwkvrt_status rwkvrt_model_run(const rwkvrt_model *model,
                                          const void *const *inputs,
                                          void *const *outputs);

/*===-- Sequences
 * -----------------------------------------------------------===*/

/** A new sequence with the empty state. The model lives at least as long. */
RWKVRT_API rwkvrt_status rwkvrt_sequence_create(const rwkvrt_model *model,
                                                rwkvrt_sequence **sequence);
/** A copy of the sequence's state, and from then on independent of it. */
RWKVRT_API rwkvrt_status rwkvrt_sequence_clone(const rwkvrt_sequence *sequence,
                                               rwkvrt_sequence **copy);
/** NULL is allowed. */
RWKVRT_API void rwkvrt_sequence_free(rwkvrt_sequence *sequence);
/** Back to the empty state. */
RWKVRT_API rwkvrt_status rwkvrt_sequence_reset(rwkvrt_sequence *sequence);

/**
 * Feeds one token and, unless \p logits is NULL, points it to
 * rwkvrt_model_vocabulary_size() float32 logits of the next token. They are
 * valid until the sequence's next call. Refused for models whose token input or
 * logits are not known, that take several tokens at once, or that have inputs
 * other than the token and the states: use rwkvrt_model_run() for those.
 *
 * After RWKVRT_RUN_FAILED the state is unspecified: reset or load it.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_step(rwkvrt_sequence *sequence,
                                              int64_t token,
                                              const float **logits);

/** State tensor \p state, 0 … num_states-1, 64-byte aligned, with type and
 * shape of its output. NULL for no such state. The caller may write it. */
RWKVRT_API void *rwkvrt_sequence_state(rwkvrt_sequence *sequence,
                                       uint32_t state);

/**
 * Writes the state to a file. A temporary file beside \p path is written and
 * then renamed, so that \p path holds the old or the new state, never a part.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_save(const rwkvrt_sequence *sequence,
                                              const char *path);
/**
 * Reads a state file written by rwkvrt_sequence_save(). Refuses (and leaves the
 * state as it was) a damaged file, another version, or the state of a model
 * with other states or weights.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_load(rwkvrt_sequence *sequence,
                                              const char *path);

/**
 * The largest absolute difference between the states of two sequences of the
 * same model; 0 = equal. A number against a NaN counts as infinite.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_compare(const rwkvrt_sequence *a,
                                                 const rwkvrt_sequence *b,
                                                 double *max_abs_difference);

/*===-- Threads
 * -------------------------------------------------------------===*/

/**
 * Threads that one call of a model may use, for the whole process; at least 1,
 * 0 restores the default: RWKVC_NUM_THREADS, else OMP_NUM_THREADS, else the
 * processors that the process may run on. Takes effect with the next call.
 */
RWKVRT_API rwkvrt_status rwkvrt_set_num_threads(int32_t threads);
RWKVRT_API int32_t rwkvrt_get_num_threads(void);

/*===-- Command line
 * --------------------------------------------------------===*/

/**
 * The command line of `rwkv-run`, in librwkvc-rt-main.a. With \p embedded that
 * model is used and the arguments name none. Returns the exit status: 0
 * success, 1 a --check that failed, 2 an error, reported on stderr.
 */
int rwkvrt_main(int argc, char **argv, const rwkvrt_model_info *embedded);

#ifdef __cplusplus
}
#endif

#endif /* RWKVC_RT_RWKVC_RT_H */
