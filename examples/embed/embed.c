/*===-- embed.c - A compiled RWKV model in a C program ----------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * Reads a prompt once, keeps its state, and continues it several times:
 *
 *     embed MODEL.so TOKEN...
 *
 * prints for each of the three likeliest next tokens what would follow.
 *
 *===------------------------------------------------------------------------===
 */
#include <rwkvc-rt/rwkvc-rt.h>

#include <stdio.h>
#include <stdlib.h>

enum { branches = 3, length = 8 };

static size_t likeliest(const float *logits, size_t count) {
  size_t best = 0;
  for (size_t i = 1; i < count; ++i)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

/* Continues a copy of the prompt's state with token and what is likeliest. */
static rwkvrt_status printBranch(const rwkvrt_sequence *prompt, size_t token,
                                 size_t vocabulary) {
  rwkvrt_sequence *branch;
  rwkvrt_status status = rwkvrt_sequence_clone(prompt, &branch);
  if (status)
    return status;
  for (int i = 0; i < length && !status; ++i) {
    const float *logits;
    printf("%zu%s", token, i + 1 < length ? " " : "\n");
    status = rwkvrt_sequence_step(branch, (int64_t)token, &logits);
    if (!status)
      token = likeliest(logits, vocabulary);
  }
  rwkvrt_sequence_free(branch);
  return status;
}

static rwkvrt_status printBranches(const rwkvrt_model *model, int count,
                                   char **tokens) {
  size_t vocabulary = rwkvrt_model_vocabulary_size(model);
  rwkvrt_sequence *prompt;
  rwkvrt_status status = rwkvrt_sequence_create(model, &prompt);
  if (status)
    return status;
  /* The whole prompt at once: in blocks, if the model was compiled with them.
   */
  const float *logits = NULL;
  int64_t *ids = malloc((size_t)count * sizeof *ids);
  for (int i = 0; ids && i < count; ++i)
    ids[i] = atoll(tokens[i]);
  if (ids)
    status = rwkvrt_sequence_prefill(prompt, ids, (size_t)count, &logits);
  else
    status = RWKVRT_OUT_OF_MEMORY;
  free(ids);

  float *left = status ? NULL : malloc(vocabulary * sizeof(float));
  if (left) {
    for (size_t i = 0; i < vocabulary; ++i)
      left[i] = logits[i];
    for (int i = 0; i < branches && !status; ++i) {
      size_t token = likeliest(left, vocabulary);
      left[token] = -1e38f; /* taken */
      status = printBranch(prompt, token, vocabulary);
    }
  }
  free(left);
  rwkvrt_sequence_free(prompt);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL.so TOKEN...\n", argv[0]);
    return 2;
  }
  rwkvrt_model *model;
  rwkvrt_status status = rwkvrt_model_load(argv[1], &model);
  if (!status) {
    status = printBranches(model, argc - 2, argv + 2);
    rwkvrt_model_free(model);
  }
  if (status)
    fprintf(stderr, "error: %s\n", rwkvrt_last_error());
  return status ? 2 : 0;
}
