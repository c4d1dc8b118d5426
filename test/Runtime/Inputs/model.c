/*===-- model.c - A model written by hand, as the compiler would emit it ----===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * With the weights W [256, 64] and the states s (empty: 0) and m (empty:
 * -1e30):
 *
 *     s' = s / 2 + W[token]    m' = max(m, s')    logits = W s'    count =
 * token
 *
 * make_model.py writes W and model.h, and computes the same in numpy. Macros
 * make variants, most of them wrong on purpose. FORMS adds the derived forms
 * for BATCH texts and blocks of BLOCK tokens, which check what they are called
 * with. OPENCL, CUDA and HIP add code for devices (devices.h), NO_PROCESSOR
 * leaves that for processors out.
 *
 *===------------------------------------------------------------------------===
 */
#include "rwkvc-rt/abi.h"

#include "model.h" /* WEIGHTS_FILE, WEIGHTS_SIZE, WEIGHTS_HASH */

#include <string.h>

#ifndef ABI_VERSION
#define ABI_VERSION RWKVRT_ABI_VERSION
#endif
#ifndef TOKEN_DTYPE
#define TOKEN_DTYPE RWKVRT_I64
#define TOKEN_TYPE int64_t
#endif
#ifndef LOGITS_DTYPE
#define LOGITS_DTYPE RWKVRT_F32
#define LOGITS_TYPE float
#endif
#ifndef STATE_OUT
#define STATE_OUT "s_out"
#endif
#ifndef STATE_ELEMENTS
#define STATE_ELEMENTS 64
#endif
#ifndef INITIAL
#define INITIAL -1e30
#endif
#ifndef NUM_INPUTS
#define NUM_INPUTS 3
#endif
#ifndef TARGET
#define TARGET "x86_64-unknown-linux-gnu"
#endif
#ifndef FEATURES
#define FEATURES 0
#endif
#ifndef LEVELS_WEIGHTS_SIZE
#define LEVELS_WEIGHTS_SIZE WEIGHTS_SIZE
#endif
#ifndef WORKSPACE
#define WORKSPACE (width * sizeof(float))
#endif
#ifndef STATUS
#define STATUS 0
#endif
/* FAULT_… break prefill: padding counts; the second text's state is changed. */
#define PREFILL_WORKSPACE (4 * width * sizeof(float))

enum { vocabulary = 256, width = 64 };
#ifdef NO_PROCESSOR
#define RUN(FUNCTION) 0
#else
#define RUN(FUNCTION) FUNCTION
#endif

typedef struct {
  const float *weights, *state;
  LOGITS_TYPE *logits;
} product;

static void rows(void *context, int64_t begin, int64_t end) {
  const product *p = context;
  for (int64_t i = begin; i < end; ++i) {
    float sum = 0;
    for (int k = 0; k < width; ++k)
      sum += p->weights[i * width + k] * p->state[k];
    p->logits[i] = (LOGITS_TYPE)sum;
  }
}

static void advance(const float *table, int64_t token, float *s, float *m,
                    float *new_s) {
  for (int k = 0; k < width; ++k) {
    new_s[k] = s[k] / 2 + table[token * width + k];
    m[k] = new_s[k] > m[k] ? new_s[k] : m[k];
  }
  memcpy(s, new_s, sizeof(float) * width);
}

static int32_t run(const void *code, const void *weights, void *const *inputs,
                   void *const *outputs, void *workspace) {
  (void)code;
  const float *table = weights;
  TOKEN_TYPE token = *(const TOKEN_TYPE *)inputs[0];
  float *s = outputs[1], *m = outputs[2];
  advance(table, token, s, m, workspace);
  product p = {table, s, outputs[0]};
  if (p.logits)
    rwkvrt_parallel_for(rows, &p, vocabulary);
  *(int32_t *)outputs[3] = (int32_t)token;
  return STATUS;
}

#ifndef BATCH
#define BATCH 1
#endif
#ifndef BLOCK
#define BLOCK 8
#endif
#ifdef FORMS
#ifndef PREFILL_STATE
#define PREFILL_STATE "wkv.1"
#endif
#ifndef PREFILL_WIDTH
#define PREFILL_WIDTH width
#endif
#ifndef PREFILL_STATUS
#define PREFILL_STATUS STATUS
#endif

