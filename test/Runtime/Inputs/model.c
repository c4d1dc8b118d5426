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
 * make variants, most of them wrong on purpose.
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
#define TARGET "x86_64-unknown-linux-gnu x86-64"
#endif
#ifndef WORKSPACE
#define WORKSPACE (width * sizeof(float))
#endif
#ifndef STATUS
#define STATUS 0
#endif

enum { vocabulary = 256, width = 64 };

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

static int32_t run(const void *weights, void *const *inputs,
                   void *const *outputs, void *workspace) {
  const float *table = weights;
  TOKEN_TYPE token = *(const TOKEN_TYPE *)inputs[0];
  float *s = outputs[1], *m = outputs[2], *new_s = workspace;
  for (int k = 0; k < width; ++k) {
    new_s[k] = s[k] / 2 + table[token * width + k];
    m[k] = new_s[k] > m[k] ? new_s[k] : m[k];
  }
  memcpy(s, new_s, sizeof(float) * width);
  product p = {table, s, outputs[0]};
  rwkvrt_parallel_for(rows, &p, vocabulary);
  *(int32_t *)outputs[3] = (int32_t)token;
  return STATUS;
}

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

#ifdef EMBED
#include "weights.inc" /* embedded */
#endif

__attribute__((visibility("default"))) const rwkvrt_model_info rwkvc_model = {
    .abi_version = ABI_VERSION,
    .struct_size = sizeof(rwkvrt_model_info),
    .name = "recurrence",
    .producer = "by hand",
    .target = TARGET,
    .num_inputs = NUM_INPUTS,
    .num_outputs = 4,
    .num_states = 2,
    .inputs = inputs,
    .outputs = outputs,
    .states = states,
    .token_input = 0,
    .logits_output = 0,
#ifndef EMBED
    .weights_file = WEIGHTS_FILE,
#else
    .embedded_weights = embedded,
#endif
    .weights_size = WEIGHTS_SIZE,
    .weights_hash = WEIGHTS_HASH,
    .workspace_size = WORKSPACE,
    .run = run,
};
