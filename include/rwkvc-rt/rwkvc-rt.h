/*===-- rwkvc-rt/rwkvc-rt.h - Run compiled RWKV models ----------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * The runtime's C API. A model (rwkvrt_model) is read-only and may be used by
 * any number of threads at once. A sequence (rwkvrt_sequence) is the state of
 * one text, or of as many texts as the model was compiled to compute at once
 * (rwkvc --batch); it belongs to one thread at a time, but different sequences
 * of one model may run at once.
 *
 *     rwkvrt_model *model;
 *     rwkvrt_sequence *text;
 *     const float *logits;
 *     if (rwkvrt_model_load("model.so", &model) ||
 *         rwkvrt_sequence_create(model, &text) ||
 *         rwkvrt_sequence_prefill(text, prompt, length, &logits) ||
 *         rwkvrt_sequence_step(text, token, &logits))
 *       fprintf(stderr, "%s\n", rwkvrt_last_error());
 *
 * Two ways to call a model. Sequences take tokens, many at once (prefill) or
 * one by one (step), in any mixture and with the same result, and keep their
 * state in one canonical form. rwkvrt_model_run() takes the inputs and outputs
 * of the ONNX file, with the file's own state tensors, which the program keeps.
 * Models for which the compiler found no canonical form have sequences too: on
 * the file's own states, and fed token by token. The two kinds of states are
 * converted into each other by rwkvrt_sequence_unpack() and _pack().
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
  RWKVRT_RUN_FAILED = 6 /**< the compiled function, or the device that runs
                             it, reported a failure */
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
 * which is looked for beside it. Weights are mapped read-only and never copied,
 * but to a device: processes share them, and they must not be changed while
 * they are in use.
 * Code in the library runs with the program's rights; load what you trust. A
 * model without code that this processor can run is refused (RWKVRT_MISMATCH).
 */
RWKVRT_API rwkvrt_status rwkvrt_model_load(const char *path,
                                           rwkvrt_model **model);

/**
 * The same on a device, for models with code for devices (rwkvc --target):
 *
 *     "cpu"                    the processor
 *     "opencl" "cuda" "hip"    the first such device that can run the code
 *     "cuda:1"                 that one, counted from 0
 *
 * NULL or "": what the environment variable RWKVC_DEVICE names. If it names
 * nothing either, a device for the first of the model's codes that has one, in
 * the model's order; else the processor, if the model has code for it. An
 * OpenCL device that is the processor itself is chosen so only for models
 * without code for processors. rwkvrt_model_load() chooses like that.
 *
 * Refused with RWKVRT_MISMATCH: a device that is not there, that cannot run the
 * code, or for which the model has none. The message says why for each. Where a
 * device was found and then fails, that is an error too: nothing else is tried.
 *
 * Weights are copied to the device. Everything else is as on the processor,
 * but for rwkvrt_sequence_state().
 */
RWKVRT_API rwkvrt_status rwkvrt_model_load_on(const char *path,
                                              const char *device,
                                              rwkvrt_model **model);

/**
 * Uses a model that is linked into the program. \p info must stay valid. Its
 * weights file, if it has one, is looked for in the folder \p folder, or beside
 * the program's executable if \p folder is NULL.
 */
RWKVRT_API rwkvrt_status rwkvrt_model_from_info(const rwkvrt_model_info *info,
                                                const char *folder,
                                                rwkvrt_model **model);
/** The same on a device, as rwkvrt_model_load_on(). */
RWKVRT_API rwkvrt_status
rwkvrt_model_from_info_on(const rwkvrt_model_info *info, const char *folder,
                          const char *device, rwkvrt_model **model);

/** Frees the model once its last sequence is freed. NULL is allowed. */
RWKVRT_API void rwkvrt_model_free(rwkvrt_model *model);

/** What the compiler wrote about the model; valid as long as the model is. */
RWKVRT_API const rwkvrt_model_info *
rwkvrt_model_get_info(const rwkvrt_model *model);

/**
 * The level whose code is used: the best that this processor can run, or the
 * one that the environment variable RWKVC_ISA named when the model was loaded.
 * NULL if the model is on a device.
 */
RWKVRT_API const rwkvrt_level_info *
rwkvrt_model_level(const rwkvrt_model *model);

/** What runs the model: "cpu", or a device with its number and name, "cuda:0
 * NVIDIA A100" for instance. Never NULL; valid as long as the model is. */
RWKVRT_API const char *rwkvrt_model_device(const rwkvrt_model *model);

/** Path of the mapped weights file, NULL if weights are embedded or none. */
RWKVRT_API const char *rwkvrt_model_weights_path(const rwkvrt_model *model);

/** The function of a kind (rwkvrt_function_kind); NULL if there is none. */
RWKVRT_API const rwkvrt_function_info *
rwkvrt_model_find_function(const rwkvrt_model *model, int32_t kind);

/** Index of the file's own input or output by name, -1 if there is none. */
RWKVRT_API int32_t rwkvrt_model_find_input(const rwkvrt_model *model,
                                           const char *name);
RWKVRT_API int32_t rwkvrt_model_find_output(const rwkvrt_model *model,
                                            const char *name);

/** What a sequence's state consists of: the number of tensors, and the name,
 * type and shape of each, 0 ... num_states-1 (NULL for no such state). With
 * several texts at once the first axis is theirs. */