/* \p tokens are [BATCH, block], of which \p length count. */
static void forward(const float *table, const TOKEN_TYPE *tokens, int64_t block,
                    int64_t length, void *const *outputs, void *workspace) {
  for (int64_t text = 0; text < BATCH; ++text)
    for (int64_t i = 0; i < length; ++i) {
      float *s = (float *)outputs[1] + text * width;
      advance(table, tokens[text * block + i], s,
              (float *)outputs[2] + text * width, workspace);
      if (!outputs[0])
        continue;
#ifdef ALL_LOGITS
      LOGITS_TYPE *row =
          (LOGITS_TYPE *)outputs[0] + (text * block + i) * vocabulary;
#else
      LOGITS_TYPE *row = (LOGITS_TYPE *)outputs[0] + text * vocabulary;
#endif
      product p = {table, s, row};
      rwkvrt_parallel_for(rows, &p, vocabulary);
    }
}

static int32_t run_step(const void *code, const void *weights,
                        void *const *inputs, void *const *outputs,
                        void *workspace) {
  (void)code;
  forward(weights, inputs[0], 1, 1, outputs, workspace);
  return STATUS;
}

static int32_t run_prefill(const void *code, const void *weights,
                           void *const *inputs, void *const *outputs,
                           void *workspace) {
  (void)code;
  const TOKEN_TYPE *tokens = inputs[0];
  int64_t length = *(const int64_t *)inputs[1];
  if (length < 1 || length > BLOCK)
    return 8;
  for (int64_t i = 0; i < BATCH * BLOCK; ++i)
    if (tokens[i] >= vocabulary)
      return 9;
  memset(workspace, 0xff, PREFILL_WORKSPACE);
#ifdef FAULT_PADDING
  length = BLOCK;
#endif
#ifdef FAULT_TEXT
  ((float *)outputs[1])[width] += 0.01f;
#endif
  forward(weights, tokens, BLOCK, length, outputs, workspace);
  return PREFILL_STATUS;
}
#endif

static const int64_t token_dims[] = {1, 1},
                     state_in_dims[] = {1, 1, STATE_ELEMENTS},
                     state_dims[] = {1, 64}, logits_dims[] = {1, vocabulary};
static const rwkvrt_tensor_info inputs[] = {
    {"token", TOKEN_DTYPE, 2, token_dims, vocabulary},
    {"s_in", RWKVRT_F32, 3, state_in_dims, 0},
    {"m_in", RWKVRT_F32, 2, state_dims, 0},
    {"temperature", RWKVRT_F32, 0, 0, 0}};
static const rwkvrt_tensor_info outputs[] = {
    {"logits", LOGITS_DTYPE, 2, logits_dims, 0},
    {STATE_OUT, RWKVRT_F32, 2, state_dims, 0},
    {"m_out", RWKVRT_F32, 2, state_dims, 0},
    {"count", RWKVRT_I32, 0, 0, 0}};
static const rwkvrt_state_info states[] = {{1, 1, 0}, {2, 2, INITIAL}};

#ifdef FORMS
static const int64_t step_dims[] = {BATCH}, block_dims[] = {BATCH, BLOCK},
                     form_state_dims[] = {BATCH, width},
                     prefill_state_dims[] = {BATCH, PREFILL_WIDTH},
                     step_logits_dims[] = {BATCH, vocabulary},
                     block_logits_dims[] = {BATCH, BLOCK, vocabulary};
static const rwkvrt_tensor_info
    step_inputs[] = {{"tokens", TOKEN_DTYPE, 1, step_dims, vocabulary},
                     {"shift.0", RWKVRT_F32, 2, form_state_dims, 0},
                     {"wkv.1", RWKVRT_F32, 2, form_state_dims, 0}},
    step_outputs[] = {{"logits", LOGITS_DTYPE, 2, step_logits_dims, 0},
                      {"shift.0", RWKVRT_F32, 2, form_state_dims, 0},
                      {"wkv.1", RWKVRT_F32, 2, form_state_dims, 0}},
    prefill_inputs[] = {{"tokens", TOKEN_DTYPE, 2, block_dims, vocabulary},
                        {"length", RWKVRT_I64, 0, 0, 0},
                        {"shift.0", RWKVRT_F32, 2, prefill_state_dims, 0},
                        {PREFILL_STATE, RWKVRT_F32, 2, form_state_dims, 0}},
    prefill_outputs[] = {
#ifdef ALL_LOGITS
        {"logits", LOGITS_DTYPE, 3, block_logits_dims, 0},
#else
        {"logits", LOGITS_DTYPE, 2, step_logits_dims, 0},
#endif
        {"shift.0", RWKVRT_F32, 2, prefill_state_dims, 0},
        {PREFILL_STATE, RWKVRT_F32, 2, form_state_dims, 0}};
static const rwkvrt_state_info step_states[] = {{1, 1, 0}, {2, 2, INITIAL}},
                               prefill_states[] = {{2, 1, 0}, {3, 2, INITIAL}};
#endif

