#include "slug.h"

#include <stdlib.h>
#include <string.h>

char *slug(const char *title) {
  char *out = malloc(strlen(title) + 1);
  if (out == NULL) return NULL;
  size_t length = 0;
  for (; *title != '\0'; title++) out[length++] = *title == ' ' ? '-' : *title;
  out[length] = '\0';
  return out;
}