RWKVRT_API uint32_t rwkvrt_model_num_states(const rwkvrt_model *model);
RWKVRT_API const rwkvrt_tensor_info *
rwkvrt_model_state(const rwkvrt_model *model, uint32_t state);
/** Index of such a state by name, -1 if there is none. A state of the file's
 * own has the names of its input and of its output. */
RWKVRT_API int32_t rwkvrt_model_find_state(const rwkvrt_model *model,
                                           const char *name);

/** Texts that a sequence holds and computes at once, B; at least 1. */
RWKVRT_API size_t rwkvrt_model_batch(const rwkvrt_model *model);

/** Logits of one token, V; 0 if the model's logits are not known. */
RWKVRT_API size_t rwkvrt_model_vocabulary_size(const rwkvrt_model *model);

/** Elements and bytes of a tensor; bytes of one element, 0 = no such type. */
RWKVRT_API size_t rwkvrt_tensor_elements(const rwkvrt_tensor_info *tensor);
RWKVRT_API size_t rwkvrt_tensor_bytes(const rwkvrt_tensor_info *tensor);
RWKVRT_API size_t rwkvrt_dtype_size(int32_t dtype);
/** "float32", "bfloat16", "int64", …; "unknown" for no such type. */
RWKVRT_API const char *rwkvrt_dtype_name(int32_t dtype);

/**
 * Calls the model through the ONNX file's own signature: one pointer per input
 * and output, in the order of the function RWKVRT_GRAPH, each aligned to its
 * element size. Refused for models that were compiled without that function.
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
 * Feeds one token and, unless \p logits is NULL, points it to the V =
 * rwkvrt_model_vocabulary_size() float32 logits of the next token. They are
 * valid until the sequence's next call. Without them a token costs less: the
 * head is not computed.
 *
 * Refused, with the state as it was: a token out of range; models that compute
 * several texts at once; models without derived forms whose token input or
 * logits are not known, that take several tokens at once, or that have inputs
 * other than the token and the states (use rwkvrt_model_run() for those).
 *
 * After RWKVRT_RUN_FAILED the state is unspecified: reset or load it.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_step(rwkvrt_sequence *sequence,
                                              int64_t token,
                                              const float **logits);

/**
 * Feeds \p n tokens, at least 1, to each of the sequence's B =
 * rwkvrt_model_batch() texts: \p tokens is [B, n], the first text's tokens
 * first. Unless \p logits is NULL, points it to the float32 logits after the
 * last token, [B, V]. They are valid until the sequence's next call.
 *
 * The result is that of n steps up to rounding, and much sooner there for
 * models with a function for blocks of tokens (RWKVRT_PREFILL); others are
 * stepped. All tokens are checked before anything is computed: a wrong one is
 * named with its position and leaves the state as it was. Otherwise as
 * rwkvrt_sequence_step(); RWKVRT_RUN_FAILED may come after some of the tokens.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_prefill(rwkvrt_sequence *sequence,
                                                 const int64_t *tokens,
                                                 size_t n,
                                                 const float **logits);

/**
 * As rwkvrt_sequence_prefill(), and writes the logits after every token to \p
 * logits, [B, n, V] float32 in the caller's memory. Whole blocks at once if the
 * model was compiled for it (rwkvc --all-logits), else token by token.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_prefill_logits(
    rwkvrt_sequence *sequence, const int64_t *tokens, size_t n, float *logits);

/**
 * Sets from how many tokens on the sequence uses a block: a remainder below is
 * stepped. 0 restores the default, which is two, and more than an eighth of a
 * block where a block costs as much as a full one however few tokens count; 1
 * never steps. For models without RWKVRT_STEP or RWKVRT_PREFILL it has no
 * effect.
 */
RWKVRT_API rwkvrt_status
rwkvrt_sequence_set_shortest_block(rwkvrt_sequence *sequence, size_t tokens);

/** State tensor \p state, 64-byte aligned, of the type and shape that
 * rwkvrt_model_state() tells. NULL for no such state. The caller may write it.
 *
 * On a device this is a copy in the host's memory, which the sequence's next
 * call that feeds tokens takes back. So ask again after every such call, before
 * reading or writing; NULL also if the device fails (rwkvrt_last_error()).
 */
RWKVRT_API void *rwkvrt_sequence_state(rwkvrt_sequence *sequence,
                                       uint32_t state);

/**
 * Takes the states of the ONNX file's own signature, as rwkvrt_model_run()
 * gives them: \p states has one pointer per state, in the order of the table of
 * states of RWKVRT_GRAPH, to a tensor of that state's input. They become the
 * state of text number \p text, from 0 on, or of as many texts from there on as
 * the file computes at once (rwkvrt_function_info::batch of RWKVRT_UNPACK);
 * others keep theirs. Refused for models without the file's own signature or
 * whose file has no states. Without derived forms, where a sequence has the
 * file's own states, they are copied.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_unpack(rwkvrt_sequence *sequence,
                                                size_t text,
                                                const void *const *states);
/**
 * The way back: writes the state of \p text, or of as many texts as the file
 * computes, to the caller's tensors, each of the type and shape of that state's
 * output. Elements that no token reads are 0. Otherwise as
 * rwkvrt_sequence_unpack(); rwkvrt_model_run() goes on from them.
 */
RWKVRT_API rwkvrt_status rwkvrt_sequence_pack(const rwkvrt_sequence *sequence,
                                              size_t text, void *const *states);

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