#ifdef CONVERSIONS
#ifndef CONVERSION_WIDTH
#define CONVERSION_WIDTH width
#endif
#ifndef CONVERSION_STATES
#define CONVERSION_STATES 2
#endif
/* The file's states are the canonical ones, of one text. */
static int32_t run_conversion(const void *code, const void *weights,
                              void *const *inputs, void *const *outputs,
                              void *workspace) {
  (void)code, (void)weights, (void)workspace;
  for (int i = 0; i < 2; ++i)
    memcpy(outputs[i], inputs[i], width * sizeof(float));
  return STATUS;
}

static const int64_t converted_dims[] = {1, CONVERSION_WIDTH};
static const rwkvrt_tensor_info converted[] = {
    {"shift.0", RWKVRT_F32, 2, converted_dims, 0},
    {"wkv.1", RWKVRT_F32, 2, converted_dims, 0}};
#define CONVERSION(KIND, INPUTS, NUM_INPUTS, OUTPUTS, NUM_OUTPUTS)             \
  {.kind = KIND,                                                               \
   .num_inputs = NUM_INPUTS,                                                   \
   .num_outputs = NUM_OUTPUTS,                                                 \
   .inputs = INPUTS,                                                           \
   .outputs = OUTPUTS,                                                         \
   .token_input = -1,                                                          \
   .length_input = -1,                                                         \
   .logits_output = -1,                                                        \
   .batch = 1,                                                                 \
   .run = RUN(run_conversion)}
#endif

static const rwkvrt_function_info functions[] = {
#ifndef NO_GRAPH
    {.kind = RWKVRT_GRAPH,
     .num_inputs = NUM_INPUTS,
     .num_outputs = 4,
     .num_states = 2,
     .inputs = inputs,
     .outputs = outputs,
     .states = states,
     .token_input = 0,
     .length_input = -1,
     .logits_output = 0,
     .workspace_size = WORKSPACE,
     .run = RUN(run)},
#endif
#ifdef FORMS
#ifndef NO_STEP
    {.kind = RWKVRT_STEP,
     .num_inputs = 3,
     .num_outputs = 3,
     .num_states = 2,
     .inputs = step_inputs,
     .outputs = step_outputs,
     .states = step_states,
     .token_input = 0,
     .length_input = -1,
     .logits_output = 0,
     .batch = BATCH,
     .block = 1,
     .workspace_size = WORKSPACE,
     .run = RUN(run_step)},
#endif
#ifndef NO_PREFILL
    {.kind = RWKVRT_PREFILL,
     .num_inputs = 4,
     .num_outputs = 3,
     .num_states = 2,
     .inputs = prefill_inputs,
     .outputs = prefill_outputs,
     .states = prefill_states,
     .token_input = 0,
     .length_input = 1,
     .logits_output = 0,
     .batch = BATCH,
     .block = BLOCK,
     .workspace_size = PREFILL_WORKSPACE,
     .run = RUN(run_prefill)},
#endif
#endif
#ifdef CONVERSIONS
    CONVERSION(RWKVRT_UNPACK, inputs + 1, 2, converted, CONVERSION_STATES),
    CONVERSION(RWKVRT_PACK, converted, CONVERSION_STATES, outputs + 1, 2),
#endif
};

static const rwkvrt_level_info levels[] = {{"x86-64", FEATURES, 0},
#ifdef BETTER_FEATURES
                                           {"better", BETTER_FEATURES, 0}
#endif
};

#if defined(OPENCL) || defined(CUDA) || defined(HIP)
#include "devices.h"
#endif

#ifdef EMBED
#include "weights.inc" /* embedded */
#endif

__attribute__((visibility("default"))) const rwkvrt_model_info rwkvc_model = {
    .abi_version = ABI_VERSION,
    .struct_size = sizeof(rwkvrt_model_info),
    .name = "recurrence",
    .producer = "by hand",
    .target = TARGET,
    .num_functions = sizeof functions / sizeof functions[0],
    .function_size = sizeof(rwkvrt_function_info),
    .functions = functions,
#ifndef EMBED
    .weights_file = WEIGHTS_FILE,
#else
    .embedded_weights = embedded,
#endif
    .weights_size = WEIGHTS_SIZE,
    .weights_hash = WEIGHTS_HASH,
    .levels_weights = {0, LEVELS_WEIGHTS_SIZE},
#ifndef NO_PROCESSOR
    .num_levels = sizeof levels / sizeof levels[0],
    .level_size = sizeof(rwkvrt_level_info),
    .levels = levels,
#endif
#if defined(OPENCL) || defined(CUDA) || defined(HIP)
    .num_devices = sizeof devices / sizeof devices[0],
    .device_size = sizeof(rwkvrt_device_info),
    .devices = devices,
#endif
};
