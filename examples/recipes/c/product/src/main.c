#include "slug.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  char *out = slug(argv[1]);
  if (out == NULL) return 1;
  puts(out);
  free(out);
  return 0;
}
