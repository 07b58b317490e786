# The compiler and the sanitizers work.
make -s test
cat > src/slug.c <<'END'
#include "slug.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

char *slug(const char *title) {
  char *out = malloc(strlen(title) + 2);
  if (out == NULL) return NULL;
  size_t length = 0;
  for (; *title != '\0'; title++) {
    unsigned char c = (unsigned char)*title;
    if (isalnum(c)) out[length++] = (char)tolower(c);
    else if (length > 0 && out[length - 1] != '-') out[length++] = '-';
  }
  if (length > 0 && out[length - 1] == '-') length--;
  out[length] = '\0';
  return out;
}
END
sed -i 's|  check("a b", "a-b");|&\n  check("Twice, or more!", "twice-or-more");|' tests/slug.c
make -s test
