#include "../src/slug.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *title, const char *expected) {
  char *got = slug(title);
  assert(got != NULL && strcmp(got, expected) == 0);
  free(got);
}

int main(void) {
  check("a b", "a-b");
  return 0;
}
