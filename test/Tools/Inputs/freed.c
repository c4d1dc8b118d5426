/* Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Succeeds if what was freed does not keep what it held. */
#include <stdlib.h>
#include <string.h>

int main(void) {
  volatile char *bytes = malloc(200);
  memset((char *)bytes, 1, 200);
  free((char *)bytes);
  return bytes[100] == 1;
}
